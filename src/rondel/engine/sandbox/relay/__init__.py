"""The relay: one small process per session that connects network namespaces.

It keeps the private namespaces of services open, listens on addresses in one
namespace and connects in another, for TCP and UDP, and runs an HTTP proxy
for namespaces without another way out. A socket belongs to the namespace in
which it was created, wherever it is used later. So one thread that enters a
namespace for the duration of one ``socket()`` call serves them all, and no helper
has to live inside.

The package is independent: it imports only light modules of the standard
library, and :mod:`rondel.engine.sandbox.network` starts it with ``-I -S``,
so that it is ready within a few milliseconds. The engine sends it JSON lines
over a socket pair. When that closes or the engine dies, the relay ends, and
with it every namespace without other processes.
"""

from __future__ import annotations


def main(control: int, parent: int) -> None:
    """Serve the control socket ``control`` until it closes; ``parent`` is the engine's process ID."""
    from .server import serve

    serve(control, parent)
