"""The services of a session: started once, shared, counted, watched, stopped."""

from __future__ import annotations

import signal
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import TYPE_CHECKING

import anyio

from rondel.engine.evaluate.execs import bind_services
from rondel.engine.evaluate.services.routes import ServiceRoutes
from rondel.engine.evaluate.services.running import (
    Binding,
    EndWatcher,
    RunningService,
    ServiceError,
    grouped,
    within,
)
from rondel.engine.evaluate.services.starting import start
from rondel.engine.sandbox.network import NetworkError
from rondel.engine.sandbox.spec import NetworkAttachment
from rondel.engine.values.service import host_hash
from rondel.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Sequence

    from rondel.engine.evaluate.session import Session
    from rondel.engine.values import Container
    from rondel.engine.values.service import AnyService

DETACH_SECONDS = 10.0
TERMINATE_SECONDS = 10.0
_LAST_SECONDS = 0.5
_KILLED = 128 + signal.SIGKILL


class SessionServices:
    """The running services of one session, with one instance per service key."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.routes = ServiceRoutes(session.environ)
        self._running: dict[str, RunningService] = {}
        self._starting: dict[str, anyio.Event] = {}

    @property
    def all(self) -> Collection[RunningService]:
        """All services that run now."""
        return self._running.values()

    # For the API

    async def start(self, service: AnyService) -> RunningService:
        """Start a service, or join a start in progress; it runs until it is stopped. Raises ServiceError,
        and ExecError if it ended or its health check failed.
        """
        running = await self._started(service)
        running.held = True
        return running

    def get(self, service: AnyService) -> RunningService:
        """The running instance; raises ServiceError if there is none."""
        found = self._running.get(service.key)
        if found is None:
            raise ServiceError(f"service {host_hash(service.key)} is not running")
        return found

    async def stop(self, service: AnyService, *, kill: bool = False) -> None:
        """Stop a service, after its start if that is in progress; does nothing if it is not running.

        Its process has ten seconds to exit. Until then it continues to serve, and another call
        may kill it.
        """
        starting = self._starting.get(service.key)
        if starting is not None:
            await starting.wait()
        running = self._running.get(service.key)
        if running is not None:
            await self._end(running, kill=kill)

    @asynccontextmanager
    async def bound(self, bindings: Sequence[tuple[str, object]]) -> AsyncIterator[NetworkAttachment]:
        """Start services; yields how a container reaches them by alias, and all others by host name.

        They stay for ten seconds after their last use. If one of them fails or is stopped, the block
        is cancelled and ServiceError raised.
        """
        if not bindings and not self._running:
            yield NetworkAttachment()
            return
        async with AsyncExitStack() as stack:
            users = await self.use(stack, bindings)
            attachment = await self.routes.join(stack, users, self.all)
            async with self._cancelled_with([running for running, _ in users], grouped(bindings)):
                yield attachment

    # Using

    async def use(
        self,
        stack: AsyncExitStack,
        bindings: Sequence[tuple[str, object]],
        *,
        dependent: RunningService | None = None,
    ) -> list[tuple[RunningService, list[str]]]:
        """Start services concurrently and hold them until ``stack`` ends; returns each with its aliases.

        If one of them ends, the service ``dependent`` on it ends, too.
        """
        wanted = grouped(bindings)
        errors: list[Exception] = []
        used: dict[str, RunningService] = {}

        async def one(binding: Binding) -> None:
            try:
                used[binding.service.key] = await self.hold(stack, binding, dependent=dependent)
            except (EngineError, OSError) as error:
                errors.append(within(f"start {binding}", error))

        async with anyio.create_task_group() as tasks:
            for binding in wanted:
                tasks.start_soon(one, binding)
        if errors:
            raise errors[0]
        return [(used[binding.service.key], list(binding.aliases)) for binding in wanted]

    async def hold(
        self, stack: AsyncExitStack, binding: Binding, *, dependent: RunningService | None = None
    ) -> RunningService:
        """Keep one service running until ``stack`` ends, and ten seconds longer."""
        running = await self._started(binding.service)
        running.users += 1
        stack.callback(self._leave, running)
        if dependent is not None:
            self._end_with(running, binding, dependent)
        return running

    def _leave(self, running: RunningService) -> None:
        running.users -= 1
        if not running.users and not running.held:
            running.generation += 1
            self._session.tasks.start_soon(self._end_if_unused, running, running.generation)

    async def _end_if_unused(self, running: RunningService, generation: int) -> None:
        with anyio.move_on_after(DETACH_SECONDS):
            await running.ended.wait()
        if not running.users and not running.held and running.generation == generation:
            await self._end(running)

    # Watching

    @asynccontextmanager
    async def _cancelled_with(
        self, users: Sequence[RunningService], bindings: Sequence[Binding]
    ) -> AsyncIterator[None]:
        failed: list[ServiceError] = []
        work = anyio.CancelScope()

        def missing(error: ServiceError) -> None:
            failed.append(error)
            work.cancel()

        with EndWatcher(self._session.tasks) as watcher:
            for running, binding in zip(users, bindings, strict=True):
                watcher.add(running, binding, missing)
            try:
                with work:
                    yield
            except EngineError:
                if failed:  # most likely, the block failed because the service did
                    raise failed[0] from None
                raise
            if failed and work.cancelled_caught:
                raise failed[0]

    def _end_with(self, needed: RunningService, binding: Binding, dependent: RunningService) -> None:
        """End a service when one that it needs ends."""

        def missing(error: ServiceError) -> None:
            dependent.cause = dependent.cause or error
            self._session.tasks.start_soon(self._drop, dependent)

        watcher = dependent.stack.enter_context(EndWatcher(self._session.tasks))
        watcher.add(needed, binding, missing)

    async def _drop(self, running: RunningService) -> None:
        if self._running.get(running.service.key) is running:
            await self._end(running, kill=True)
        elif running.process is not None:  # it is still starting: the start notices, and cleans up
            await running.process.kill()

    async def _watch_process(self, running: RunningService) -> None:
        if running.process is not None:
            with suppress(EngineError):
                await running.process.wait()
        await self._finish(running)

    # Starting

    async def _started(self, service: AnyService) -> RunningService:
        while True:
            found = self._running.get(service.key)
            if found is None:
                return await self._session.single_flight.do(
                    ("service", service.key), lambda: self._start(service)
                )
            if not found.stopping:
                return found
            await found.ended.wait()

    async def _start(self, service: AnyService) -> RunningService:
        found = self._running.get(service.key)
        if found is not None:
            return found
        running = RunningService(service=service)
        done = self._starting[service.key] = anyio.Event()
        try:
            await start(self._session, self, running)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await self._end(running, kill=True)
            raise
        else:
            self._running[service.key] = running
        finally:
            del self._starting[service.key]
            done.set()
        if running.process is not None:
            self._session.tasks.start_soon(self._watch_process, running)
        # The caller may have left before it was counted among the users.
        self._session.tasks.start_soon(self._end_if_unused, running, running.generation)
        return running

    # Ending

    async def _end(self, running: RunningService, *, kill: bool = False) -> None:
        """Stop a service and release its resources. If cancelled while it waits, it kills."""
        running.held, running.stopping = False, True
        process = running.process
        if process is not None:
            try:
                if not kill:
                    process.signal(signal.SIGTERM)
                    with anyio.move_on_after(TERMINATE_SECONDS), suppress(EngineError):
                        await process.wait()
            finally:
                with anyio.CancelScope(shield=True):
                    await process.kill()
        await self._finish(running)

    async def _finish(self, running: RunningService) -> None:
        """Release a service's resources after the end of its process."""
        if running.finishing:
            await running.ended.wait()
            return
        running.finishing = True
        if self._running.get(running.service.key) is running:
            del self._running[running.service.key]
        with anyio.CancelScope(shield=True):
            if running.process is not None:
                try:
                    running.exit_code = (await running.process.wait()).exit_code
                except EngineError:  # killed together with its sandbox, so there is no exit code
                    running.exit_code = _KILLED
            with suppress(NetworkError):  # the relay is gone, and all forwards with it
                await self.routes.forget(running)
            await running.stack.aclose()
            if running.namespace is not None:
                with suppress(NetworkError):
                    await self.routes.relay.drop(running.namespace)
        running.ended.set()

    async def aclose(self) -> None:
        """Stop all services at the session's end; their processes have half a second together."""
        with anyio.CancelScope(shield=True):
            async with anyio.create_task_group() as tasks:
                for running in list(self._running.values()):
                    tasks.start_soon(self._end_soon, running)
            self.routes.relay.stop()

    async def _end_soon(self, running: RunningService) -> None:
        running.stopping = True
        if running.process is not None:
            running.process.signal(signal.SIGTERM)
            with anyio.move_on_after(_LAST_SECONDS), suppress(EngineError):
                await running.process.wait()
        await self._end(running, kill=True)


@bind_services
@asynccontextmanager
async def _around_a_command(session: Session, container: Container) -> AsyncIterator[NetworkAttachment]:
    async with session.part(SessionServices).bound(container.services) as attachment:
        yield attachment
