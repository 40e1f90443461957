"""A started container: its output, its end, and further commands in it."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

import anyio
import anyio.to_thread

from rondel.engine.sandbox.command import in_go_words, refused_by_kernel
from rondel.engine.sandbox.commit import commit_outputs
from rondel.engine.sandbox.exec_inside import InsideResult, run_inside, terminal_inside
from rondel.engine.sandbox.output import Spool
from rondel.engine.sandbox.prepared import Prepared, discard
from rondel.engine.sandbox.spawn import BwrapProcess, Stream, memory_file, spawn, watched
from rondel.engine.sandbox.spec import ExecRefused, ExecSpec, Opened, Outcome, SandboxError
from rondel.engine.sandbox.tracing import Trace
from rondel.engine.store import Output, Store
from rondel.secrets.masker import Masker

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractAsyncContextManager

    from rondel.engine.sandbox.resources import SharedResources
    from rondel.engine.sandbox.tree import TreeNode
    from rondel.engine.sandbox.users import User

Listener: TypeAlias = Callable[[str, bytes], None]
"""Receives a command's masked output as it arrives: the stream's name and the bytes."""


class Process:
    """A started container: a command, a service or a terminal."""

    def __init__(
        self,
        store: Store,
        shared: SharedResources,
        spec: ExecSpec,
        prepared: Prepared,
        listener: Listener | None,
    ) -> None:
        """Start it; raises OSError. Only :class:`Sandbox` creates one."""
        self._store = store
        self._shared = shared
        self._spec = spec
        self._prepared = prepared
        self._listener = listener
        self._spools = {name: Spool(store.blobs) for name in ("stdout", "stderr", "combined")}
        self._masker = Masker(spec.secrets, shortest=1)
        self._scrubbers = {name: self._masker.stream() for name in ("stdout", "stderr")}
        self._outcome: asyncio.Task[Outcome] | None = None
        self._discarded = False
        self._trace: Trace | None = None
        self.terminal: int | None = None
        given: list[int] = []
        opened: list[Stream] = []
        try:
            opened += [self._stream(name) for name in (() if spec.tty else ("stdout", "stderr"))]
            self._streams = tuple(opened)
            status = Stream(self._take_status)
            opened.append(status)
            self._give_to(prepared.plan.user)
            standard = self._standard(spec, given)
            argv = shared.command(spec, prepared, given)
            at = argv.index("--args")
            argv[at + 2 : at + 2] = self._traced(given)  # after the mounts that --args names
            argv[at:at] = ["--json-status-fd", str(status.theirs)]
            passed = [number for number in given if number not in standard]
            pid = spawn(argv, standard=standard, passed=[*passed, status.theirs])
            self._container = BwrapProcess(pid, watched(pid), status)
        except BaseException:
            for stream in opened:
                stream.stop()
            self._close_terminal()
            if self._trace is not None:
                self._trace.close()
            raise
        finally:
            for number in given:
                os.close(number)
        for stream in opened:
            stream.start()
        if self._trace is not None:
            self._trace.begin(self._container)

    def _traced(self, given: list[int]) -> tuple[str, ...]:
        """The bwrap options that make a traced command wait for its watch."""
        scope = self._prepared.scope
        if scope is None or not scope.seen:
            return ()
        self._trace = Trace(scope)
        given.append(self._trace.theirs)
        return self._trace.options

    def _give_to(self, user: User) -> None:
        """Let the container's user open the pipes by name, as in ``echo x > /dev/stdout``."""
        for stream in self._streams:
            with contextlib.suppress(OSError):  # in single-ID mode the engine's ID is the only one
                os.fchown(stream.theirs, user.uid, user.gid)

    def _stream(self, name: str) -> Stream:
        return Stream(lambda data: self._take(name, self._scrubbers[name].feed(data)))

    def _take_status(self, data: bytes) -> None:
        self._container.take_status(data)

    def _take(self, name: str, data: bytes) -> None:
        if not data:
            return
        self._spools[name].write(data)
        self._spools["combined"].write(data)
        if self._listener is not None:
            self._listener(name, data)

    def _standard(self, spec: ExecSpec, given: list[int]) -> tuple[int, int, int]:
        if spec.tty:
            self.terminal, theirs = os.openpty()
            os.set_inheritable(self.terminal, False)
            given.append(theirs)
            return theirs, theirs, theirs
        if isinstance(spec.stdin, bytes):
            given.append(memory_file("stdin", spec.stdin))
        elif self._prepared.stdin is not None:
            given.append(self._open_input(self._prepared.stdin))
        else:
            given.append(os.open(spec.stdin or "/dev/null", os.O_RDONLY | os.O_CLOEXEC))
        return given[-1], self._streams[0].theirs, self._streams[1].theirs

    def _open_input(self, node: TreeNode) -> int:
        try:
            file = node.open()
        except OSError as error:
            why = os.strerror(error.errno or 0).lower()
            raise ExecRefused(f"open redirect stdin file: open {node.entry.path}: {why}") from error
        os.set_blocking(file, True)
        return file

    @property
    def pid(self) -> int:
        """The first process's PID on the host, for paths such as ``/proc/PID/ns/net``."""
        return self._container.first or self._container.pid

    async def known(self) -> None:
        """Wait until :attr:`pid` is known."""
        waiting = asyncio.ensure_future(self._container.known.wait())
        try:
            await asyncio.wait([waiting, self._outcome_task()], return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()

    def _outcome_task(self) -> asyncio.Task[Outcome]:
        if self._outcome is None:
            self._outcome = asyncio.get_running_loop().create_task(self._finish())
        return self._outcome

    async def wait(self) -> Outcome:
        """Wait for the end and return the outcome, as :meth:`Sandbox.run` does. May be called repeatedly."""
        return await asyncio.shield(self._outcome_task())

    async def _finish(self) -> Outcome:
        container = self._container
        try:
            await container.wait()
            for stream in self._streams:
                await stream.ended.wait()
            for name, scrubber in self._scrubbers.items():
                self._take(name, scrubber.flush())
            opened = await self._opened()
            return await anyio.to_thread.run_sync(self._commit, opened)
        finally:
            if self._trace is not None:
                self._trace.close()
            container.close()
            self._close_terminal()
            if not self._discarded:
                self._discarded = True
                with anyio.CancelScope(shield=True):
                    await anyio.to_thread.run_sync(self._discard)

    async def _opened(self) -> Opened | None:
        scope = self._prepared.scope
        if self._trace is None:
            return Opened(unknown=scope.unknown) if scope is not None else None
        return await self._trace.end()

    def _commit(self, opened: Opened | None) -> Outcome:
        container = self._container
        if container.exit_code is None:
            text = self._spools["stderr"].so_far().decode("utf-8", "replace").strip()
            if refused_by_kernel(text, self._spec.args[0]):
                container.exit_code = 1
        if container.exit_code is None:
            why = (
                f"bwrap ended with {container.code}: {text}" if text else f"bwrap ended with {container.code}"
            )
            raise SandboxError("a container could not be set up", why=why)
        outputs: Mapping[str, Output] = {name: spool.finish() for name, spool in self._spools.items()}
        outputs = in_go_words(outputs, container.exit_code)
        snapshot, mounts = commit_outputs(self._store, self._prepared, outputs)
        self._discarded = True
        self._discard()
        return Outcome(
            exit_code=container.exit_code, snapshot=snapshot, mounts=mounts, opened=opened, **outputs
        )

    def _discard(self) -> None:
        for spool in self._spools.values():
            spool.drop()
        discard(self._prepared.folder, self._prepared.secrets, self._prepared.assembled)
        self._shared.cgroups.leave(self._prepared.folder.name)

    def _close_terminal(self) -> None:
        if self.terminal is not None:
            with contextlib.suppress(OSError):
                os.close(self.terminal)
            self.terminal = None

    def signal(self, number: int) -> None:
        """Send a signal to the command, unless it has ended."""
        pid = self._container.command_pid()
        if pid is not None and self._container.code is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    async def kill(self) -> None:
        """Kill the container and wait until all its processes are gone. Cannot be cancelled."""
        task = self._outcome_task()
        if not task.done():
            self._container.kill()
        with anyio.CancelScope(shield=True):
            await asyncio.wait([task])
        if not task.cancelled():
            task.exception()  # the waiting task has it; retrieving it here avoids asyncio's warning

    async def run_inside(self, args: Sequence[str]) -> InsideResult:
        """Run another command in the container, with the same environment, user and rights."""
        return await run_inside(
            self._container,
            self._prepared.plan,
            args,
            bwrap=self._shared.bwrap,
            python=self._shared.python,
            scrubber=self._masker.stream,
            prefix=self._limited(),
        )

    def terminal_inside(
        self, args: Sequence[str], env: Mapping[str, str]
    ) -> AbstractAsyncContextManager[int | None]:
        """Run another command in the container on a terminal; yields the terminal's other side."""
        return terminal_inside(
            self._container,
            self._prepared.plan,
            args,
            bwrap=self._shared.bwrap,
            python=self._shared.python,
            env=env,
            prefix=self._limited(),
        )

    def _limited(self) -> Sequence[str]:
        limits = self._spec.limits or self._shared.limits
        name = self._prepared.folder.name
        return self._shared.cgroups.enter_command(name, limits) if limits is not None else ()

    def output(self) -> Output:
        """The masked output of both streams so far; only its last MiB if it is long."""
        return Output.of(self._spools["combined"].so_far())
