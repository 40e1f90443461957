"""SIGINT and SIGTERM cancel a scope; a second one ends the process."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import anyio

from rondel.errors import RondelError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from anyio.abc import TaskStatus

WATCHED = (signal.SIGINT, signal.SIGTERM)

SAME = 1.0
"""Seconds within which a second signal is the first one again.

CI runners signal a whole process group: `dagger run` gets it and passes it on
to a child that has got it already.
"""


async def run_interruptibly(work: Callable[[], Awaitable[None]], on_signal: Callable[[str], None]) -> None:
    """Await ``work()``; the first SIGINT or SIGTERM cancels it, after ``on_signal`` was told its name.

    A second signal ends the process at once: what clean-up there is left to
    do is what the next run's start-up does anyway. Raises what ``work`` raises.
    """
    raised: Exception | None = None
    # The watcher stands outside of the scope that it cancels, so that a second
    # signal is still heard while the stages clean up.
    async with anyio.create_task_group() as group:
        scope = anyio.CancelScope()
        await group.start(_watch, scope, on_signal)
        with scope:
            try:
                await work()
            except Exception as error:  # noqa: BLE001 - a task group would wrap it; raised below
                raised = error
        group.cancel_scope.cancel()
    if raised is not None:
        raise single(raised)


async def _watch(
    scope: anyio.CancelScope, on_signal: Callable[[str], None], *, task_status: TaskStatus[None]
) -> None:
    with anyio.open_signal_receiver(*WATCHED) as signals:
        task_status.started()
        first: float | None = None
        async for number in signals:
            if first is None:
                first = anyio.current_time()
                on_signal(signal.Signals(number).name)
                scope.cancel()
            elif anyio.current_time() - first > SAME:
                os._exit(128 + number)


def single(error: Exception) -> Exception:
    """The error that a group of them is about: one of Rondel's own if there is any, else the first."""
    if not isinstance(error, ExceptionGroup):
        return error
    leaves = [single(each) for each in error.exceptions]
    return next((each for each in leaves if isinstance(each, RondelError)), leaves[0])
