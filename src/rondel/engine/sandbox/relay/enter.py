"""Run a command in a network namespace on a machine without nsenter: ``enter.py PATH COMMAND…``."""

from __future__ import annotations

import ctypes
import os
import sys

_CLONE_NEWNET = 0x40000000


def enter(path: str, command: list[str]) -> None:
    """Enter the namespace at ``path`` and become ``command``; raises OSError if either fails."""
    libc = ctypes.CDLL(None, use_errno=True)
    held = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    if libc.setns(held, _CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path)
    os.execvp(command[0], command)  # noqa: S606 — that is its purpose


if __name__ == "__main__":
    enter(sys.argv[1], sys.argv[2:])
