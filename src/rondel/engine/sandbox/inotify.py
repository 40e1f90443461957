"""The kernel's inotify through the C library: the four calls that the engine needs, events as tuples."""

from __future__ import annotations

import ctypes
import os
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

OPEN, CLOSE_WRITE, CLOSE_NOWRITE = 0x20, 0x8, 0x10
CREATE, DELETE, MOVED_FROM, MOVED_TO = 0x100, 0x200, 0x40, 0x80
OVERFLOW, IS_DIRECTORY = 0x4000, 0x40000000
_ONLY_DIRECTORIES = 0x01000000
_EVENT = struct.Struct("iIII")
_BLOCK = 1 << 16

_libc = ctypes.CDLL(None, use_errno=True)


class Inotify:
    """One queue of events. Raises OSError if the kernel or a limit of the user forbids it."""

    def __init__(self) -> None:
        self.descriptor = _checked(_libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK))

    def add(self, folder: str, mask: int) -> int:
        """Watch the entries of a directory; returns the number that its events carry."""
        return _checked(
            _libc.inotify_add_watch(self.descriptor, os.fsencode(folder), mask | _ONLY_DIRECTORIES)
        )

    def read(self) -> Iterator[tuple[int, int, str]]:
        """The pending events: the directory's number, the mask, and the entry's name."""
        while True:
            try:
                data = os.read(self.descriptor, _BLOCK)
            except BlockingIOError:
                return
            at = 0
            while at < len(data):
                number, mask, _, length = _EVENT.unpack_from(data, at)
                at += _EVENT.size
                yield number, mask, os.fsdecode(data[at : at + length].rstrip(b"\0"))
                at += length

    def close(self) -> None:
        """Close the queue, which takes the kernel some milliseconds."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


def _checked(answer: int) -> int:
    if answer < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return answer
