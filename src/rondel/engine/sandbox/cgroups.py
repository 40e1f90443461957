"""Limits memory, processors and processes, if the machine's cgroups let the engine set limits."""

from __future__ import annotations

import contextlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rondel.engine.sandbox.spec import Limits, SandboxError

if TYPE_CHECKING:
    from collections.abc import Mapping

_ROOT = Path("/sys/fs/cgroup")
_PERIOD = 100_000
_VARIABLES = {
    "RONDEL_ENGINE_MEMORY": ("memory_bytes", "KMGT"),
    "RONDEL_ENGINE_CPUS": ("cpus", ""),
    "RONDEL_ENGINE_PIDS": ("pids", ""),
}
_ENTER = 'for group in $0; do echo $$ > "$group/cgroup.procs" || exit 125; done; exec "$@"'


@dataclass(frozen=True, slots=True)
class Setting:
    """One value of one control file, by controller."""

    controller: str
    file: str
    value: str


def settings(limits: Limits, *, unified: bool) -> tuple[Setting, ...]:
    """The control files that set these limits, in cgroup v2 (``unified``) or v1."""
    found = []
    if limits.memory_bytes is not None:
        file = "memory.max" if unified else "memory.limit_in_bytes"
        found.append(Setting("memory", file, str(limits.memory_bytes)))
    if limits.cpus is not None:
        quota = str(max(1000, int(limits.cpus * _PERIOD)))
        if unified:
            found.append(Setting("cpu", "cpu.max", f"{quota} {_PERIOD}"))
        else:
            found.append(Setting("cpu", "cpu.cfs_period_us", str(_PERIOD)))
            found.append(Setting("cpu", "cpu.cfs_quota_us", quota))
    if limits.pids is not None:
        found.append(Setting("pids", "pids.max", str(limits.pids)))
    return tuple(found)


def limits_of(environ: Mapping[str, str]) -> Limits | None:
    """The limits of every container: RONDEL_ENGINE_MEMORY (4G), RONDEL_ENGINE_CPUS (1.5), RONDEL_ENGINE_PIDS.

    Raises SandboxError for an invalid value.
    """
    found = {
        field: _number(environ[name], name, factors)
        for name, (field, factors) in _VARIABLES.items()
        if environ.get(name)
    }
    if not found:
        return None
    memory, pids = found.get("memory_bytes"), found.get("pids")
    return Limits(
        memory_bytes=None if memory is None else int(memory),
        cpus=found.get("cpus"),
        pids=None if pids is None else int(pids),
    )


def _number(text: str, name: str, factors: str) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([A-Z]?)(?:IB|B)?", text.strip().upper())
    if match is None or (match[2] and match[2] not in factors) or not float(match[1]):
        example = "4G or 512M" if factors else "2"
        raise SandboxError(f"{name} is {text!r}, which is not a valid limit", hint=f"for example {example}")
    return float(match[1]) * (1024.0 ** (factors.index(match[2]) + 1) if match[2] else 1)


def own_groups(text: str, root: Path = _ROOT) -> tuple[bool, Mapping[str, Path]]:
    """From /proc/self/cgroup: whether only v2 is in use, and this process's group folder by controller."""
    groups: dict[str, Path] = {}
    unified = True
    for line in text.splitlines():
        _, _, rest = line.partition(":")
        names, _, path = rest.partition(":")
        if names and not names.startswith("name="):
            unified = False
            for name in names.split(","):
                groups[name] = root / name / path.strip("/")
        elif not names:
            groups.setdefault("", root / path.strip("/"))
    if unified:
        folder = groups.get("", root)
        groups = dict.fromkeys(("memory", "cpu", "pids"), folder)
    return unified, groups


class Cgroups:
    """The cgroups of this session's containers; ``reason`` says why there are none."""

    def __init__(self, session: str) -> None:
        """Examine what this machine allows; groups are created on demand."""
        self._name = f"rondel-{session}"
        self._made: dict[str, list[Path]] = {}
        self.reason: str | None = None
        try:
            self.unified, self._own = own_groups(Path("/proc/self/cgroup").read_text())
        except OSError as error:
            self.unified, self._own = True, {}
            self.reason = str(error)
            return
        closed = [name for name in ("memory", "cpu", "pids") if not self._writable(name)]
        if closed:
            self.reason = f"no write access to the cgroup controllers {', '.join(closed)}"

    def _writable(self, controller: str) -> bool:
        folder = self._own.get(controller)
        if folder is None or not os.access(folder, os.W_OK):
            return False
        if not self.unified:
            return True
        with contextlib.suppress(OSError):
            return controller in (folder / "cgroup.subtree_control").read_text().split()
        return False

    def enter_command(self, name: str, limits: Limits) -> tuple[str, ...]:
        """The prefix that makes a command line run within limits; empty if limits are impossible."""
        wanted = [part for part in settings(limits, unified=self.unified) if self._writable(part.controller)]
        folders: list[Path] = []
        for part in wanted:
            folder = self._own[part.controller] / f"{self._name}-{name}"
            try:
                folder.mkdir(exist_ok=True)
                (folder / part.file).write_text(part.value)
            except OSError as error:
                self.reason = str(error)
                continue
            if folder not in folders:
                folders.append(folder)
        if not folders:
            return ()
        self._made[name] = folders
        return ("/bin/sh", "-c", _ENTER, " ".join(map(str, folders)))

    def leave(self, name: str) -> None:
        """Remove a container's groups after its end."""
        for folder in self._made.pop(name, ()):
            with contextlib.suppress(OSError):
                folder.rmdir()

    def close(self) -> None:
        """Remove all remaining groups."""
        for name in list(self._made):
            self.leave(name)
