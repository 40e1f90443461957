"""The relay's control socket: one JSON line per request, one per answer, in order."""

from __future__ import annotations

import errno
import json
import os
import resource
import socket
from contextlib import suppress
from typing import Any

from .flows import Dial, Target, TcpForward, UdpForward, family_of
from .loop import READ, Loop
from .namespaces import GATEWAY, Namespaces, die_with
from .proxy import Proxy, Rules, Upstream
from .transparent import Connections, Datagrams, listener

_LINE_LIMIT = 1024 * 1024


class RelayServer:
    """Executes the engine's requests; an OSError becomes the answer's ``errno`` and ``error``."""

    def __init__(self, loop: Loop, control: socket.socket) -> None:
        self._loop, self._control = loop, control
        self._namespaces = Namespaces()
        self._forwards: dict[int, TcpForward | UdpForward | Proxy] = {}
        self._claims: dict[str, socket.socket] = {}
        self._egress: tuple[Connections, Datagrams] | None = None
        self._next = 1
        self._got = b""
        loop.watch(control.fileno(), READ, self._read)

    def _read(self, _events: int) -> None:
        try:
            data = self._control.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._loop.running = False
            return
        *lines, self._got = (self._got + data).split(b"\n")
        for line in lines:
            self._handle(json.loads(line))

    def _handle(self, request: dict[str, Any]) -> None:
        number = request.pop("id")
        operation = request.pop("op")
        try:
            answer = getattr(self, "do_" + operation)(number, **request)
        except KeyError as error:
            self._answer(number, errno=0, error=f"unknown namespace or forward {error}")
        except OSError as error:
            self._answer(number, errno=error.errno or 0, error=error.strerror or str(error))
        else:
            if answer is not None:
                self._answer(number, **answer)

    def _answer(self, number: int, **fields: Any) -> None:
        with suppress(OSError):  # the engine is gone: the next read notices
            self._control.setblocking(True)
            self._control.sendall(json.dumps({"id": number, **fields}).encode() + b"\n")
            self._control.setblocking(False)

    def do_namespace(self, _number: int) -> dict[str, Any]:
        """Create a namespace."""
        made, path, address = self._namespaces.create()
        return {"namespace": made, "path": path, "address": address, "hub": self._namespaces.hub}

    def do_hub_address(self, _number: int) -> dict[str, Any]:
        """Add an address at which the hub listens for all namespaces."""
        return {"address": self._namespaces.own_address()}

    def do_drop(self, _number: int, namespace: int) -> dict[str, Any]:
        """Release a namespace."""
        self._namespaces.close(namespace)
        return {}

    def do_claim(self, _number: int, address: str) -> dict[str, Any]:
        """Reserve an address for this session.

        The mark is an abstract socket: other sessions in this network namespace see it,
        and the kernel removes it when this process ends for any reason.
        """
        mark = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        try:
            mark.bind(f"\0rondel/{address}")
        except OSError:
            mark.close()
            raise
        self._claims[address] = mark
        return {}

    def do_release(self, _number: int, address: str) -> dict[str, Any]:
        """Release an address."""
        mark = self._claims.pop(address, None)
        if mark is not None:
            mark.close()
        return {}

    def _listener(self, namespace: int | None, address: str, port: int, kind: int) -> socket.socket:
        made = self._namespaces.socket(namespace, family_of(address), kind)
        try:
            if kind == socket.SOCK_STREAM:
                made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind((address, port))
        except OSError:
            made.close()
            raise
        return made

    def do_forward(
        self,
        _number: int,
        protocol: str,
        listen: tuple[int | None, str, int],
        dial: tuple[int | None, list[str], int],
    ) -> dict[str, Any]:
        """Forward from a listening address to a destination; returns the port (0 requests a free one)."""
        kind = socket.SOCK_DGRAM if protocol == "UDP" else socket.SOCK_STREAM
        forward = UdpForward if protocol == "UDP" else TcpForward
        made = forward(self._loop, self._namespaces, self._listener(*listen, kind), Target(*dial))
        return {"forward": self._keep(made), "port": made.port}

    def do_proxy(
        self,
        _number: int,
        listen: tuple[int | None, str, int],
        upstream: dict[str, list[Any]],
        bypass: list[str],
        loopback: bool,
    ) -> dict[str, Any]:
        """Start an HTTP proxy in a namespace."""
        rules = Rules(
            {scheme: Upstream(*value) for scheme, value in upstream.items()}, tuple(bypass), loopback
        )
        made = Proxy(self._loop, self._namespaces, self._listener(*listen, socket.SOCK_STREAM), rules)
        return {"forward": self._keep(made), "port": made.port}

    def do_egress(self, _number: int, namespace: int) -> dict[str, Any]:
        """Let a namespace reach everything that the host reaches, except its loopback."""
        hub = self._namespaces.hub
        if hub is None:
            raise OSError(errno.EADDRNOTAVAIL, "the session has no private network")
        if self._egress is None:
            listeners = [
                listener(self._namespaces, hub, GATEWAY, kind)
                for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM)
            ]
            protocols = (socket.IPPROTO_TCP, socket.IPPROTO_UDP)
            try:
                ports = [int(sock.getsockname()[1]) for sock in listeners]
                self._namespaces.open_egress(dict(zip(protocols, ports, strict=True)))
            except OSError:
                for sock in listeners:
                    sock.close()
                raise
            self._egress = (
                Connections(self._loop, self._namespaces, listeners[0]),
                Datagrams(self._loop, self._namespaces, hub, listeners[1]),
            )
        self._namespaces.allow_egress(namespace)
        return {}

    def _keep(self, made: TcpForward | UdpForward | Proxy) -> int:
        number = self._next
        self._next += 1
        self._forwards[number] = made
        return number

    def do_close(self, _number: int, forward: int) -> dict[str, Any]:
        """End a forward or proxy."""
        found = self._forwards.pop(forward, None)
        if found is not None:
            found.close()
        return {}

    def do_probe(self, number: int, dial: tuple[int | None, list[str], int]) -> None:
        """Test whether the destination accepts connections; answers when it is known."""

        def known(sock: socket.socket | None, error: int) -> None:
            if sock is None:
                self._answer(number, errno=error, error=os.strerror(error))
            else:
                sock.close()  # a regular close: a reset makes some servers print a traceback
                self._answer(number)

        Dial(self._loop, self._namespaces, Target(*dial), known)


def serve(control: int, parent: int) -> None:
    """Serve until the control socket closes or the parent ends."""
    die_with(parent)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    sock = socket.socket(fileno=control)
    sock.setblocking(False)
    loop = Loop()
    RelayServer(loop, sock)
    loop.run()
