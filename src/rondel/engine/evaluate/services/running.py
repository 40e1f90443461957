"""A running service, and what is said of one that does not start or has ended."""

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
    """A service cannot be started, has ended too early, or is not what was asked for."""


@dataclass(frozen=True, slots=True)
class Backend:
    """One port of a service: its number in front, and where connections to it go."""

    port: int
    protocol: str
    destination: Destination


@dataclass(eq=False, kw_only=True)
class RunningService:
    """A running service."""

    service: AnyService
    backends: tuple[Backend, ...] = ()
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
    stopping: bool = False  # somebody asked for its end
    finishing: bool = False
    exit_code: int | None = None
    cause: ServiceError | None = None  # a service that it needs ended first
    ended: anyio.Event = field(default_factory=anyio.Event)

    @property
    def names(self) -> tuple[str, ...]:
        """The names under which everybody in the session knows it."""
        return (hostname_of(self.service),)


@dataclass(frozen=True, slots=True)
class Binding:
    """A service under all the names by which one container knows it."""

    service: AnyService
    aliases: tuple[str, ...]

    def __str__(self) -> str:
        known_as = f"aliased as {', '.join(self.aliases)}" if self.aliases else "no aliases"
        return f"{hostname_of(self.service)} ({known_as})"


def grouped(bindings: Sequence[tuple[str, object]]) -> list[Binding]:
    """Bindings with each service once, as its instance is one."""
    found: dict[str, Binding] = {}
    for alias, service in bindings:
        if isinstance(service, AnyService):
            known = found.get(service.key, Binding(service, ()))
            more = (alias,) if alias and alias not in known.aliases else ()
            found[service.key] = Binding(service, (*known.aliases, *more))
    return list(found.values())


def within(step: str, error: Exception) -> Exception:
    """An error with what was being done before it; what a client knows it by stays."""
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
    """What to tell whoever still needed a service that has ended.

    None for one that was done by itself and said that all went well: a service without a
    port may be a job that prepares something.
    """
    text = f"bound service {binding} exited"
    if running.cause is not None:
        return ServiceError(f"{text}: {running.cause.what}")
    if running.exit_code:
        return ServiceError(f"{text}: exit code: {running.exit_code}")
    return ServiceError(text) if running.stopping else None


class EndWatcher:
    """Tasks that wait for the ends of services, until this is left."""

    def __init__(self, tasks: TaskGroup) -> None:
        self._tasks = tasks
        self._scopes: list[anyio.CancelScope] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for scope in self._scopes:
            scope.cancel()

    def add(self, running: RunningService, binding: Binding, missing: Callable[[ServiceError], None]) -> None:
        """Call ``missing`` with the error, should the service end before it may."""
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
