"""Translates the plan of a container into bubblewrap's command line: a pure function.

bwrap reads its options from a file descriptor, never from its command line: they
contain the environment, which may hold secrets.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rondel.engine.sandbox.spec import ExecRefused
from rondel.engine.sandbox.users import ROOT, User

if TYPE_CHECKING:
    from collections.abc import Iterator

CAPABILITIES = (
    "CAP_AUDIT_WRITE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_NET_BIND_SERVICE",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
)
"""An ordinary container's set, without MKNOD (host devices) and NET_RAW (the network is the host's)."""

TOOLS = "/dev/.rondel"
"""Where a container finds the user-switching program. In /dev, which is never part of a layer."""
SETPRIV: tuple[str, ...] = (f"{TOOLS}/setpriv",)
"""The command that changes the user, without its loader."""


@dataclass(frozen=True, slots=True)
class Overlay:
    """Directories of the host merged at ``path``, bottom to top; read-only without ``upper``."""

    path: str
    lowers: tuple[str, ...]
    upper: str | None = None
    work: str | None = None


@dataclass(frozen=True, slots=True)
class Bind:
    """A file or directory of the host at ``path``."""

    path: str
    source: str
    readonly: bool = True


@dataclass(frozen=True, slots=True)
class Memory:
    """A file system in memory at ``path``; ``size`` in bytes, 0 is the kernel's default.

    Every user may write to a ``shared`` one, as to ``/tmp``.
    """

    path: str
    size: int = 0
    readonly: bool = False
    shared: bool = False


@dataclass(frozen=True, slots=True)
class Kernel:
    """A file system that the kernel or bwrap provides at ``path``: ``proc`` or ``dev``."""

    path: str
    kind: str


@dataclass(frozen=True, slots=True)
class Device:
    """A device of the host, at its own ``path``."""

    path: str


BwrapMount = Overlay | Bind | Memory | Kernel | Device


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerPlan:
    """Everything that defines a container; nothing is left to look up.

    ``mounts`` are mounted in this order. ``command`` is the file to execute,
    ``args`` its arguments including the name it is called by. ``nested_user`` says
    that only one ID exists, so another user needs a user namespace.
    """

    mounts: tuple[BwrapMount, ...]
    command: str
    args: tuple[str, ...]
    env: tuple[tuple[str, str], ...]
    cwd: str
    hostname: str
    user: User = ROOT
    switch: tuple[str, ...] = SETPRIV
    nested_user: bool = False
    private_network: bool = False
    init: bool = True
    terminal: bool = False
    insecure: bool = False


def options(plan: ContainerPlan) -> list[str]:
    """The options for ``bwrap --args``."""
    found = ["--unshare-pid", "--unshare-ipc", "--unshare-uts", "--hostname", plan.hostname]
    found += ["--die-with-parent", "--cap-drop", "ALL"]
    if plan.private_network:
        found.append("--unshare-net")
    if not plan.terminal:
        found.append("--new-session")
    if not plan.init:
        found.append("--as-pid-1")
    if plan.nested_user and not plan.user.is_root:
        found += ["--unshare-user", "--uid", str(plan.user.uid), "--gid", str(plan.user.gid)]
    else:
        for capability in ("ALL",) if plan.insecure else CAPABILITIES:
            found += ["--cap-add", capability]
    for mount in plan.mounts:
        found += _mount(mount)
    found.append("--clearenv")
    for name, value in plan.env:
        found += ["--setenv", name, value]
    return [*found, "--chdir", plan.cwd]


def packed(values: list[str]) -> bytes:
    """Options as bwrap reads them, terminated by NUL. A value with a NUL would become two: it is refused."""
    if any("\0" in value for value in values):
        raise ExecRefused("a path, argument or variable of the command contains a NUL byte")
    return "".join(f"{value}\0" for value in values).encode("utf-8", "surrogateescape")


def command_line(plan: ContainerPlan) -> list[str]:
    """What follows bwrap's options: the command, or the program that switches the user and then runs it."""
    if plan.user.is_root or plan.nested_user:
        return ["--argv0", plan.args[0], "--", plan.command, *plan.args[1:]]
    groups = ",".join(map(str, plan.user.groups))
    # By name if PATH finds it, so that the command sees the name that it was called by.
    name = plan.args[0] if "/" not in plan.args[0] else plan.command
    return [
        "--",
        f"{TOOLS}/loader",
        "--library-path",
        TOOLS,
        *plan.switch,
        f"--reuid={plan.user.uid}",
        f"--regid={plan.user.gid}",
        f"--groups={groups}" if groups else "--clear-groups",
        "--",
        name,
        *plan.args[1:],
    ]


def _mount(mount: BwrapMount) -> Iterator[str]:
    if isinstance(mount, Overlay):
        if mount.upper is None and len(mount.lowers) == 1:
            yield from ("--ro-bind", mount.lowers[0], mount.path)
            return
        for lower in mount.lowers:
            yield from ("--overlay-src", lower)
        if mount.upper is None or mount.work is None:
            yield from ("--ro-overlay", mount.path)
        else:
            yield from ("--overlay", mount.upper, mount.work, mount.path)
    elif isinstance(mount, Bind):
        yield from ("--ro-bind" if mount.readonly else "--bind", mount.source, mount.path)
    elif isinstance(mount, Device):
        yield from ("--dev-bind", mount.path, mount.path)
    elif isinstance(mount, Memory):
        if mount.shared:
            yield from ("--perms", "1777")
        if mount.size:
            yield from ("--size", str(mount.size))
        yield from ("--tmpfs", mount.path)
        if mount.readonly:
            yield from ("--remount-ro", mount.path)
    else:
        yield from (f"--{mount.kind}", mount.path)
