"""Running services of a session: started once each, shared, counted, stopped.

A container's service runs in a network namespace of its own. The relay gives it
an address, 127.66.x.y, in the host's network and in the namespaces of other
services; names lead there through /etc/hosts. Commands stay in the host's
network, unless a port they need cannot be opened there (below 1024 for an
ordinary user, or taken by somebody on all addresses): then they get a namespace
of their own as well, where every port is free.
"""

from __future__ import annotations

import math
import signal
import socket
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from rondel.engine.evaluate.errors import ERROR_OUTPUT_LIMIT, ExecError
from rondel.engine.evaluate.execs import Command, bind_services, decode, exec_spec
from rondel.engine.evaluate.inplace import runs_in_place
from rondel.engine.evaluate.joined import Joined
from rondel.engine.evaluate.outward import Outward, way_out
from rondel.engine.inplace import NeedsIsolation
from rondel.engine.sandbox import ExecRefused, JoinNetwork
from rondel.engine.sandbox.network import Destination, Namespace, NetworkError, Place, Relay
from rondel.engine.values.container import Port
from rondel.engine.values.service import (
    AnyService,
    ContainerService,
    HostService,
    PortForward,
    Tunnel,
    host_hash,
    hostname_of,
)
from rondel.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Sequence

    from rondel.engine.evaluate.session import Session
    from rondel.engine.sandbox import Process
    from rondel.engine.sandbox.network import Forward
    from rondel.engine.store import Output
    from rondel.engine.values import Container

DETACH_SECONDS = 10.0
TERMINATE_SECONDS = 10.0
_FIRST_WAIT, _LONGEST_WAIT = 0.01, 1.0
_LOOPBACK = ("127.0.0.1", "::1")


class ServiceError(EngineError):
    """A service cannot be started, or is not what was asked for."""


@dataclass(frozen=True, slots=True)
class Behind:
    """One port of a service: its number in front, and where connections to it go."""

    port: int
    protocol: str
    destination: Destination


@dataclass(eq=False, kw_only=True)
class Running:
    """A running service."""

    service: AnyService
    behind: tuple[Behind, ...] = ()
    address: str | None = None  # where the host's network reaches it; None if it can't
    endpoint_host: str = ""
    ports: tuple[Port, ...] = ()
    process: Process | None = None
    claimed: str | None = None
    namespace: Namespace | None = None
    forwards: list[Forward] = field(default_factory=list)
    inner: str | None = None  # where the session's own network reaches a host's service
    inward: list[Forward] = field(default_factory=list)
    lock: anyio.Lock = field(default_factory=anyio.Lock)
    stack: AsyncExitStack = field(default_factory=AsyncExitStack)
    users: int = 0
    held: bool = False  # started by a query, until it is stopped by one
    generation: int = 0
    ended: anyio.Event = field(default_factory=anyio.Event)

    @property
    def names(self) -> tuple[str, ...]:
        """The names under which everybody in the session knows it."""
        return (hostname_of(self.service),)


class Services:
    """The running services of one session; one instance a service's key."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.relay = Relay()
        self._running: dict[str, Running] = {}

    # What the API asks

    async def start(self, service: AnyService) -> Running:
        """Start a service, or join the start under way; it runs until stopped. Raises ServiceError
        and ExecError (it ended, or its health check failed).
        """
        running = await self._started(service)
        running.held = True
        return running

    def get(self, service: AnyService) -> Running:
        """The running instance; raises ServiceError when there is none."""
        found = self._running.get(service.key)
        if found is None:
            raise ServiceError(f"service {host_hash(service.key)} is not running")
        return found

    async def stop(self, service: AnyService, *, kill: bool = False) -> None:
        """Stop a service; nothing happens when it does not run."""
        running = self._running.get(service.key)
        if running is not None:
            await self._end(running, kill=kill)

    @asynccontextmanager
    async def bound(self, bindings: Sequence[tuple[str, object]]) -> AsyncIterator[Joined]:
        """Have services run, and say how a container reaches them by alias, and all others by hostname.

        They stay for ten seconds after their last user is gone.
        """
        if not bindings and not self._running:
            yield Joined()
            return
        async with AsyncExitStack() as stack:
            users = [
                (alias, await stack.enter_async_context(self._used(service)))
                for alias, service in await self._all_started(bindings)
            ]
            yield await self._join(stack, users)

    # Starting

    async def _all_started(self, bindings: Sequence[tuple[str, object]]) -> list[tuple[str, AnyService]]:
        pairs = [(alias, service) for alias, service in bindings if isinstance(service, AnyService)]
        errors: list[Exception] = []

        async def one(alias: str, service: AnyService) -> None:
            try:
                await self._started(service)
            except (EngineError, OSError) as error:
                errors.append(_binding_failed(alias, service, error))

        async with anyio.create_task_group() as tasks:
            for alias, service in pairs:
                tasks.start_soon(one, alias, service)
        if errors:
            raise errors[0]
        return pairs

    @asynccontextmanager
    async def _used(self, service: AnyService) -> AsyncIterator[Running]:
        running = await self._started(service)
        running.users += 1
        try:
            yield running
        finally:
            running.users -= 1
            if not running.users and not running.held:
                running.generation += 1
                self._session.tasks.start_soon(self._end_if_unused, running, running.generation)

    async def _end_if_unused(self, running: Running, generation: int) -> None:
        with anyio.move_on_after(DETACH_SECONDS):
            await running.ended.wait()
        if not running.users and not running.held and running.generation == generation:
            await self._end(running)

    async def _started(self, service: AnyService) -> Running:
        found = self._running.get(service.key)
        if found is not None:
            return found
        return await self._session.flights.do(("service", service.key), lambda: self._start(service))

    async def _start(self, service: AnyService) -> Running:
        found = self._running.get(service.key)
        if found is not None:
            return found
        running = Running(service=service)
        try:
            match service:
                case ContainerService():
                    await self._start_container(running, service)
                case HostService():
                    await self._start_host(running, service)
                case Tunnel():
                    await self._start_tunnel(running, service)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await self._end(running, kill=True)
            raise
        self._running[service.key] = running
        if running.process is not None:
            self._session.tasks.start_soon(self._watch, running)
        return running

    async def _start_container(self, running: Running, service: ContainerService) -> None:
        if runs_in_place(self._session):
            raise NeedsIsolation("a service")
        namespace = running.namespace = await self.relay.namespace()
        users = [
            (alias, await running.stack.enter_async_context(self._used(bound)))
            for alias, bound in await self._all_started(service.container.services)
        ]
        joined = await self._links(namespace, users, running.stack, own=hostname_of(service))
        command = Command(container=service.container, args=service.args, insecure=service.insecure)
        spec = await exec_spec(self._session, command, joined, running.stack)
        try:
            running.process = await self._session.sandbox.start(spec)
        except ExecRefused as refused:
            raise ExecError(refused.what, cmd=service.args, exit_code=refused.exit_code_seen) from None
        running.behind = tuple(
            Behind(port.port, port.protocol, Destination(namespace, self._inside(namespace), port.port))
            for port in service.ports
        )
        running.ports, running.endpoint_host = service.ports, hostname_of(service)
        await self._publish(running)
        await self._healthy(running, service)

    async def _start_host(self, running: Running, service: HostService) -> None:
        addresses = await _resolved(service.host)
        running.behind = tuple(
            Behind(forward.front, forward.protocol, Destination(None, addresses, forward.backend))
            for forward in service.forwards
        )
        running.ports = tuple(
            Port(f.front, f.protocol, f"tunnel {f.protocol} {f.front} -> {f.backend}")
            for f in service.forwards
        )
        running.endpoint_host = hostname_of(service)
        if addresses == _LOOPBACK and all(map(_answers_as_it_is, service.forwards)):
            running.address = "127.0.0.1"  # the host's network is the containers': no relay is needed
        else:
            await self._publish(running)

    async def _start_tunnel(self, running: Running, service: Tunnel) -> None:
        upstream = await running.stack.enter_async_context(self._used(service.upstream))
        running.endpoint_host = "127.0.0.1"
        ports = []
        for forward in service.forwards:
            made = await self.relay.forward(
                Place(None, "127.0.0.1", forward.frontend or 0),
                Destination(upstream.namespace, self._inside(upstream.namespace), forward.backend),
                protocol=forward.protocol,
            )
            running.forwards.append(made)
            text = f"tunnel 127.0.0.1:{made.port} -> {hostname_of(service.upstream)}:{forward.backend}"
            ports.append(Port(made.port, forward.protocol, text))
        running.ports = tuple(ports)

    async def _publish(self, running: Running) -> None:
        """Give a service an address in the host's network, if all of its ports can be had there."""
        running.claimed = await self.relay.claim()
        try:
            for behind in running.behind:
                running.forwards.append(await self._forward(None, running.claimed, behind))
        except NetworkError as error:
            if not error.taken:
                raise
            await self._unpublish(running)
        else:
            running.address = running.claimed

    @staticmethod
    def _inside(namespace: Namespace | None) -> tuple[str, ...]:
        """The addresses on which a service may listen, seen from its own namespace."""
        own = namespace.address if namespace is not None else None
        return (own, *_LOOPBACK) if own else _LOOPBACK

    async def _forward(self, namespace: Namespace | None, address: str, behind: Behind) -> Forward:
        return await self.relay.forward(
            Place(namespace, address, behind.port), behind.destination, protocol=behind.protocol
        )

    async def _unpublish(self, running: Running) -> None:
        for forward in running.forwards:
            await self.relay.close(forward)
        running.forwards.clear()
        if running.claimed is not None:
            await self.relay.release(running.claimed)
        running.claimed = running.address = None

    # Health

    async def _healthy(self, running: Running, service: ContainerService) -> None:
        """Wait until every exposed TCP port accepts connections; fails at once when the process ends."""
        process = running.process
        assert process is not None  # noqa: S101 - it was just started
        checks = [
            behind.destination
            for behind, port in zip(running.behind, service.ports, strict=True)
            if port.protocol == "TCP" and not port.experimental_skip_healthcheck
        ]
        if not checks:
            return
        outcome = None
        async with anyio.create_task_group() as tasks:

            async def watch() -> None:
                nonlocal outcome
                outcome = await process.wait()
                tasks.cancel_scope.cancel()

            tasks.start_soon(watch)
            for destination in checks:
                await self._answers(destination)
            tasks.cancel_scope.cancel()
        if outcome is None:
            return
        running.process = None
        if outcome.exit_code == 0:
            raise ServiceError("service exited before healthcheck")
        raise ExecError(
            f"exit code: {outcome.exit_code}",
            cmd=service.args,
            exit_code=outcome.exit_code,
            stdout=self._text(outcome.stdout),
            stderr=self._text(outcome.stderr),
        )

    async def _answers(self, destination: Destination) -> None:
        for wait in backoff(_FIRST_WAIT, _LONGEST_WAIT):
            if await self.relay.probe(destination):
                return
            await anyio.sleep(wait)

    # Reaching services

    async def _join(self, stack: AsyncExitStack, users: list[tuple[str, Running]]) -> Joined:
        if all(running.address is not None for _, running in users):
            return Joined(
                hosts=tuple(
                    (address, name)
                    for running, names in self._named(users)
                    if (address := running.address) is not None
                    for name in names
                )
            )
        namespace = await self.relay.namespace()
        stack.push_async_callback(self.relay.drop, namespace)
        return await self._links(namespace, users, stack, loopback=True)

    def _named(self, users: list[tuple[str, Running]], own: str = "") -> list[tuple[Running, list[str]]]:
        """Each service once, with the names it has for one container: aliases come before hostnames."""
        taken = {own}
        named: dict[int, tuple[Running, list[str]]] = {}
        everyone = [(name, running) for running in self._running.values() for name in running.names]
        bound = [(name, running) for _, running in users for name in running.names]
        for name, running in [*users, *bound, *everyone]:
            if name and name not in taken and not isinstance(running.service, Tunnel):
                taken.add(name)
                named.setdefault(id(running), (running, []))[1].append(name)
        return list(named.values())

    async def _links(
        self,
        namespace: Namespace,
        users: list[tuple[str, Running]],
        stack: AsyncExitStack,
        *,
        own: str = "",
        loopback: bool = False,
    ) -> Joined:
        """Make services reachable inside a namespace, and give it a way out."""
        hosts = [(namespace.address or "127.0.0.1", own)] if own else []
        for number, (running, names) in enumerate(self._named(users, own)):
            if namespace.address is not None:
                address = await self._inner(running)
            elif any(running is user for _, user in users):
                # Without veth, a listener in there; for a service that is not used it might take a port.
                address = f"127.66.0.{number + 2}"
                for behind in running.behind:
                    forward = await self._forward(namespace, address, behind)
                    stack.push_async_callback(self.relay.close, forward)
            else:
                continue
            hosts += [(address, name) for name in names]
        outward: Outward = await way_out(
            self.relay, namespace, self._session.environ, names=[name for _, name in hosts], loopback=loopback
        )
        stack.push_async_callback(outward.close)
        return Joined(network=JoinNetwork(namespace.path), hosts=(*hosts, *outward.hosts), env=outward.env)

    async def _inner(self, running: Running) -> str:
        """The address of a service in the session's own network, which joins all namespaces."""
        if running.namespace is not None and running.namespace.address is not None:
            return running.namespace.address
        async with running.lock:
            if running.inner is None:
                address = await self.relay.hub_address()
                for behind in running.behind:
                    running.inward.append(await self._forward(self.relay.hub, address, behind))
                running.inner = address
        return running.inner

    # Ending

    async def _watch(self, running: Running) -> None:
        if running.process is not None:
            await _ended(running.process)
            if self._running.get(running.service.key) is running:
                running.process = None
                await self._end(running)

    async def _end(self, running: Running, *, kill: bool = False) -> None:
        """Stop a service and give back all it had. A process has ten seconds to end by itself."""
        if self._running.get(running.service.key) is running:
            del self._running[running.service.key]
        running.held = False
        process, running.process = running.process, None
        if process is not None:
            if not kill:
                process.signal(signal.SIGTERM)
                with anyio.move_on_after(TERMINATE_SECONDS):
                    await _ended(process)
            with anyio.CancelScope(shield=True):
                await process.kill()
        with anyio.CancelScope(shield=True):
            try:
                for forward in running.inward:
                    await self.relay.close(forward)
                await self._unpublish(running)
                await running.stack.aclose()
                if running.namespace is not None:
                    await self.relay.drop(running.namespace)
            except NetworkError:
                pass  # the relay is gone, and all of this with it
        running.ended.set()

    def _text(self, output: Output) -> str:
        return decode(self._session.store.tail(output, ERROR_OUTPUT_LIMIT + 1024))

    async def aclose(self) -> None:
        """Stop everything at the session's end; the processes have half a second together."""
        with anyio.CancelScope(shield=True):
            async with anyio.create_task_group() as tasks:
                for running in list(self._running.values()):
                    tasks.start_soon(self._end_soon, running)
            self.relay.stop()

    async def _end_soon(self, running: Running) -> None:
        if running.process is not None:
            running.process.signal(signal.SIGTERM)
            with anyio.move_on_after(0.5):
                await _ended(running.process)
        await self._end(running, kill=True)


@bind_services
@asynccontextmanager
async def _around_a_command(session: Session, container: Container) -> AsyncIterator[Joined]:
    async with session.part(Services).bound(container.services) as joined:
        yield joined


async def _ended(process: Process) -> None:
    """Wait for the end of a process, whatever it came to."""
    with suppress(EngineError):
        await process.wait()


def backoff(first: float, longest: float) -> Iterable[float]:
    """Waits that grow by half each time, without end."""
    wait = first
    while True:
        yield wait
        wait = min(wait * 1.5, longest) if math.isfinite(longest) else wait * 1.5


def _binding_failed(alias: str, service: AnyService, error: Exception) -> Exception:
    """The error of a binding's service, saying which; what a client knows it by stays."""
    named = f"start {hostname_of(service)} ({f'aliased as {alias}' if alias else 'no aliases'})"
    if isinstance(error, ExecError):
        return ExecError(
            f"{named}: {error.what}",
            cmd=error.cmd,
            exit_code=error.exit,
            stdout=error.stdout,
            stderr=error.stderr,
        )
    if isinstance(error, EngineError):
        return ServiceError(f"{named}: {error.what}", why=error.why, hint=error.hint)
    return ServiceError(f"{named}: {error}")


def _answers_as_it_is(forward: PortForward) -> bool:
    """Whether somebody listens on the machine's own loopback under the very port asked for."""
    if forward.protocol != "TCP" or forward.front != forward.backend:
        return False
    with socket.socket() as probe:
        probe.settimeout(0.25)
        return probe.connect_ex(("127.0.0.1", forward.backend)) == 0


async def _resolved(host: str) -> tuple[str, ...]:
    """The numeric addresses of a host; raises ServiceError when there are none."""
    if host in {"localhost", "127.0.0.1", ""}:
        return _LOOPBACK
    try:
        found = await anyio.to_thread.run_sync(
            lambda: socket.getaddrinfo(host, None, type=socket.SOCK_STREAM), abandon_on_cancel=True
        )
    except OSError as error:
        raise ServiceError(f"cannot resolve {host}: {error.strerror or error}") from error
    return tuple(dict.fromkeys(str(info[4][0]) for info in found))
