"""Network namespaces: making one, and making sockets in one."""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

CLONE_NEWNET = 0x40000000
_SIOCSIFFLAGS = 0x8914
_IFF_UP_RUNNING = 0x1 | 0x40
_PR_SET_PDEATHSIG = 1
_SIGKILL = 9

_libc = ctypes.CDLL(None, use_errno=True)


def _check(answer: int, what: str) -> None:
    if answer != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent ends; ends at once if it already has."""
    _check(_libc.prctl(_PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0), "prctl")
    if os.getppid() != parent:
        os._exit(0)


class Namespaces:
    """The namespaces that this process holds, by number; None is the one it was started in."""

    def __init__(self) -> None:
        self._home = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self._held: dict[int, int] = {}
        self._next = 1

    @contextmanager
    def entered(self, number: int | None) -> Iterator[None]:
        """Be in a namespace for a moment; the calling thread only."""
        if number is None:
            yield
            return
        _check(_libc.setns(self._held[number], CLONE_NEWNET), "setns")
        try:
            yield
        finally:
            _check(_libc.setns(self._home, CLONE_NEWNET), "setns")

    def create(self) -> tuple[int, str]:
        """A new namespace with its loopback up: its number and the path by which others enter it."""
        _check(_libc.unshare(CLONE_NEWNET), "unshare")
        try:
            held = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            _loopback_up()
            # Any user may listen below 1024 in there: it is nobody's but the service's.
            with suppress(OSError):
                Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").write_text("0")
        finally:
            _check(_libc.setns(self._home, CLONE_NEWNET), "setns")
        number = self._next
        self._next += 1
        self._held[number] = held
        return number, f"/proc/{os.getpid()}/fd/{held}"

    def close(self, number: int) -> None:
        """Let a namespace go; it lasts as long as processes are in it."""
        held = self._held.pop(number, None)
        if held is not None:
            os.close(held)

    def socket(self, number: int | None, family: int, kind: int) -> socket.socket:
        """A non-blocking socket in a namespace."""
        with self.entered(number):
            return socket.socket(family, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)


def _loopback_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        fcntl.ioctl(probe, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", _IFF_UP_RUNNING))
