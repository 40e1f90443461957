"""Running services of a session: started once each, shared, counted, watched, stopped.

A container's service runs in a network namespace of its own. The relay gives it
an address, 127.66.x.y, in the host's network and in the namespaces of other
services; names lead there through /etc/hosts. Commands stay in the host's
network, unless a port they need cannot be opened there (below 1024 for an
ordinary user, or taken by somebody on all addresses): then they get a namespace
of their own as well, where every port is free.
"""

from rondel.engine.evaluate.services.lifecycle import SessionServices
from rondel.engine.evaluate.services.running import ServiceError, within

__all__ = ["ServiceError", "SessionServices", "within"]
