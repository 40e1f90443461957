"""Running services of a session: started once, shared, counted, watched, stopped.

A container's service runs in a private network namespace. The relay gives it an address,
127.66.x.y, in the host's network and in the namespaces of other services; /etc/hosts maps
names to it. Commands stay in the host's network, unless a port that they need cannot be
opened there (below 1024 for an ordinary user, or in use on all addresses): then the command
also gets a private namespace, where every port is free.
"""

from rondel.engine.evaluate.services.lifecycle import SessionServices
from rondel.engine.evaluate.services.running import ServiceError, within

__all__ = ["ServiceError", "SessionServices", "within"]
