"""Waiting for the end of services that somebody needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import anyio

from rondel.engine.evaluate.services.running import missed

if TYPE_CHECKING:
    from collections.abc import Callable

    from anyio.abc import TaskGroup

    from rondel.engine.evaluate.services.running import Binding, Running, ServiceError


class Watches:
    """Tasks that wait for the ends of services, until this is left."""

    def __init__(self, tasks: TaskGroup) -> None:
        self._tasks = tasks
        self._scopes: list[anyio.CancelScope] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for scope in self._scopes:
            scope.cancel()

    def add(self, running: Running, binding: Binding, missing: Callable[[ServiceError], None]) -> None:
        """Call ``missing`` with the error, should the service end before it may."""
        scope = anyio.CancelScope()
        self._scopes.append(scope)
        self._tasks.start_soon(self._wait, scope, running, binding, missing)

    @staticmethod
    async def _wait(
        scope: anyio.CancelScope,
        running: Running,
        binding: Binding,
        missing: Callable[[ServiceError], None],
    ) -> None:
        with scope:
            await running.ended.wait()
            error = missed(binding, running)
            if error is not None:
                missing(error)
