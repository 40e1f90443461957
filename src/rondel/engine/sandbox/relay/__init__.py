"""The relay: one small process a session that joins network namespaces to each other.

It holds the private namespaces of services open, listens on addresses in one
namespace and connects in another, for TCP and UDP, and offers an HTTP proxy
where a namespace has no other way out. A socket belongs to the namespace in
which it was made, wherever it is used later: so one thread that steps into a
namespace for the length of one ``socket()`` call serves them all, and no helper
has to live inside.

The package stands alone: it imports only the light part of the standard
library and is started by :mod:`rondel.engine.sandbox.network` with ``-I -S``,
so that it is there in a few milliseconds. The engine speaks to it in JSON lines
over a socket pair; when that closes, or the engine dies, the relay ends, and
with it every namespace that nobody else is in.
"""

from __future__ import annotations


def main(control: int, parent: int) -> None:
    """Serve the control socket ``control`` until it closes; ``parent`` is the engine's process id."""
    from .server import serve

    serve(control, parent)
