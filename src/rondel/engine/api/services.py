"""Services: from a container, from the host, and on ports of the host."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import anyio

from rondel.engine.api.expansion import expanded
from rondel.engine.api.registry import NO_NESTING, Context, field, register_type
from rondel.engine.evaluate.services import ServiceError, SessionServices, within
from rondel.engine.values import Container, Socket
from rondel.engine.values.container import Port
from rondel.engine.values.service import (
    AnyService,
    ContainerService,
    HostService,
    PortForward,
    Tunnel,
    hostname_of,
    service_command,
)
from rondel.errors import EngineError

if TYPE_CHECKING:
    from rondel.engine.api.objects import Obj

_SERVICES = (ContainerService, HostService, Tunnel)

for _kind in _SERVICES:
    register_type(_kind, "Service")
register_type(Port, "Port")
register_type(Socket, "Socket")


def _services(ctx: Context) -> SessionServices:
    return ctx.session.part(SessionServices)


def _forwards(ports: list[dict[str, Any]]) -> tuple[PortForward, ...]:
    """Parse port forwards; raises EngineError for an invalid port number."""
    made = []
    for port in ports:
        forward = PortForward(
            backend=port["backend"], frontend=port.get("frontend"), protocol=port.get("protocol") or "TCP"
        )
        if not 0 < forward.backend < 65536 or not 0 <= (forward.frontend or 0) < 65536:
            raise EngineError(f"invalid port forward {forward.frontend} -> {forward.backend}")
        made.append(forward)
    return tuple(made)


# Containers


@field("Container", "asService", run_pending=True)
async def as_service(
    ctx: Context,
    self: Container,
    *,
    args: list[str],
    use_entrypoint: bool,
    insecure_root_capabilities: bool,
    expand: bool,
    experimental_privileged_nesting: bool,
    no_init: bool,
) -> ContainerService:
    """A container's command as a service."""
    if experimental_privileged_nesting:
        raise EngineError(NO_NESTING)
    config = self.config
    if not args and not config.cmd and not config.entrypoint:
        raise EngineError("no service command has been set")
    command = service_command(
        config.entrypoint,
        config.cmd,
        [expanded(self, arg) for arg in args] if expand else args,
        use_entrypoint=use_entrypoint,
        args_are_set=self.default_args_set,
    )
    return ContainerService(key=ctx.key, container=self, args=command, insecure=insecure_root_capabilities)


@field("Container", "withServiceBinding", service=_SERVICES)
async def with_service_binding(
    ctx: Context, self: Container, *, alias: str, service: AnyService
) -> Container:
    """A container whose commands reach a service by an alias."""
    if isinstance(service, Tunnel):
        _services(ctx).get(service)
    kept = tuple((name, bound) for name, bound in self.services if name != alias)
    return replace(self, services=(*kept, (alias, service)))


@field("Container", "up", memo=False)
async def container_up(
    ctx: Context, self: Container, *, ports: list[dict[str, Any]], random: bool, **command: Any
) -> None:
    """Run a container as a service on ports of the host until the request ends."""
    names = {
        "args": "args",
        "use_entrypoint": "useEntrypoint",
        "expand": "expand",
        "insecure_root_capabilities": "insecureRootCapabilities",
        "experimental_privileged_nesting": "experimentalPrivilegedNesting",
        "no_init": "noInit",
    }
    given = {names[name]: value for name, value in command.items() if name in names}
    service = await ctx.call(ctx.obj, "asService", **given)
    await _up(ctx, service.value, ports, random=random)
    _ = self


# Services


@field("Service", "hostname")
async def hostname(ctx: Context, self: AnyService) -> str:
    """The name by which containers reach it."""
    if isinstance(self, Tunnel) and not self.custom_hostname:
        return _services(ctx).get(self).endpoint_host
    return hostname_of(self)


@field("Service", "withHostname")
async def with_hostname(ctx: Context, self: AnyService, *, hostname: str) -> AnyService:
    """The same service with another host name."""
    return replace(self, custom_hostname=hostname, key=ctx.key)


@field("Service", "ports")
async def ports(ctx: Context, self: AnyService) -> list[Port]:
    """The ports it listens on; those of host services and tunnels are known once they run."""
    if isinstance(self, ContainerService):
        return list(self.ports)
    try:
        return list(_services(ctx).get(self).ports)
    except ServiceError as error:
        raise ServiceError(f"failed to get service ports: {error.what}") from None


@field("Service", "endpoint")
async def endpoint(ctx: Context, self: AnyService, *, port: int | None, scheme: str) -> str:
    """``host:port``, or a URL if a scheme is given."""
    match self:
        case ContainerService():
            host = hostname_of(self)
            if not port and not self.ports:
                raise EngineError("no ports exposed")
            number = port or self.ports[0].port
        case HostService():
            host, number = hostname_of(self), port or self.forwards[0].front
        case Tunnel():
            running = _services(ctx).get(self)
            host, number = running.endpoint_host, port or running.ports[0].port
    return f"{scheme}://{host}:{number}" if scheme else f"{host}:{number}"


@field("Service", "start", memo=False)
async def start(ctx: Context, self: AnyService) -> Obj:
    """Start it, and wait until it is healthy."""
    await _services(ctx).start(self)
    return ctx.obj


@field("Service", "stop", memo=False)
async def stop(ctx: Context, self: AnyService, *, kill: bool) -> Obj:
    """Stop it, if it runs."""
    await _services(ctx).stop(self, kill=kill)
    return ctx.obj


@field("Service", "sync", memo=False)
async def sync(ctx: Context, self: AnyService) -> Obj:
    """Evaluate what it depends on."""
    if isinstance(self, ContainerService):
        await ctx.session.run_pending(self.container)
        await ctx.snapshot(self.container.fs)
    return ctx.obj


@field("Service", "up", memo=False)
async def up(ctx: Context, self: AnyService, *, ports: list[dict[str, Any]], random: bool) -> None:
    """Make a service available on ports of the host until the request ends."""
    await _up(ctx, self, ports, random=random)


async def _up(ctx: Context, service: AnyService, ports: list[dict[str, Any]], *, random: bool) -> None:
    try:
        tunnel = _tunnel(ctx.key, service, _forwards(ports), native=not random and not ports)
    except EngineError as error:
        raise within("failed to select host service", error) from error
    services = _services(ctx)
    try:
        running = await services.start(tunnel)
    except EngineError as error:
        raise within("failed to start host service", error) from error
    try:
        for port in running.ports:
            ctx.session.notify(f"tunnel started: {port.description}")
        await anyio.sleep_forever()
    finally:
        with anyio.CancelScope(shield=True):
            await services.stop(tunnel)


# The host


def _tunnel(key: str, service: AnyService, forwards: tuple[PortForward, ...], *, native: bool) -> Tunnel:
    if not isinstance(service, ContainerService):
        raise EngineError("tunneling to non-Container services is not supported")
    exposed = service.ports
    if native:
        same = (PortForward(backend=p.port, frontend=p.port, protocol=p.protocol) for p in exposed)
        forwards = (*same, *forwards)
    if not forwards:
        forwards = tuple(PortForward(backend=p.port, protocol=p.protocol) for p in exposed)
    if not forwards:
        raise EngineError("no ports to forward")
    return Tunnel(key=key, upstream=service, forwards=forwards)


@field("Host", "tunnel", service=_SERVICES)
async def tunnel(
    ctx: Context, self: object, *, service: AnyService, native: bool, ports: list[dict[str, Any]]
) -> Tunnel:
    """A service on ports of the host: random ones, the same ones, or given ones."""
    _ = self
    return _tunnel(ctx.key, service, _forwards(ports), native=native)


@field("Host", "service")
async def service(ctx: Context, self: object, *, host: str, ports: list[dict[str, Any]]) -> HostService:
    """A service that forwards containers to ports that the host can reach."""
    _ = self
    if not ports:
        raise EngineError("no ports specified")
    return HostService(key=ctx.key, host=host, forwards=_forwards(ports))
