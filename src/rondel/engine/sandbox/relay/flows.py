"""Data between namespaces: TCP connections joined in pairs, and UDP flows."""

from __future__ import annotations

import errno
import socket
import struct
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .loop import READ, WRITE, Loop

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .namespaces import Namespaces

_CHUNK = 256 * 1024
_TURNS = 8  # chunks that one connection may move before the others
_BACKLOG = 1024
_UDP_IDLE_SECONDS = 180.0
_MAX_UDP_FLOWS = 4096
_RESET = struct.pack("ii", 1, 0)

_buffer = bytearray(_CHUNK)
_view = memoryview(_buffer)


@dataclass(frozen=True)
class Target:
    """Where to connect: addresses to try in order, as seen from a namespace (None: the host's)."""

    namespace: int | None
    addresses: Sequence[str]
    port: int


def reset(sock: socket.socket) -> None:
    """Close a connection so that the other side sees a failure, not a regular end."""
    with suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    sock.close()


def family_of(address: str) -> int:
    """The socket family of a numeric address."""
    return socket.AF_INET6 if ":" in address else socket.AF_INET


class Half:
    """One direction of a pair: from ``source`` to ``sink``."""

    def __init__(self, source: socket.socket, sink: socket.socket, first: bytes = b"") -> None:
        self.source, self.sink = source, sink
        self.pending = first
        self.ended = False  # the source has sent everything
        self.closed = False  # and the sink knows it

    def move(self) -> None:
        """Move what can be moved without waiting; raises OSError if the pair must be closed."""
        for _ in range(_TURNS):
            if self.pending:
                try:
                    sent = self.sink.send(self.pending)
                except BlockingIOError:
                    return
                self.pending = self.pending[sent:]
                if self.pending:
                    return
            if self.ended:
                break
            try:
                size = self.source.recv_into(_buffer)
            except BlockingIOError:
                return
            if size == 0:
                self.ended = True
                break
            try:
                sent = self.sink.send(_view[:size])
            except BlockingIOError:
                sent = 0
            if sent < size:
                self.pending = bytes(_view[sent:size])
                return
        if self.ended and not self.pending and not self.closed:
            self.closed = True
            self.sink.shutdown(socket.SHUT_WR)


class Pair:
    """Two connected TCP sockets; half-closes and resets are passed on."""

    def __init__(self, loop: Loop, left: socket.socket, right: socket.socket, first: bytes = b"") -> None:
        self._loop = loop
        self._there, self._back = Half(left, right, first), Half(right, left)
        for sock in (left, right):
            with suppress(OSError):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._ready(0)

    def _ready(self, _events: int) -> None:
        there, back = self._there, self._back
        try:
            there.move()
            back.move()
        except OSError:
            self._end(reset)
            return
        if there.closed and back.closed:
            self._end(socket.socket.close)
            return
        for sock, reads, writes in ((there.source, there, back), (back.source, back, there)):
            wanted = READ if not (reads.pending or reads.ended) else 0
            self._loop.watch(sock.fileno(), wanted | (WRITE if writes.pending else 0), self._ready)

    def _end(self, close: Callable[[socket.socket], None]) -> None:
        for sock in (self._there.source, self._back.source):
            self._loop.watch(sock.fileno(), 0, self._ready)
            close(sock)


class Dial:
    """A connection attempt; ``done`` receives the socket, or None with the error's number."""

    def __init__(
        self,
        loop: Loop,
        namespaces: Namespaces,
        target: Target,
        done: Callable[[socket.socket | None, int], None],
    ) -> None:
        self._loop, self._namespaces, self._target, self._done = loop, namespaces, target, done
        self._left = list(target.addresses)
        self._error = errno.EHOSTUNREACH
        self._sock: socket.socket | None = None
        self._try_next()

    def _try_next(self) -> None:
        while self._left:
            address = self._left.pop(0)
            try:
                sock = self._namespaces.socket(self._target.namespace, family_of(address), socket.SOCK_STREAM)
            except (OSError, KeyError) as error:
                self._error = getattr(error, "errno", None) or errno.ENETDOWN
                continue
            number = sock.connect_ex((address, self._target.port))
            if number in {0, errno.EINPROGRESS}:
                self._sock = sock
                self._loop.watch(sock.fileno(), WRITE, self._ready)
                return
            self._error = number
            sock.close()
        self._done(None, self._error)

    def _ready(self, _events: int) -> None:
        sock = self._sock
        if sock is None:
            return
        self._sock = None
        self._loop.watch(sock.fileno(), 0, self._ready)
        number = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if number == 0:
            self._done(sock, 0)
            return
        self._error = number
        sock.close()
        self._try_next()


class TcpForward:
    """A listener that forwards each connection to a new one to the target."""

    def __init__(self, loop: Loop, namespaces: Namespaces, listener: socket.socket, target: Target) -> None:
        self._loop, self._namespaces, self._listener, self._target = loop, namespaces, listener, target
        listener.listen(_BACKLOG)
        loop.watch(listener.fileno(), READ, self._accept)

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._listener.getsockname()[1])

    def _accept(self, _events: int) -> None:
        try:
            client, _ = self._listener.accept()
        except OSError:  # it is gone, or descriptors ran out: the next one may work
            return
        client.setblocking(False)

        def joined(server: socket.socket | None, _error: int) -> None:
            if server is None:
                reset(client)
            else:
                Pair(self._loop, client, server)

        Dial(self._loop, self._namespaces, self._target, joined)

    def close(self) -> None:
        """Stop accepting; established connections continue."""
        self._loop.watch(self._listener.fileno(), 0, self._accept)
        self._listener.close()


class UdpForward:
    """A UDP port; each sender gets a separate socket to the target."""

    def __init__(self, loop: Loop, namespaces: Namespaces, listener: socket.socket, target: Target) -> None:
        self._loop, self._namespaces, self._listener, self._target = loop, namespaces, listener, target
        self._flows: dict[Any, tuple[socket.socket, float]] = {}
        loop.watch(listener.fileno(), READ, self._receive)
        loop.each_tick(self._expire)

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._listener.getsockname()[1])

    def _receive(self, _events: int) -> None:
        for _ in range(64):
            try:
                data, sender = self._listener.recvfrom(65536)
            except OSError:
                return
            out = self._flow(sender)
            if out is not None:
                with suppress(OSError):  # UDP may lose datagrams; senders expect it
                    out.send(data)

    def _flow(self, sender: Any) -> socket.socket | None:
        known = self._flows.get(sender)
        if known is not None:
            self._flows[sender] = (known[0], time.monotonic())
            return known[0]
        if len(self._flows) >= _MAX_UDP_FLOWS:
            return None
        address = self._target.addresses[0]
        try:
            out = self._namespaces.socket(self._target.namespace, family_of(address), socket.SOCK_DGRAM)
            out.connect((address, self._target.port))
        except (OSError, KeyError):
            return None
        self._flows[sender] = (out, time.monotonic())

        def answer(_events: int) -> None:
            with suppress(OSError):
                for _ in range(64):
                    self._listener.sendto(out.recv(65536), sender)

        self._loop.watch(out.fileno(), READ, answer)
        return out

    def _drop(self, sender: Any) -> None:
        out, _ = self._flows.pop(sender)
        self._loop.watch(out.fileno(), 0, lambda _events: None)
        out.close()

    def _expire(self, now: float) -> None:
        for sender in [key for key, (_, last) in self._flows.items() if now - last > _UDP_IDLE_SECONDS]:
            self._drop(sender)

    def close(self) -> None:
        """End the forward and its flows."""
        for sender in list(self._flows):
            self._drop(sender)
        if self._listener.fileno() >= 0:
            self._loop.watch(self._listener.fileno(), 0, self._receive)
        self._listener.close()
