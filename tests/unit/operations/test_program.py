"""Commands and MLflow runs besides a stage's own."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from rondel.operations.program import Program, last_object, nested_run
from rondel.tracking import RunHandle

if TYPE_CHECKING:
    from pathlib import Path

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
    return nested_run(client, "7", name="restored: train", tags={}, parent=None)


async def test_it_ends_as_its_block_does() -> None:
    client = Client()
    async with opened(client):
        pass
    with pytest.raises(ValueError, match="broken"):
        async with opened(client):
            raise ValueError("broken")
    assert client.ended == [("of 7", "FINISHED"), ("of 7", "FAILED")]


async def test_a_cancelled_stage_ends_its_mlflow_run() -> None:
    client = Client()
    with anyio.move_on_after(0.01):
        async with opened(client):
            await anyio.sleep(10)
    assert client.ended == [("of 7", "KILLED")]


@pytest.mark.parametrize("said", ["", "no JSON", "[1]", "{}\nand more", '{"a": '])
def test_a_last_line_that_is_not_an_object_is_none(said: str) -> None:
    assert last_object(said) is None


def test_the_last_line_is_what_counts() -> None:
    assert last_object('warming up\n{"latency_ms": 9}\n{"latency_ms": 1.5}\n\n') == {"latency_ms": 1.5}


def test_a_program_removes_and_runs_until_something_fails(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "old").write_text("x")
    program = Program(remove=("old",), wdir="sub", commands=("pwd; ls ..", "exit 4", "echo never"))
    done = subprocess.run(
        ["sh", "-c", program.script()], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 4
    assert done.stdout.splitlines() == [str(tmp_path / "sub"), "sub"]
