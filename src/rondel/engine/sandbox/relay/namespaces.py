"""Network namespaces: making one, and making sockets in one."""

from __future__ import annotations

import ctypes
import fcntl
import os
import queue
import socket
import struct
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
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
    """The namespaces that this process holds, by number; None is the one it was started in.

    An ordinary user may step from one of his own namespaces into another, but never back
    into the host's. So a thread of its own does the stepping, and makes the sockets.
    """

    def __init__(self) -> None:
        self._held: dict[int, int] = {}
        self._next = 1
        self._errands: queue.SimpleQueue[tuple[Callable[[], object], queue.SimpleQueue[object]]]
        self._errands = queue.SimpleQueue()
        self._traveller: threading.Thread | None = None

    def _travel(self) -> None:
        while True:
            errand, answer = self._errands.get()
            try:
                answer.put(errand())
            except Exception as error:  # noqa: BLE001 - it belongs to whoever asked
                answer.put(error)

    def _send(self, errand: Callable[[], T]) -> T:
        """Have the travelling thread do something, and wait for it."""
        if self._traveller is None:
            self._traveller = threading.Thread(target=self._travel, daemon=True)
            self._traveller.start()
        answer: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._errands.put((errand, answer))
        got = answer.get()
        if isinstance(got, Exception):
            raise got
        return got  # type: ignore[no-any-return]

    def create(self) -> tuple[int, str]:
        """A new namespace with its loopback up: its number and the path by which others enter it."""
        held = self._send(_create)
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
        """A non-blocking socket in a namespace. Raises KeyError for one that is not held, and OSError."""
        kind |= socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        if number is None:
            return socket.socket(family, kind)
        held = self._held[number]

        def make() -> socket.socket:
            _check(_libc.setns(held, CLONE_NEWNET), "setns")
            return socket.socket(family, kind)

        return self._send(make)


def _create() -> int:
    """Leave for a new namespace; a descriptor that holds it."""
    _check(_libc.unshare(CLONE_NEWNET), "unshare")
    _loopback_up()
    # Any user may listen below 1024 in there: it is nobody's but the service's.
    with suppress(OSError):
        Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").write_text("0")
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def _loopback_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        fcntl.ioctl(probe, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", _IFF_UP_RUNNING))
