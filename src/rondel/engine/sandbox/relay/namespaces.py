"""Creates network namespaces, and sockets in them."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import queue
import socket
import struct
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from . import netlink, redirect

if TYPE_CHECKING:
    from collections.abc import Callable

NETWORK, GATEWAY = (
    "198.18.0.0",
    "198.18.0.1",
)  # from the benchmarking range (RFC 2544), which real networks do not use
_OWN = socket.inet_aton(NETWORK)[:2]
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
    """Let the kernel kill this process when its parent ends; exits at once if it already has."""
    _check(_libc.prctl(_PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0), "prctl")
    if os.getppid() != parent:
        os._exit(0)


class Namespaces:
    """The namespaces that this process holds, by number; None is the one it was started in.

    An ordinary user may move from one of their namespaces into another, but never back
    into the host's. So a separate thread enters the namespaces and creates the sockets.
    """

    def __init__(self) -> None:
        self._held: dict[int, int] = {}
        self._next = 1
        self._hub: int | None = None
        self._hub_failed = False
        self._addresses = 0
        self._errands: queue.SimpleQueue[tuple[Callable[[], object], queue.SimpleQueue[object]]]
        self._errands = queue.SimpleQueue()
        self._traveller: threading.Thread | None = None

    def _travel(self) -> None:
        while True:
            errand, answer = self._errands.get()
            try:
                answer.put(errand())
            except Exception as error:  # noqa: BLE001 - it belongs to the waiting caller
                answer.put(error)

    def _send(self, errand: Callable[[], T]) -> T:
        """Run a function on the thread that changes namespaces, and wait for it."""
        if self._traveller is None:
            self._traveller = threading.Thread(target=self._travel, daemon=True)
            self._traveller.start()
        answer: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._errands.put((errand, answer))
        got = answer.get()
        if isinstance(got, Exception):
            raise got
        return got  # type: ignore[no-any-return]

    def create(self) -> tuple[int, str, str | None]:
        """Create a namespace with its loopback interface up.

        Returns its number, the path by which others enter it, and its address in the session's
        network if the machine can join namespaces by veth pairs.
        """
        held = self._send(_create)
        number = self._keep(held)
        address = self._join(number, held)
        return number, f"/proc/{os.getpid()}/fd/{held}", address

    def _keep(self, held: int) -> int:
        number = self._next
        self._next += 1
        self._held[number] = held
        return number

    @property
    def hub(self) -> int | None:
        """The namespace in the middle, which routes between the others."""
        return self._hub

    def _join(self, number: int, held: int) -> str | None:
        """Join a namespace to the hub; None if the kernel has no veth."""
        if self._hub is None and not self._hub_failed:
            try:
                self._hub = self._keep(self._send(_create_hub))
            except OSError:
                self._hub_failed = True
        if self._hub is None:
            return None
        hub, address, name = self._held[self._hub], self.hub_address(), f"v{number}"

        def join() -> None:
            _check(_libc.setns(hub, CLONE_NEWNET), "setns")
            netlink.make_pair(name, "eth0", held)
            netlink.set_up(name)
            netlink.add_route(name, address, source=GATEWAY)
            _check(_libc.setns(held, CLONE_NEWNET), "setns")
            netlink.add_address("eth0", address)
            netlink.set_up("eth0")
            netlink.add_route("eth0", GATEWAY)
            netlink.add_route("eth0", NETWORK, prefix=16, through=GATEWAY)

        try:
            self._send(join)
        except OSError:
            return None
        return address

    def hub_address(self) -> str:
        """An unused address of the session's network."""
        self._addresses += 1
        high, low = divmod(self._addresses, 250)
        return f"198.18.{high}.{low + 2}"

    def own_address(self) -> str:
        """An address at which the hub itself listens. Raises OSError without a hub."""
        if self._hub is None:
            raise OSError(errno.EADDRNOTAVAIL, "the session has no private network")
        hub, address = self._held[self._hub], self.hub_address()

        def add() -> None:
            _check(_libc.setns(hub, CLONE_NEWNET), "setns")
            netlink.add_address("lo", address)

        self._send(add)
        return address

    def open_egress(self, ports: dict[int, int]) -> None:
        """Let the hub catch connections to the outside, by protocol. Raises OSError if it can't."""
        if self._hub is None:
            raise OSError(errno.EADDRNOTAVAIL, "the session has no private network")
        hub = self._held[self._hub]

        def install() -> None:
            _check(_libc.setns(hub, CLONE_NEWNET), "setns")
            redirect.catch(_OWN, GATEWAY, ports)
            netlink.take_everything("lo")

        self._send(install)

    def allow_egress(self, number: int) -> None:
        """Route a namespace's connections to the outside to the hub. Raises KeyError and OSError."""
        held = self._held[number]

        def lead() -> None:
            _check(_libc.setns(held, CLONE_NEWNET), "setns")
            netlink.add_route("eth0", "0.0.0.0", prefix=0, through=GATEWAY)  # noqa: S104 - the default route

        self._send(lead)

    def close(self, number: int) -> None:
        """Release a namespace; it lasts as long as processes are in it."""
        held = self._held.pop(number, None)
        if held is not None:
            os.close(held)

    def socket(self, number: int | None, family: int, kind: int) -> socket.socket:
        """Create a non-blocking socket in a namespace. Raises KeyError for an unknown one, and OSError."""
        kind |= socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        if number is None:
            return socket.socket(family, kind)
        held = self._held[number]

        def make() -> socket.socket:
            _check(_libc.setns(held, CLONE_NEWNET), "setns")
            return socket.socket(family, kind)

        return self._send(make)


def _create() -> int:
    """Enter a new namespace; returns a descriptor that keeps it open."""
    _check(_libc.unshare(CLONE_NEWNET), "unshare")
    _loopback_up()
    # Any user may listen below 1024 in it: the namespace belongs to one service.
    with suppress(OSError):
        Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").write_text("0")
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def _create_hub() -> int:
    """Create the namespace in the middle: it owns the gateway's address and forwards packets."""
    held = _create()
    netlink.add_address("lo", GATEWAY)
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    return held


def _loopback_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        fcntl.ioctl(probe, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", _IFF_UP_RUNNING))
