"""Says what is waited for, when that takes longer than people expect."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")

PATIENCE = 2.0
"""Seconds that nobody wonders about."""


async def report_when_slow(work: Awaitable[T], tell: Callable[[], None], *, after: float = PATIENCE) -> T:
    """The result of ``work``; ``tell`` is called once if it takes longer than ``after`` seconds.

    Raises what ``work`` raises.
    """
    import anyio

    async def tell_later() -> None:
        await anyio.sleep(after)
        tell()

    done: list[T] = []
    raised: list[Exception] = []
    async with anyio.create_task_group() as group:
        group.start_soon(tell_later)
        try:
            done.append(await work)
        except Exception as error:  # noqa: BLE001 - raised below: the group would wrap it
            raised.append(error)
        group.cancel_scope.cancel()
    if raised:
        raise raised[0]
    return done[0]
