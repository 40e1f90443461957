"""An HTTP proxy (CONNECT and plain requests) for namespaces without another way out.

Requests leave from the host's network, or go to the host's own proxy if it
has one. Each client connection serves one request (RFC 9112, sections 3.2.2 and 9.6).
"""

from __future__ import annotations

import ipaddress
import socket
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .flows import Dial, Pair, Target, reset
from .loop import READ, Loop

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .namespaces import Namespaces

_HEAD_LIMIT = 64 * 1024
_RESOLVERS = threading.BoundedSemaphore(16)


@dataclass(frozen=True)
class Upstream:
    """The host's own proxy for a scheme: its address and Proxy-Authorization header."""

    host: str
    port: int
    authorization: str = ""


@dataclass(frozen=True)
class Rules:
    """The proxy's rules: which requests go to which upstream, and whether loopback is allowed."""

    upstream: Mapping[str, Upstream] = field(default_factory=dict)
    bypass: tuple[str, ...] = ()
    loopback: bool = False

    def upstream_for(self, scheme: str, host: str) -> Upstream | None:
        """The host's proxy for a request; None to connect directly."""
        found = self.upstream.get(scheme)
        return None if found is None or _bypassed(host, self.bypass) else found


def _bypassed(host: str, patterns: tuple[str, ...]) -> bool:
    """Whether NO_PROXY's patterns (names, suffixes, ``*``) match this host."""
    for pattern in patterns:
        bare = pattern.lstrip("*").lstrip(".")
        if pattern == "*" or (bare and (host == bare or host.endswith("." + bare))):
            return True
    return False


@dataclass(frozen=True)
class ProxyRequest:
    """A parsed request head: its destination, and what to send there (empty for CONNECT)."""

    scheme: str
    host: str
    port: int
    head: bytes


class BadRequestError(ValueError):
    """The head is not a request that a proxy understands."""


def _split_host(text: str, default: int | None) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]"):
        host, port = text, str(default or "")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise BadRequestError(text)
    return host, int(port)


def parse(head: bytes) -> ProxyRequest:
    """Read a request head that ends in an empty line; raises BadRequestError."""
    lines = head.decode("latin-1").split("\r\n")
    try:
        method, target, version = lines[0].split(" ")
    except ValueError:
        raise BadRequestError(lines[0]) from None
    if not version.startswith("HTTP/1."):
        raise BadRequestError(version)
    if method == "CONNECT":
        return ProxyRequest("https", *_split_host(target, None), b"")
    if not target.lower().startswith("http://"):
        raise BadRequestError(target)
    authority, slash, path = target[len("http://") :].partition("/")
    authority, question, query = authority.partition("?")
    host, port = _split_host(authority.rpartition("@")[2], 80)
    drop = ("proxy-", "connection:", "keep-alive:")
    kept = [line for line in lines[1:] if line and not line.lower().startswith(drop)]
    first = f"{method} /{path if slash else question + query} {version}"
    return ProxyRequest(
        "http", host, port, "\r\n".join([first, *kept, "Connection: close", "", ""]).encode("latin-1")
    )


def for_upstream(head: bytes, upstream: Upstream) -> bytes:
    """The head for the host's own proxy: the same, with that proxy's credentials."""
    lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"proxy-authorization:")]
    if upstream.authorization:
        lines.insert(1, f"Proxy-Authorization: {upstream.authorization}".encode("latin-1"))
    return b"\r\n".join(lines)


class Proxy:
    """The listening proxy of one namespace."""

    def __init__(self, loop: Loop, namespaces: Namespaces, listener: socket.socket, rules: Rules) -> None:
        self._loop, self._namespaces, self._listener, self._rules = loop, namespaces, listener, rules
        listener.listen(128)
        loop.watch(listener.fileno(), READ, self._accept)

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._listener.getsockname()[1])

    def close(self) -> None:
        """Stop accepting."""
        self._loop.watch(self._listener.fileno(), 0, self._accept)
        self._listener.close()

    def _accept(self, _events: int) -> None:
        try:
            client, _ = self._listener.accept()
        except OSError:
            return
        client.setblocking(False)
        _Exchange(self._loop, self._namespaces, client, self._rules)


class _Exchange:
    """One client connection: read the head, resolve, connect, join."""

    def __init__(self, loop: Loop, namespaces: Namespaces, client: socket.socket, rules: Rules) -> None:
        self._loop, self._namespaces, self._client, self._rules = loop, namespaces, client, rules
        self._got = b""
        loop.watch(client.fileno(), READ, self._read)

    def _read(self, _events: int) -> None:
        try:
            data = self._client.recv(_HEAD_LIMIT)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self._got += data
        end = self._got.find(b"\r\n\r\n")
        if end < 0 and data and len(self._got) <= _HEAD_LIMIT:
            return
        self._loop.watch(self._client.fileno(), 0, self._read)
        if end < 0:
            reset(self._client)
            return
        head, rest = self._got[: end + 4], self._got[end + 4 :]
        try:
            request = parse(head)
        except BadRequestError:
            self._refuse("400 Bad Request")
            return
        upstream = self._rules.upstream_for(request.scheme, request.host)
        if upstream is not None:
            self._connect(upstream.host, upstream.port, for_upstream(head, upstream) + rest, b"", own=False)
        elif request.head:
            self._connect(request.host, request.port, request.head + rest, b"", own=True)
        else:
            self._connect(
                request.host, request.port, rest, b"HTTP/1.1 200 Connection established\r\n\r\n", own=True
            )

    def _refuse(self, status: str) -> None:
        with suppress(OSError):
            self._client.send(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
        self._client.close()

    def _connect(self, host: str, port: int, first: bytes, greeting: bytes, *, own: bool) -> None:
        def connected(server: socket.socket | None, _error: int) -> None:
            if server is None:
                self._refuse("502 Bad Gateway")
                return
            if greeting:
                try:
                    self._client.send(greeting)
                except OSError:
                    reset(self._client)
                    reset(server)
                    return
            Pair(self._loop, self._client, server, first)

        def resolved(addresses: list[str]) -> None:
            if own and not self._rules.loopback:
                public = [address for address in addresses if not _is_loopback(address)]
                if addresses and not public:
                    self._refuse("403 Forbidden")
                    return
                addresses = public
            if not addresses:
                self._refuse("502 Bad Gateway")
                return
            Dial(self._loop, self._namespaces, Target(None, addresses, port), connected)

        _resolve(self._loop, host, resolved)


def _is_loopback(address: str) -> bool:
    parsed = ipaddress.ip_address(address.partition("%")[0])
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return any(ip.is_loopback or ip.is_unspecified for ip in (parsed, mapped) if ip is not None)


def _resolve(loop: Loop, host: str, done: Callable[[list[str]], None]) -> None:
    """Look a name up on a thread; addresses come in the resolver's order without duplicates."""

    def work() -> None:
        with _RESOLVERS:
            try:
                found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
            except (OSError, UnicodeError):
                found = []
        addresses = list(dict.fromkeys(str(info[4][0]) for info in found))
        loop.call_soon(lambda: done(addresses))

    threading.Thread(target=work, daemon=True).start()
