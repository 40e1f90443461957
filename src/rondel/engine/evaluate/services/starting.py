"""Starts a service of each kind."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from rondel.engine.evaluate.errors import ExecError
from rondel.engine.evaluate.execs import Command, exec_spec
from rondel.engine.evaluate.inplace import runs_in_place
from rondel.engine.evaluate.services.health import until_healthy
from rondel.engine.evaluate.services.routes import LOOPBACK, answers_as_it_is, inside, resolved
from rondel.engine.evaluate.services.running import Backend, Binding, within
from rondel.engine.inplace import NeedsIsolation
from rondel.engine.sandbox import CannotStart, ExecRefused
from rondel.engine.sandbox.network import Destination, NetworkError, SocketAddress
from rondel.engine.values.container import Port
from rondel.engine.values.service import ContainerService, HostService, Tunnel, hostname_of
from rondel.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from contextlib import AsyncExitStack

    from rondel.engine.evaluate.services.routes import ServiceRoutes
    from rondel.engine.evaluate.services.running import RunningService
    from rondel.engine.evaluate.session import Session

_HOST_NAME_LIMIT = 64  # the kernel's limit


class OtherServices(Protocol):
    """The other services of the session, which a service may need while it runs."""

    @property
    def routes(self) -> ServiceRoutes:
        """The routes to all services."""

    @property
    def all(self) -> Collection[RunningService]:
        """All running services."""

    async def use(
        self,
        stack: AsyncExitStack,
        bindings: Sequence[tuple[str, object]],
        *,
        dependent: RunningService | None,
    ) -> list[tuple[RunningService, list[str]]]:
        """Start the bound services and hold them until ``stack`` ends."""

    async def hold(
        self, stack: AsyncExitStack, binding: Binding, *, dependent: RunningService | None
    ) -> RunningService:
        """Start one service and hold it until ``stack`` ends."""


async def start(session: Session, services: OtherServices, running: RunningService) -> None:
    """Start a service of any kind. Raises ServiceError, ExecError, NetworkError, NeedsIsolation."""
    match running.service:
        case ContainerService() as service:
            await _start_container(session, services, running, service)
        case HostService() as service:
            await _start_host(services, running, service)
        case Tunnel() as service:
            await _start_tunnel(services, running, service)
    if running.cause is not None:
        raise running.cause


async def _start_container(
    session: Session, services: OtherServices, running: RunningService, service: ContainerService
) -> None:
    if runs_in_place(session):
        raise NeedsIsolation("a service")
    routes = services.routes
    try:
        users = await services.use(running.stack, service.container.services, dependent=running)
    except EngineError as error:
        raise within("start dependent services", error) from error
    namespace = running.namespace = await routes.relay.namespace()
    own = hostname_of(service)
    attachment = await routes.links(namespace, running.stack, users, services.all, own=own)
    # Volatile variables are for commands: a service would keep the value of its first user.
    container = replace(service.container, volatile_env=())
    command = Command(container=container, args=service.args, insecure=service.insecure)
    spec = await exec_spec(session, command, attachment, running.stack)
    try:
        running.process = await session.sandbox.start(replace(spec, hostname=own[:_HOST_NAME_LIMIT]))
    except ExecRefused as refused:
        raise ExecError(refused.what, cmd=service.args, exit_code=refused.exit_code_seen) from None
    except CannotStart as missing:
        raise ExecError("exit code: 1", cmd=service.args, exit_code=1, stderr=f"{missing.what}\n") from None
    running.backends = tuple(
        Backend(port.port, port.protocol, inside(namespace, port.port)) for port in service.ports
    )
    running.ports, running.endpoint_host = service.ports, own
    await routes.publish(running)
    await until_healthy(session.store, routes.relay, running, service)


async def _start_host(services: OtherServices, running: RunningService, service: HostService) -> None:
    addresses = await resolved(service.host)
    running.backends = tuple(
        Backend(forward.front, forward.protocol, Destination(None, addresses, forward.backend))
        for forward in service.forwards
    )
    running.ports = tuple(
        Port(f.front, f.protocol, f"tunnel {f.protocol} {f.front} -> {f.backend}") for f in service.forwards
    )
    running.endpoint_host = hostname_of(service)
    if addresses == LOOPBACK and all(map(answers_as_it_is, service.forwards)):
        running.address = "127.0.0.1"  # containers share the host's network: no relay is needed
    else:
        await services.routes.publish(running)


async def _start_tunnel(services: OtherServices, running: RunningService, service: Tunnel) -> None:
    try:
        upstream = await services.hold(running.stack, Binding(service.upstream, ()), dependent=running)
    except EngineError as error:
        raise within("start upstream", error) from error
    running.endpoint_host = "127.0.0.1"
    ports = []
    for forward in service.forwards:
        try:
            made = await services.routes.relay.forward(
                SocketAddress(None, "127.0.0.1", forward.frontend or 0),
                inside(upstream.namespace, forward.backend),
                protocol=forward.protocol,
            )
        except NetworkError as error:
            raise within("host to container", error) from error
        running.forwards.append(made)
        text = f"tunnel 127.0.0.1:{made.port} -> {hostname_of(service.upstream)}:{forward.backend}"
        ports.append(Port(made.port, forward.protocol, text))
    running.ports = tuple(ports)
