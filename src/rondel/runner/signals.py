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

DUPLICATE_SECONDS = 1.0
"""Seconds within which a second signal counts as a duplicate of the first one.

CI runners signal a whole process group: the child gets the signal itself, and
once more from `dagger run`.
"""


async def run_interruptibly(work: Callable[[], Awaitable[None]], on_signal: Callable[[str], None]) -> None:
    """Await ``work()``; the first SIGINT or SIGTERM calls ``on_signal`` with its name and cancels the work.

    A second signal ends the process immediately: the next run does the clean-up
    that is left. Raises what ``work`` raises.
    """
    raised: Exception | None = None
    # The watcher runs outside of the scope that it cancels, so that it still
    # receives a second signal while the stages clean up.
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
        raise unwrap(raised)


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
            elif anyio.current_time() - first > DUPLICATE_SECONDS:
                os._exit(128 + number)


def unwrap(error: Exception) -> Exception:
    """The one error to show for an exception group: Rondel's own if there is one, else the first."""
    if not isinstance(error, ExceptionGroup):
        return error
    leaves = [unwrap(each) for each in error.exceptions]
    return next((each for each in leaves if isinstance(each, RondelError)), leaves[0])
