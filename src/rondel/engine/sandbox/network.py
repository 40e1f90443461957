"""Where a container's sockets live, and the engine's end of the relay.

Containers use the host's network. A service gets a network namespace of its
own; the relay (:mod:`rondel.engine.sandbox.relay`) joins its ports to a loopback
address of its own, 127.66.x.y.
"""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Network:
    """The network of a container: the host's, or the namespace at a path under /proc."""

    namespace: str | None = None

    @property
    def prefix(self) -> tuple[str, ...]:
        """What a command line begins with to run in this network; empty for the host's.

        What is started so replaces the prefix's process (no fork), so that process ids and
        death signals are the command's own.
        """
        if self.namespace is None:
            return ()
        nsenter = shutil.which("nsenter")
        if nsenter is not None:
            return (nsenter, f"--net={self.namespace}", "--")
        script = Path(__file__).parent / "relay" / "enter.py"
        return (sys.executable, "-I", "-S", str(script), self.namespace)


HOST = Network()
