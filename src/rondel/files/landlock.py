"""Landlock: a process gives up access that it does not need, for itself and its children, for ever.

https://docs.kernel.org/userspace-api/landlock.html. glibc has no functions for it, so these
are system calls; their numbers are the same on every architecture.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION_FLAG = 1
_PATH_BENEATH = 1
_PR_SET_NO_NEW_PRIVS = 38

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1, 2, 4, 8
_REFER, _TRUNCATE = 1 << 13, 1 << 14
_FIRST = (1 << 13) - 1
_READ = _EXECUTE | _READ_FILE | _READ_DIR
_OF_A_FILE = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE

PATHS_SINCE = 2
"""The version of Linux 5.19. With the first one, a file can't move to another folder."""
ABSTRACT_SOCKETS_SINCE = 6
"""The version of Linux 6.12."""
_SCOPE_ABSTRACT_SOCKETS = 1

_libc = ctypes.CDLL(None, use_errno=True)


def version() -> int:
    """The kernel's version of Landlock; below 1 if it has none."""
    found: int = _libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _VERSION_FLAG)
    return found


def python_paths() -> list[str]:
    """What a Python program with this interpreter and these packages reads.

    Start the program with ``python -P``: otherwise its working directory is a folder of packages.
    """
    prefixes = {sys.prefix, sys.base_prefix} - {"/usr"}
    system = ("lib", "lib64", "bin", "local/lib", "share/zoneinfo", "share/mime")
    names = ("ssl", "hosts", "resolv.conf", "nsswitch.conf", "localtime", "ld.so.cache", "mime.types")
    return [
        *(f"{prefix}/{name}" for prefix in prefixes for name in ("lib", "lib64", "bin", "pyvenv.cfg")),
        *filter(None, sys.path),
        *(f"/usr/{name}" for name in system), "/lib", "/lib64", "/bin",
        *(f"/etc/{name}" for name in names),
        "/proc", "/sys/devices/system/cpu", "/sys/fs/cgroup", "/dev/urandom",
    ]  # fmt: skip


def restrict_to_paths(*, read: Iterable[str], write: Iterable[str]) -> None:
    """Allow this process to read only below ``read`` and ``write``, and to write only below ``write``.

    Ignores paths that don't exist. Needs version :data:`PATHS_SINCE`. Raises OSError if it fails.
    """
    everything = _FIRST | _REFER | (_TRUNCATE if version() >= 3 else 0)
    ruleset = _create(everything, 0)
    try:
        for paths, access in ((read, _READ), (write, everything)):
            for path in paths:
                _allow(ruleset, path, access, everything)
        _check(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        _check(_libc.syscall(_RESTRICT_SELF, ruleset, 0))
    finally:
        os.close(ruleset)


def close_abstract_sockets() -> None:
    """Let children reach only abstract Unix sockets that were opened under this restriction.

    Needs version :data:`ABSTRACT_SOCKETS_SINCE`, and CAP_SYS_ADMIN in the process's user
    namespace. Raises OSError if it fails.
    """
    ruleset = _create(0, _SCOPE_ABSTRACT_SOCKETS)
    try:
        _check(_libc.syscall(_RESTRICT_SELF, ruleset, 0))
    finally:
        os.close(ruleset)


def _create(paths: int, scoped: int) -> int:
    rules = struct.pack("QQQ", paths, 0, scoped)
    return _check(_libc.syscall(_CREATE_RULESET, rules, ctypes.c_size_t(len(rules)), 0))


def _allow(ruleset: int, path: str, access: int, everything: int) -> None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if not os.path.isdir(path):  # noqa: PTH112 - a module less between fork and exec
            access &= _OF_A_FILE & everything
        rule = struct.pack("=Qi", access, descriptor)
        _check(_libc.syscall(_ADD_RULE, ruleset, _PATH_BENEATH, rule, 0))
    finally:
        os.close(descriptor)


def _check(result: int) -> int:
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result
