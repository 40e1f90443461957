"""How services are reached: addresses on the host and inside, names, the relay's forwards."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import anyio.to_thread

from rondel.engine.evaluate.egress import Egress, open_egress
from rondel.engine.evaluate.services.running import ServiceError
from rondel.engine.sandbox import JoinNetwork
from rondel.engine.sandbox.network import Destination, Namespace, NetworkError, Relay, SocketAddress
from rondel.engine.sandbox.spec import NetworkAttachment
from rondel.engine.values.service import PortForward, Tunnel

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from contextlib import AsyncExitStack

    from rondel.engine.evaluate.services.running import Backend, RunningService
    from rondel.engine.sandbox.network import Forward

LOOPBACK = ("127.0.0.1", "::1")
Named = list[tuple["RunningService", list[str]]]


class ServiceRoutes:
    """The routes to the services of one session."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.relay = Relay()
        self._environ = environ

    # From the host's network

    async def publish(self, running: RunningService) -> None:
        """Give a service an address in the host's network, if all of its ports are free there."""
        running.claimed = await self.relay.claim()
        try:
            for backend in running.backends:
                running.forwards.append(await self._forward(None, running.claimed, backend))
        except NetworkError as error:
            if not error.taken:
                raise
            await self._unpublish(running)
        else:
            running.address = running.claimed

    async def _unpublish(self, running: RunningService) -> None:
        for forward in running.forwards:
            await self.relay.close(forward)
        running.forwards.clear()
        if running.claimed is not None:
            await self.relay.release(running.claimed)
        running.claimed = running.address = None

    async def _forward(self, namespace: Namespace | None, address: str, backend: Backend) -> Forward:
        return await self.relay.forward(
            SocketAddress(namespace, address, backend.port), backend.destination, protocol=backend.protocol
        )

    async def forget(self, running: RunningService) -> None:
        """Remove all routes to a service."""
        for forward in running.inward:
            await self.relay.close(forward)
        await self._unpublish(running)

    # From containers

    async def join(
        self, stack: AsyncExitStack, users: Named, everyone: Collection[RunningService]
    ) -> NetworkAttachment:
        """How a command reaches the services bound to it, and all others by their host names."""
        if all(running.address is not None for running, _ in users):
            return NetworkAttachment(
                hosts=tuple(
                    (address, name)
                    for running, names in named(users, everyone)
                    if (address := running.address) is not None
                    for name in names
                )
            )
        namespace = await self.relay.namespace()
        stack.push_async_callback(self.relay.drop, namespace)
        return await self.links(namespace, stack, users, everyone, loopback=True)

    async def links(
        self,
        namespace: Namespace,
        stack: AsyncExitStack,
        users: Named,
        everyone: Collection[RunningService],
        *,
        own: str = "",
        loopback: bool = False,
    ) -> NetworkAttachment:
        """Make services reachable inside a namespace, and give it egress."""
        hosts = [(namespace.address or "127.0.0.1", own)] if own else []
        for number, (running, names) in enumerate(named(users, everyone, own)):
            if namespace.address is not None:
                address = await self._inner(running)
            elif any(running is user for user, _ in users):
                # Without veth, listen inside the namespace, but only for services in use: others might
                # block a port.
                address = f"127.66.0.{number + 2}"
                for backend in running.backends:
                    forward = await self._forward(namespace, address, backend)
                    stack.push_async_callback(self.relay.close, forward)
            else:
                continue
            hosts += [(address, name) for name in names]
        egress: Egress = await open_egress(
            self.relay, namespace, self._environ, names=[name for _, name in hosts], loopback=loopback
        )
        stack.push_async_callback(egress.close)
        return NetworkAttachment(
            network=JoinNetwork(namespace.path), hosts=(*hosts, *egress.hosts), env=egress.env
        )

    async def _inner(self, running: RunningService) -> str:
        """The address of a service in the session's network, which joins all namespaces."""
        if running.namespace is not None and running.namespace.address is not None:
            return running.namespace.address
        async with running.lock:
            if running.inner is None:
                address = await self.relay.hub_address()
                for backend in running.backends:
                    running.inward.append(await self._forward(self.relay.hub, address, backend))
                running.inner = address
        return running.inner


def named(users: Named, everyone: Collection[RunningService], own: str = "") -> Named:
    """Each service once, with the names that one container uses for it: aliases come before host names."""
    taken = {own}
    found: dict[int, tuple[RunningService, list[str]]] = {}
    bound = [(running, list(running.names)) for running, _ in users]
    others = [(running, list(running.names)) for running in everyone]
    for running, names in [*users, *bound, *others]:
        for name in names:
            if name and name not in taken and not isinstance(running.service, Tunnel):
                taken.add(name)
                found.setdefault(id(running), (running, []))[1].append(name)
    return list(found.values())


def inside(namespace: Namespace | None, port: int) -> Destination:
    """A port of a service, at the addresses that it may listen on, seen from its own namespace."""
    own = namespace.address if namespace is not None else None
    return Destination(namespace, (own, *LOOPBACK) if own else LOOPBACK, port)


def answers_as_it_is(forward: PortForward) -> bool:
    """Whether a program listens on the machine's loopback at exactly the requested port."""
    if forward.protocol != "TCP" or forward.front != forward.backend:
        return False
    with socket.socket() as probe:
        probe.settimeout(0.25)
        return probe.connect_ex(("127.0.0.1", forward.backend)) == 0


async def resolved(host: str) -> tuple[str, ...]:
    """The numeric addresses of a host; raises ServiceError if there are none."""
    if host in {"localhost", "127.0.0.1", ""}:
        return LOOPBACK
    try:
        found = await anyio.to_thread.run_sync(
            lambda: socket.getaddrinfo(host, None, type=socket.SOCK_STREAM), abandon_on_cancel=True
        )
    except OSError as error:
        raise ServiceError(f"cannot resolve {host}: {error.strerror or error}") from error
    return tuple(dict.fromkeys(str(info[4][0]) for info in found))
