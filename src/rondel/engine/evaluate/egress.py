"""Egress from a private network namespace.

The first possible way is used: slirp4netns, if it is installed and /dev/net/tun opens (a
full network for all protocols); the relay, which forwards every connection and datagram, if
the kernel can redirect them; else a proxy of the engine, set in the usual variables, which
carries HTTP and HTTPS only. The proxy is added to the relay if the machine itself uses a proxy
or if its loopback must be reachable. A name server on the host's loopback is forwarded into
the namespace.
"""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import anyio
import anyio.abc

from rondel.engine.sandbox.network import (
    GATEWAY,
    Destination,
    Namespace,
    NetworkError,
    Relay,
    SocketAddress,
    join_command,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_PROXY_ADDRESS, _PROXY_PORT = "127.66.0.1", 3128
_READY_SECONDS = 5.0


@dataclass(eq=False)
class Egress:
    """A namespace's egress: variables for the container's environment, and how to close it."""

    env: Mapping[str, str] = field(default_factory=dict)
    hosts: tuple[tuple[str, str], ...] = ()
    stack: AsyncExitStack = field(default_factory=AsyncExitStack)

    async def close(self) -> None:
        """Close it."""
        with suppress(NetworkError):
            await self.stack.aclose()


def tun_opens() -> bool:
    """Whether this process may use /dev/net/tun."""
    try:
        os.close(os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def network_program() -> str | None:
    """The path of slirp4netns, which gives a namespace a network; None if it is not installed.

    Also None without setpriv, which makes the kernel kill slirp4netns with the engine.
    """
    return shutil.which("slirp4netns") if shutil.which("setpriv") else None


async def open_egress(
    relay: Relay,
    namespace: Namespace,
    environ: Mapping[str, str],
    *,
    names: Sequence[str] = (),
    loopback: bool = False,
) -> Egress:
    """Give a namespace egress; ``names`` bypass the proxy.

    ``loopback`` lets the proxy reach the host's loopback, for commands that would otherwise
    run in the host's network.
    """
    egress = Egress()
    await _link_name_servers(relay, namespace, egress.stack)
    program = network_program() if tun_opens() else None
    if program is not None and await _run(program, namespace, egress.stack):
        return egress
    upstream = upstream_proxies(environ)
    if await _by_the_relay(relay, namespace) and not (upstream or loopback):
        return egress
    hub = relay.hub if namespace.address is not None else None
    if hub is not None:
        listen = SocketAddress(hub, GATEWAY, _PROXY_PORT + int(loopback))
    else:
        listen = SocketAddress(namespace, _PROXY_ADDRESS, _PROXY_PORT)
    try:
        proxy = await relay.proxy(
            listen,
            upstream=upstream,
            bypass=no_proxy(environ),
            loopback=loopback,
        )
    except NetworkError as error:
        if hub is None or not error.taken:
            raise
        # The hub's proxy serves all namespaces, so it stays.
    else:
        if hub is None:
            egress.stack.push_async_callback(relay.close, proxy)
    egress.env = proxy_environment(f"{listen.address}:{listen.port}", names, loopback=loopback)
    return egress


async def _by_the_relay(relay: Relay, namespace: Namespace) -> bool:
    if namespace.address is None:
        return False
    try:
        await relay.allow_egress(namespace)
    except NetworkError:
        if not relay.running:
            raise
        return False
    return True


def proxy_environment(proxy: str, names: Sequence[str], *, loopback: bool) -> dict[str, str]:
    """The variables that point programs to the proxy at ``address:port``; programs read either case."""
    url = f"http://{proxy}"
    straight = ",".join([*names] if loopback else ["localhost", "127.0.0.1", "::1", *names])
    pairs = {"http_proxy": url, "https_proxy": url, "no_proxy": straight}
    return pairs | {name.upper(): value for name, value in pairs.items()}


def upstream_proxies(environ: Mapping[str, str]) -> dict[str, list[Any]]:
    """The host's own proxies by scheme: host, port, and the authorization header from their URL."""
    found: dict[str, list[Any]] = {}
    for scheme in ("http", "https"):
        url = environ.get(f"{scheme}_proxy") or environ.get(f"{scheme.upper()}_PROXY") or ""
        parts = urlsplit(url if "://" in url else f"http://{url}")
        if not url or parts.scheme != "http" or not parts.hostname:
            continue
        login = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
        header = "Basic " + base64.b64encode(login.encode()).decode() if parts.username else ""
        found[scheme] = [parts.hostname, parts.port or 80, header]
    return found


def no_proxy(environ: Mapping[str, str]) -> list[str]:
    """The names that the host reaches without a proxy."""
    text = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
    return [name.strip() for name in text.split(",") if name.strip()]


def loopback_name_servers(resolv_conf: str) -> list[str]:
    """The name servers of a resolv.conf that are on the host's loopback."""
    words = [line.split() for line in resolv_conf.splitlines()]
    servers = [line[1] for line in words if len(line) > 1 and line[0] == "nameserver"]
    return [server for server in servers if server.startswith("127.")]


def _resolv_conf() -> str:
    try:
        return Path("/etc/resolv.conf").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


async def _link_name_servers(relay: Relay, namespace: Namespace, stack: AsyncExitStack) -> None:
    for server in loopback_name_servers(_resolv_conf()):
        for protocol in ("UDP", "TCP"):
            with suppress(NetworkError):
                forward = await relay.forward(
                    SocketAddress(namespace, server, 53), Destination(None, (server,), 53), protocol=protocol
                )
                stack.push_async_callback(relay.close, forward)


async def _run(program: str, namespace: Namespace, stack: AsyncExitStack) -> bool:
    """Start slirp4netns for a namespace; False if it does not come up."""
    options = ["--configure", "--mtu=65520", "--disable-host-loopback", "--netns-type=path"]
    command = [program, *options, str(namespace.path), "tap0"]
    command = ["setpriv", "--pdeathsig", "KILL", "--", *command]
    quiet = subprocess.DEVNULL
    try:
        process = await anyio.open_process(command, stdin=quiet, stdout=quiet, stderr=quiet)
    except OSError:
        return False
    stack.push_async_callback(_stop, process)
    with anyio.move_on_after(_READY_SECONDS):
        while process.returncode is None:
            if await _has_route(namespace):
                return True
            await anyio.sleep(0.02)
    return False


async def _has_route(namespace: Namespace) -> bool:
    shown = await anyio.run_process([*join_command(namespace.path), "cat", "/proc/net/route"], check=False)
    rows = [line.split() for line in shown.stdout.decode().splitlines()[1:]]
    return any(row[1] == "00000000" for row in rows if len(row) > 1)


async def _stop(process: anyio.abc.Process) -> None:
    with suppress(ProcessLookupError):
        process.kill()
    await process.aclose()
