"""A running service, and errors about services that do not start or have ended."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

import anyio

from rondel.engine.evaluate.errors import ExecError
from rondel.engine.values.service import AnyService, hostname_of
from rondel.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from anyio.abc import TaskGroup

    from rondel.engine.sandbox import Process
    from rondel.engine.sandbox.network import Destination, Forward, Namespace
    from rondel.engine.values.container import Port


class ServiceError(EngineError):
    """A service cannot be started, has ended too early, or cannot do what was requested."""


@dataclass(frozen=True, slots=True)
class Backend:
    """One port of a service: its number, and where the relay forwards connections to."""

    port: int
    protocol: str
    destination: Destination


@dataclass(eq=False, kw_only=True)
class RunningService:
    """A running service."""

    service: AnyService
    backends: tuple[Backend, ...] = ()
    address: str | None = None  # its address in the host's network; None if it has none
    endpoint_host: str = ""
    ports: tuple[Port, ...] = ()
    process: Process | None = None
    claimed: str | None = None
    namespace: Namespace | None = None
    forwards: list[Forward] = field(default_factory=list)
    inner: str | None = None  # its address in the session's network, for a service of the host
    inward: list[Forward] = field(default_factory=list)
    lock: anyio.Lock = field(default_factory=anyio.Lock)
    stack: AsyncExitStack = field(default_factory=AsyncExitStack)
    users: int = 0
    held: bool = False  # started by a query, runs until a query stops it
    generation: int = 0
    stopping: bool = False  # its end was requested
    finishing: bool = False
    exit_code: int | None = None
    cause: ServiceError | None = None  # a service that it needs ended first
    ended: anyio.Event = field(default_factory=anyio.Event)

    @property
    def names(self) -> tuple[str, ...]:
        """The names by which all containers of the session know it."""
        return (hostname_of(self.service),)


@dataclass(frozen=True, slots=True)
class Binding:
    """A service with all the names that one container uses for it."""

    service: AnyService
    aliases: tuple[str, ...]

    def __str__(self) -> str:
        known_as = f"aliased as {', '.join(self.aliases)}" if self.aliases else "no aliases"
        return f"{hostname_of(self.service)} ({known_as})"


def grouped(bindings: Sequence[tuple[str, object]]) -> list[Binding]:
    """Bindings with each service once, because it has one instance."""
    found: dict[str, Binding] = {}
    for alias, service in bindings:
        if isinstance(service, AnyService):
            known = found.get(service.key, Binding(service, ()))
            more = (alias,) if alias and alias not in known.aliases else ()
            found[service.key] = Binding(service, (*known.aliases, *more))
    return list(found.values())


def within(step: str, error: Exception) -> Exception:
    """An error prefixed with the step that failed; its type stays what clients recognise."""
    if isinstance(error, ExecError):
        return ExecError(
            f"{step}: {error.what}",
            cmd=error.cmd,
            exit_code=error.exit,
            stdout=error.stdout,
            stderr=error.stderr,
        )
    if isinstance(error, EngineError):
        return ServiceError(f"{step}: {error.what}", why=error.why, hint=error.hint)
    return ServiceError(f"{step}: {error}")


def missed(binding: Binding, running: RunningService) -> ServiceError | None:
    """The error for a container that still needed a service that has ended.

    None if the service ended by itself with exit code 0: a service without a port may be a
    job that prepares something.
    """
    text = f"bound service {binding} exited"
    if running.cause is not None:
        return ServiceError(f"{text}: {running.cause.what}")
    if running.exit_code:
        return ServiceError(f"{text}: exit code: {running.exit_code}")
    return ServiceError(text) if running.stopping else None


class EndWatcher:
    """Tasks that wait for the end of services, until the ``with`` block ends."""

    def __init__(self, tasks: TaskGroup) -> None:
        self._tasks = tasks
        self._scopes: list[anyio.CancelScope] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for scope in self._scopes:
            scope.cancel()

    def add(self, running: RunningService, binding: Binding, missing: Callable[[ServiceError], None]) -> None:
        """Call ``missing`` with the error if the service ends too early."""
        scope = anyio.CancelScope()
        self._scopes.append(scope)
        self._tasks.start_soon(self._wait, scope, running, binding, missing)

    @staticmethod
    async def _wait(
        scope: anyio.CancelScope,
        running: RunningService,
        binding: Binding,
        missing: Callable[[ServiceError], None],
    ) -> None:
        with scope:
            await running.ended.wait()
            error = missed(binding, running)
            if error is not None:
                missing(error)
