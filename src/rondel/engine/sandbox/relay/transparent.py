"""Catches connections from the namespaces to the outside at the hub, and continues them from the host.

For a program in a namespace this is transparent: it connects to the address that it means. There
is one difference: it is connected before the engine knows whether the destination accepts; if
not, the connection is reset.
"""

from __future__ import annotations

import resource
import socket
import struct
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from .flows import Dial, Pair, Target, reset
from .loop import READ, Loop

if TYPE_CHECKING:
    from .namespaces import Namespaces

_IP_TRANSPARENT, _IP_RECVORIGDSTADDR = 19, 20
_BACKLOG = 1024
_IDLE_SECONDS = 180.0
_MAX_FLOWS = 4096
_TURNS = 64
_DATAGRAM = 65536

Address = tuple[str, int]


def listener(namespaces: Namespaces, hub: int, address: str, kind: int) -> socket.socket:
    """A socket in the hub that receives packets for any address. Raises OSError."""
    made = namespaces.socket(hub, socket.AF_INET, kind)
    try:
        made.setsockopt(socket.IPPROTO_IP, _IP_TRANSPARENT, 1)
        if kind == socket.SOCK_DGRAM:
            made.setsockopt(socket.IPPROTO_IP, _IP_RECVORIGDSTADDR, 1)
        made.bind((address, 0))
        if kind == socket.SOCK_STREAM:
            made.listen(_BACKLOG)
    except OSError:
        made.close()
        raise
    return made


class Connections:
    """TCP: joins each connection to a new one from the host to the same address."""

    def __init__(self, loop: Loop, namespaces: Namespaces, sock: socket.socket) -> None:
        self._loop, self._namespaces, self._sock = loop, namespaces, sock
        loop.watch(sock.fileno(), READ, self._accept)

    def _accept(self, _events: int) -> None:
        try:
            client, _ = self._sock.accept()
        except OSError:
            return
        client.setblocking(False)
        host, port = client.getsockname()[:2]

        def joined(server: socket.socket | None, _error: int) -> None:
            if server is None:
                reset(client)
            else:
                Pair(self._loop, client, server)

        Dial(self._loop, self._namespaces, Target(None, (host,), port), joined)


class Datagrams:
    """UDP: each pair of sender and address has a socket on the host, and one here to answer from."""

    def __init__(self, loop: Loop, namespaces: Namespaces, hub: int, sock: socket.socket) -> None:
        self._loop, self._namespaces, self._hub, self._sock = loop, namespaces, hub, sock
        self._flows: dict[tuple[Address, Address], _Flow] = {}
        # Two descriptors each; most descriptors are for connections.
        self._most = min(_MAX_FLOWS, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 8)
        loop.watch(sock.fileno(), READ, self._receive)
        loop.each_tick(self._expire)

    def _receive(self, _events: int) -> None:
        for _ in range(_TURNS):
            try:
                data, notes, _, sender = self._sock.recvmsg(_DATAGRAM, 256)
            except OSError:
                return
            meant = _meant_for(notes)
            flow = None if meant is None else self._flow(sender, meant)
            if flow is not None:
                flow.used = time.monotonic()
                with suppress(OSError):  # UDP may lose datagrams; senders expect it
                    flow.out.send(data)

    def _flow(self, sender: Address, meant: Address) -> _Flow | None:
        known = self._flows.pop((sender, meant), None)
        if known is None:
            if len(self._flows) >= self._most:  # each query to a name server uses a new port: drop the oldest
                self._drop(next(iter(self._flows)))
            try:
                known = _Flow(self._namespaces, self._hub, sender, meant)
            except (OSError, KeyError):
                return None
            self._loop.watch(known.out.fileno(), READ, known.answer)
        self._flows[sender, meant] = known  # keeps the dict ordered by last use
        return known

    def _expire(self, now: float) -> None:
        for key in [key for key, flow in self._flows.items() if now - flow.used > _IDLE_SECONDS]:
            self._drop(key)

    def _drop(self, key: tuple[Address, Address]) -> None:
        flow = self._flows.pop(key)
        self._loop.watch(flow.out.fileno(), 0, flow.answer)
        flow.close()


class _Flow:
    """One conversation by datagrams."""

    def __init__(self, namespaces: Namespaces, hub: int, sender: Address, meant: Address) -> None:
        self.used = time.monotonic()
        self._sender = sender
        self.out = namespaces.socket(None, socket.AF_INET, socket.SOCK_DGRAM)
        self._back = namespaces.socket(hub, socket.AF_INET, socket.SOCK_DGRAM)
        try:
            self.out.connect(meant)
            self._back.setsockopt(socket.IPPROTO_IP, _IP_TRANSPARENT, 1)
            self._back.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._back.bind(meant)
        except OSError:
            self.close()
            raise

    def answer(self, _events: int) -> None:
        """Pass an answer on, with the original destination as its sender."""
        with suppress(OSError):
            for _ in range(_TURNS):
                self._back.sendto(self.out.recv(_DATAGRAM), self._sender)

    def close(self) -> None:
        self.out.close()
        self._back.close()


def _meant_for(notes: list[tuple[int, int, bytes]]) -> Address | None:
    for level, kind, data in notes:
        if level == socket.IPPROTO_IP and kind == _IP_RECVORIGDSTADDR:
            port, raw = struct.unpack_from("!2xH4s", data)
            return socket.inet_ntoa(raw), port
    return None
