from __future__ import annotations

import anyio
import pytest

from rondel.runner.services import call_when_slow

pytestmark = pytest.mark.anyio


async def work(seconds: float, error: Exception | None = None) -> str:
    await anyio.sleep(seconds)
    if error is not None:
        raise error
    return "done"


async def test_a_slow_call_is_reported_once() -> None:
    told: list[str] = []
    assert await call_when_slow(work(0.2), lambda: told.append("waiting"), after=0.01) == "done"
    assert told == ["waiting"]


async def test_a_fast_call_is_not_reported() -> None:
    assert await call_when_slow(work(0), lambda: pytest.fail("told"), after=5) == "done"


async def test_an_error_is_raised_unwrapped() -> None:
    with pytest.raises(KeyError):
        await call_when_slow(work(0, KeyError("x")), lambda: None)
