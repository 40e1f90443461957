"""The sandbox: runs and starts containers over snapshots of a store."""

from __future__ import annotations

from typing import Protocol

from rondel.engine.sandbox.spec import ExecSpec, Outcome
from rondel.engine.store import Output, Store


class Process(Protocol):
    """A container that was started and not waited for: a service or a terminal.

    ``pid`` is the first process's PID on the host, so ``/proc/PID/ns/net`` and
    the like are within reach. ``terminal`` is the pty's engine side, if any.
    """

    pid: int
    terminal: int | None

    async def wait(self) -> Outcome:
        """Wait for the end; then the outcome, as :meth:`Sandbox.run` gives it."""
        ...

    def signal(self, number: int) -> None:
        """Send a signal to the command (not to the whole container)."""
        ...

    async def kill(self) -> None:
        """End the container at once and wait until nothing of it is left."""
        ...

    def output(self) -> Output:
        """What was written so far, both streams, scrubbed."""
        ...


class Sandbox:
    """Runs commands over a store's snapshots. One per engine process."""

    def __init__(self, store: Store) -> None:
        self.store = store

    async def run(self, spec: ExecSpec) -> Outcome:
        """Run a command to its end. Cancelled, it kills the container and keeps nothing."""
        raise NotImplementedError

    async def start(self, spec: ExecSpec) -> Process:
        """Start a long-running container; raises ExecRefused or SandboxError."""
        raise NotImplementedError
