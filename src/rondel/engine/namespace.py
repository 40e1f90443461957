"""Becomes root of new namespaces, so that all other code works the same with and without root.

Real root gets a mount namespace. An ordinary user gets a user namespace as well:
with the IDs that /etc/subuid and /etc/subgid grant if ``newuidmap`` is
installed (subordinate mode), else with a single ID, the user's own, shown as 0.
"""

from __future__ import annotations

import contextlib
import ctypes
import enum
import errno
import os
import pwd
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rondel.errors import EngineUnavailable

if TYPE_CHECKING:
    from collections.abc import Sequence

_CLONE_NEWNS = 0x00020000
_CLONE_NEWUSER = 0x10000000
_MS_REC = 0x4000
_MS_SLAVE = 1 << 19
_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_NOEXEC = 1, 2, 4, 8
_MS_REMOUNT, _MS_BIND, _MS_MOVE = 0x20, 0x1000, 0x2000
# The flags of a mount that the kernel locks in a user namespace: statvfs's names, and mount's.
_LOCKED_FLAGS = ((2, 2), (4, 4), (8, 8), (1024, 0x400), (2048, 0x800), (4096, 0x200000))
_MNT_DETACH = 2
_ALL_IDS = 2**32 - 1
_PR_SET_PDEATHSIG, _PR_GET_PDEATHSIG = 1, 2

_libc = ctypes.CDLL(None, use_errno=True)


class Mode(enum.Enum):
    """How the engine became root."""

    ROOT = "root"
    SUBORDINATE = "subordinate"
    SINGLE = "single"


@dataclass(frozen=True, slots=True)
class EngineIdentity:
    """The engine's mode, and the number of IDs that it can give to files."""

    mode: Mode
    ids: int


@dataclass(frozen=True, slots=True)
class Range:
    """IDs of the outer namespace, as a line of /etc/subuid grants them."""

    start: int
    count: int


_entered: EngineIdentity | None = None


def identity() -> EngineIdentity | None:
    """The engine's identity, once :func:`become_root` was called in this process."""
    return _entered


def become_root(*, subordinate: bool = True) -> EngineIdentity:
    """Enter new namespaces as their root, once; call it before any thread starts.

    Without ``subordinate`` the granted ID ranges are not used. Raises EngineUnavailable with the
    reason if the machine forbids user namespaces.
    """
    global _entered  # noqa: PLW0603 — namespaces are state of the process, too
    if _entered is not None:
        return _entered
    death_signal = ctypes.c_int(0)
    _libc.prctl(_PR_GET_PDEATHSIG, ctypes.byref(death_signal), 0, 0, 0)
    if os.geteuid() == 0 and _unshare(_CLONE_NEWNS):
        found = _as_found(_mapped_ids())
    else:
        found = _enter_user_namespace(subordinate=subordinate)
    _mount(None, "/", None, _MS_REC | _MS_SLAVE, None)
    with contextlib.suppress(OSError):
        os.setgroups([])
    # The kernel resets PR_SET_PDEATHSIG when the credentials change.
    _libc.prctl(_PR_SET_PDEATHSIG, death_signal.value, 0, 0, 0)
    _entered = found
    return found


def mount_tmpfs(path: Path, *, size: int, mode: int = 0o700) -> None:
    """Mount a file system in memory that only this process's namespace sees; it ends with the process.

    ``size`` is in bytes, 0 for the kernel's default. Programs in it can be executed only if others
    may enter it.
    """
    flags = _MS_NOSUID | _MS_NODEV | (0 if mode & 1 else _MS_NOEXEC)
    options = f"size={size},mode={mode:o}" if size else f"mode={mode:o}"
    _mount("rondel", str(path), "tmpfs", flags, options)


def mount_overlay(
    path: Path, lowers: Sequence[str], *, upper: str | None = None, work: str | None = None
) -> None:
    """Mount directories merged, bottom to top; read-only without ``upper`` and ``work``."""
    if upper is None and len(lowers) == 1:
        bind(lowers[0], path, readonly=True)
        return
    options = ["userxattr", f"lowerdir={':'.join(map(_escaped, reversed(lowers)))}"]
    if upper is not None and work is not None:
        options += [f"upperdir={_escaped(upper)}", f"workdir={_escaped(work)}"]
    _mount("overlay", str(path), "overlay", 0, ",".join(options))


def _escaped(path: str) -> str:
    return re.sub(r"([\\:,])", r"\\\1", path)


def bind(source: str, path: Path, *, readonly: bool = False) -> None:
    """Mount a file or directory, with what is mounted in it, at another path."""
    _mount(source, str(path), None, _MS_BIND | _MS_REC, None)
    if readonly:
        make_readonly(path)


def make_readonly(path: Path) -> None:
    """Make a mount read-only, but not those in it."""
    locked = sum(mount for status, mount in _LOCKED_FLAGS if os.statvfs(path).f_flag & status)
    _mount(None, str(path), None, _MS_BIND | _MS_REMOUNT | _MS_RDONLY | locked, None)


def move(path: Path, target: str) -> None:
    """Move a mount; a path of ``/proc/self/fd`` as ``target`` is exactly the file that is open there."""
    _mount(str(path), target, None, _MS_MOVE, None)


def protected(program: str, copy: Path) -> str:
    """A path at which a program can be executed but not overwritten; the original path if that is impossible.

    A container's processes find the program that started them under /proc/1/exe, and user 0 could
    write to it. So it is bind-mounted read-only at ``copy``, for this process alone. ``copy`` must
    not be in a directory that an overlay uses.
    """
    locked = sum(mount for status, mount in _LOCKED_FLAGS if os.statvfs(program).f_flag & status)
    copy.touch()
    try:
        _mount(program, str(copy), None, _MS_BIND, None)
        _mount(None, str(copy), None, _MS_BIND | _MS_REMOUNT | _MS_RDONLY | locked, None)
    except OSError:
        unmount(copy)
        return program
    return str(copy)


def unmount(path: Path) -> None:
    """Unmount what was mounted here, if anything was."""
    _libc.umount2(os.fsencode(path), _MNT_DETACH)


def granted(text: str, user: str, uid: int) -> Range | None:
    """The largest range that a subuid or subgid file grants to a user, by name or number."""
    ranges = []
    for line in text.splitlines():
        owner, _, rest = line.strip().partition(":")
        start, _, count = rest.partition(":")
        if owner in (user, str(uid)) and start.isdecimal() and count.isdecimal():
            ranges.append(Range(int(start), int(count)))
    return max(ranges, key=lambda found: found.count, default=None)


def _enter_user_namespace(*, subordinate: bool) -> EngineIdentity:
    uid, gid = os.geteuid(), os.getegid()
    commands = _mapping_commands(uid, gid) if subordinate else None
    if commands is not None:
        count, helper = _start_helper(*commands)
        if not _unshare(_CLONE_NEWUSER | _CLONE_NEWNS):
            helper.finish()
            raise _forbidden(ctypes.get_errno())
        if helper.finish():
            return EngineIdentity(Mode.SUBORDINATE, count)
    elif not _unshare(_CLONE_NEWUSER | _CLONE_NEWNS):
        raise _forbidden(ctypes.get_errno())
    try:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
        Path("/proc/self/gid_map").write_text(f"0 {gid} 1")
    except OSError as error:
        raise _forbidden(error.errno or 0) from error
    return EngineIdentity(Mode.SINGLE, 1)


def _mapping_commands(uid: int, gid: int) -> tuple[int, list[str], list[str]] | None:
    """How many IDs are available, and the commands that map them (the PID goes second); None without."""
    tools = shutil.which("newuidmap"), shutil.which("newgidmap")
    if tools[0] is None or tools[1] is None:
        return None
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        name = str(uid)
    ranges = []
    for path in ("/etc/subuid", "/etc/subgid"):
        try:
            ranges.append(granted(Path(path).read_text(), name, uid))
        except OSError:
            return None
    if ranges[0] is None or ranges[1] is None:
        return None
    count = min(ranges[0].count, ranges[1].count, 65535)
    pid = str(os.getpid())
    return (
        count + 1,
        [tools[0], pid, "0", str(uid), "1", "1", str(ranges[0].start), str(count)],
        [tools[1], pid, "0", str(gid), "1", "1", str(ranges[1].start), str(count)],
    )


@dataclass(slots=True)
class _Helper:
    """A child that stays in the outer namespace: only from there can IDs be mapped."""

    pid: int
    go: int

    def finish(self) -> bool:
        """Let it map the IDs of this process and exit; returns whether it succeeded."""
        os.write(self.go, b"1")
        os.close(self.go)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1]) == 0


def _start_helper(count: int, map_users: list[str], map_groups: list[str]) -> tuple[int, _Helper]:
    wait, go = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.close(go)
            os.read(wait, 1)
            status = 0
            for command in (map_users, map_groups):
                done = subprocess.run(
                    command, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
                )
                status = status or done.returncode
        finally:
            os._exit(status)
    os.close(wait)
    return count, _Helper(pid, go)


def _unshare(flags: int) -> bool:
    return bool(_libc.unshare(flags) == 0)


def _mount(source: str | None, target: str, kind: str | None, flags: int, data: str | None) -> None:
    def text(value: str | None) -> bytes | None:
        return None if value is None else os.fsencode(value)

    if _libc.mount(text(source), text(target), text(kind), ctypes.c_ulong(flags), text(data)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), target)


def _as_found(ids: int) -> EngineIdentity:
    """Whose root this is: the machine's, or that of a user namespace made by another program."""
    if ids == 1:
        return EngineIdentity(Mode.SINGLE, ids)
    return EngineIdentity(Mode.ROOT if ids >= _ALL_IDS else Mode.SUBORDINATE, ids)


def _mapped_ids() -> int:
    lines = Path("/proc/self/uid_map").read_text().splitlines()
    return sum(int(line.split()[2]) for line in lines)


def _forbidden(number: int) -> EngineUnavailable:
    hints = []
    for name in ("kernel/apparmor_restrict_unprivileged_userns", "kernel/unprivileged_userns_clone"):
        with contextlib.suppress(OSError):
            hints.append(f"{name.replace('/', '.')} is {Path('/proc/sys', name).read_text().strip()}")
    return EngineUnavailable(
        "this machine does not let the engine make a user namespace",
        why="; ".join([_why(number), *hints]),
        hint="allow user namespaces, run as root, or use a Dagger engine (--engine dagger)",
    )


def _why(number: int) -> str:
    """The kernel's reason in words: it reports the limit of namespaces as ENOSPC, like a full disk."""
    return "user.max_user_namespaces is reached" if number == errno.ENOSPC else os.strerror(number)
