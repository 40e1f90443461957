"""MLflow runs beside a stage's own."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from rondel.context.program import run_of_its_own
from rondel.tracking import RunHandle

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Client:
    def __init__(self) -> None:
        self.ended: list[tuple[str, str]] = []

    async def create_run(self, experiment: str, **_: object) -> RunHandle:
        return RunHandle(run_id=f"of {experiment}", url="")

    async def end_run(self, run_id: str, status: str) -> None:
        await anyio.sleep(0.01)
        self.ended.append((run_id, status))


def opened(client: Any) -> Any:
    return run_of_its_own(client, "7", name="restored: train", tags={}, parent=None)


async def test_it_ends_as_its_block_does() -> None:
    client = Client()
    async with opened(client):
        pass
    with pytest.raises(ValueError, match="broken"):
        async with opened(client):
            raise ValueError("broken")
    assert client.ended == [("of 7", "FINISHED"), ("of 7", "FAILED")]


async def test_a_cancelled_stage_leaves_no_run_that_seems_to_go_on() -> None:
    client = Client()
    with anyio.move_on_after(0.01):
        async with opened(client):
            await anyio.sleep(10)
    assert client.ended == [("of 7", "KILLED")]
