"""The sandbox: runs and starts containers over snapshots of a store."""

from __future__ import annotations

import errno
import os

from rondel.engine.sandbox.command import NotStarted, too_long
from rondel.engine.sandbox.landlock import close_abstract_sockets
from rondel.engine.sandbox.prepare import prepare
from rondel.engine.sandbox.prepared import Prepared, discard
from rondel.engine.sandbox.process import Listener, Process
from rondel.engine.sandbox.resources import SharedResources
from rondel.engine.sandbox.spawn import seal_descriptors
from rondel.engine.sandbox.spec import CannotStart, ExecSpec, Opened, Outcome, SandboxError
from rondel.engine.store import Output, Store


class Sandbox:
    """Runs commands over a store's snapshots. One per engine process, which must be root."""

    def __init__(self, store: Store) -> None:
        """Call :func:`rondel.engine.namespace.become_root` first; raises SandboxError otherwise."""
        self.store = store
        self.shared = SharedResources(store)
        close_abstract_sockets()
        seal_descriptors()
        os.umask(0o022)
        store.at_close(self.shared.close)

    async def run(self, spec: ExecSpec, *, listener: Listener | None = None) -> Outcome:
        """Run a command to its end. If cancelled, it kills the container and keeps nothing.

        Raises ExecRefused for what the real engine refuses with -1, SandboxError if the container
        cannot be set up. A command that is missing or cannot be executed is an outcome with exit
        code 1.
        """
        prepared = await prepare(self.store, self.shared, spec)
        if isinstance(prepared, NotStarted):
            return _not_started(spec, prepared.text)
        process = self._start(spec, prepared, listener)
        try:
            return await process.wait()
        finally:
            await process.kill()

    async def start(self, spec: ExecSpec, *, listener: Listener | None = None) -> Process:
        """Start a long-running container; the caller must ``kill`` it or ``wait`` for it.

        Raises as :meth:`run`, and CannotStart for a command that cannot be executed.
        """
        prepared = await prepare(self.store, self.shared, spec)
        if isinstance(prepared, NotStarted):
            raise CannotStart(prepared.text)
        process = self._start(spec, prepared, listener)
        try:
            await process.known()
        except BaseException:
            await process.kill()
            raise
        return process

    def _start(self, spec: ExecSpec, prepared: Prepared, listener: Listener | None) -> Process:
        try:
            return Process(self.store, self.shared, spec, prepared, listener)
        except BaseException as error:
            discard(prepared.folder, prepared.secrets, prepared.assembled)
            if isinstance(error, OSError):
                if error.errno == errno.E2BIG:
                    raise too_long(spec.args[0]) from None
                raise SandboxError("a container could not be started", why=str(error)) from error
            raise


def _not_started(spec: ExecSpec, text: str) -> Outcome:
    output = Output.of(f"{text}\n".encode())
    mounts = {mount.path: mount.snapshot for mount in spec.mounts if hasattr(mount, "snapshot")}
    return Outcome(
        exit_code=1,
        stdout=Output(),
        stderr=output,
        combined=output,
        snapshot=spec.root,
        mounts=mounts,
        opened=Opened() if spec.trace else None,
    )
