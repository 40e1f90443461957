from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import pytest

from rondel.engine.evaluate.single_flight import SingleFlight

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


def in_single_flight(test: Callable[[SingleFlight], Awaitable[None]]) -> None:
    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            await test(SingleFlight(tasks))
            tasks.cancel_scope.cancel()

    anyio.run(main)


def test_identical_work_at_once_is_done_once() -> None:
    runs: list[int] = []
    answers: list[int] = []

    async def test(single_flight: SingleFlight) -> None:
        go = anyio.Event()

        async def work() -> int:
            runs.append(1)
            await go.wait()
            return 42

        async def ask() -> None:
            answers.append(await single_flight.do("k", work))

        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(ask)
            await anyio.wait_all_tasks_blocked()
            go.set()
        assert "k" not in single_flight

    in_single_flight(test)
    assert (len(runs), answers) == (1, [42] * 5)


def test_a_failure_goes_to_all_who_wait_and_is_not_kept() -> None:
    failures: list[str] = []
    runs: list[int] = []

    async def test(single_flight: SingleFlight) -> None:
        async def work() -> None:
            runs.append(1)
            await anyio.lowlevel.checkpoint()
            raise ValueError("no")

        async def ask() -> None:
            with pytest.raises(ValueError, match="no") as raised:
                await single_flight.do("k", work)
            failures.append(str(raised.value))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            tasks.start_soon(ask)
        await ask()

    in_single_flight(test)
    assert (len(failures), len(runs)) == (3, 2)


def test_work_goes_on_while_somebody_waits_and_is_cancelled_with_the_last() -> None:
    ended: list[str] = []

    async def test(single_flight: SingleFlight) -> None:
        async def work() -> None:
            try:
                await anyio.sleep_forever()
            finally:
                ended.append("work")

        async def ask(scope: anyio.CancelScope) -> None:
            with scope:
                await single_flight.do("k", work)

        first, second = anyio.CancelScope(), anyio.CancelScope()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask, first)
            tasks.start_soon(ask, second)
            await anyio.wait_all_tasks_blocked()
            first.cancel()
            await anyio.wait_all_tasks_blocked()
            assert not ended
            second.cancel()
        await anyio.wait_all_tasks_blocked()
        assert ended == ["work"]
        assert "k" not in single_flight

    in_single_flight(test)


def test_who_asks_after_a_cancelled_flight_starts_a_new_one() -> None:
    async def test(single_flight: SingleFlight) -> None:
        async def forever() -> None:
            await anyio.sleep_forever()

        async def quick() -> str:
            return "fresh"

        with anyio.move_on_after(0):
            await single_flight.do("k", forever)
        assert await single_flight.do("k", quick) == "fresh"

    in_single_flight(test)
