"""Single flight: concurrent requests for the same work share one execution.

A flight is cancelled when its last waiting caller leaves. A failure is raised in all
waiting callers, and is not kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import anyio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable

    from anyio.abc import TaskGroup

T = TypeVar("T")


class _Flight:
    __slots__ = ("done", "error", "result", "scope", "waiting")

    def __init__(self) -> None:
        self.done = anyio.Event()
        self.scope = anyio.CancelScope()
        self.waiting = 0
        self.result: Any = None
        self.error: BaseException | None = None


class SingleFlight:
    """Work in progress, by key. It runs in the given task group, independently of its callers."""

    def __init__(self, tasks: TaskGroup) -> None:
        self._tasks = tasks
        self._flights: dict[Hashable, _Flight] = {}

    def __contains__(self, key: Hashable) -> bool:
        return key in self._flights

    async def do(self, key: Hashable, work: Callable[[], Awaitable[T]]) -> T:
        """The result of ``work()``, shared with all concurrent callers of the same key.

        Raises whatever the work raises.
        """
        while True:
            flight = self._flights.get(key)
            if flight is None or flight.scope.cancel_called:
                flight = self._flights[key] = _Flight()
                self._tasks.start_soon(self._fly, key, flight, work)
            await self._wait(key, flight)
            if flight.error is not None:
                raise flight.error.with_traceback(None)
            if not flight.scope.cancelled_caught:
                result: T = flight.result
                return result

    async def _wait(self, key: Hashable, flight: _Flight) -> None:
        flight.waiting += 1
        try:
            await flight.done.wait()
        finally:
            flight.waiting -= 1
            if not flight.waiting and not flight.done.is_set():
                flight.scope.cancel()
                if self._flights.get(key) is flight:
                    del self._flights[key]

    async def _fly(self, key: Hashable, flight: _Flight, work: Callable[[], Awaitable[Any]]) -> None:
        try:
            with flight.scope:
                flight.result = await work()
        except Exception as error:  # noqa: BLE001 - it is raised in the waiting callers
            flight.error = error
        finally:
            flight.done.set()
            if self._flights.get(key) is flight:
                del self._flights[key]
