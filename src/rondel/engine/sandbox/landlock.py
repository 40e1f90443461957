"""Keeps containers away from the machine's abstract Unix sockets (landlock(7), from Linux 6.12).

Abstract sockets belong to a network namespace, and commands share the machine's: container
runtimes, X servers and session buses listen there, and many of them trust user 0.
After this restriction, child processes reach only abstract sockets that were opened under it.
"""

from __future__ import annotations

import ctypes
import struct

_CREATE_RULESET, _RESTRICT_SELF = 444, 446  # the same on every architecture
_VERSION_FLAG, _SCOPED_SINCE = 1, 6
_SCOPE_ABSTRACT_SOCKETS = 1

_libc = ctypes.CDLL(None, use_errno=True)
_done: bool | None = None


def close_abstract_sockets() -> bool:
    """Restrict this thread and its children, once; returns whether the kernel can.

    Needs CAP_SYS_ADMIN in the process's user namespace, which the engine has.
    """
    global _done  # noqa: PLW0603 - a restriction is state of the process, too
    if _done is None:
        _done = _restrict()
    return _done


def can_close_abstract_sockets() -> bool:
    """Whether the kernel supports :func:`close_abstract_sockets`; changes nothing."""
    version: int = _libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _VERSION_FLAG)
    return version >= _SCOPED_SINCE


def _restrict() -> bool:
    if not can_close_abstract_sockets():
        return False
    rules = ctypes.create_string_buffer(struct.pack("QQQ", 0, 0, _SCOPE_ABSTRACT_SOCKETS), 24)
    held = _libc.syscall(_CREATE_RULESET, rules, ctypes.c_size_t(24), 0)
    if held < 0:
        return False
    try:
        return bool(_libc.syscall(_RESTRICT_SELF, held, 0) == 0)
    finally:
        _libc.close(held)
