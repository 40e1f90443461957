"""Two runs that need the same result: the second waits for the first."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import anyio
import pytest

from rondel.runner.stage_locks import stage_lock

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio
KEY = "sha256:" + "a" * 64


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_the_second_run_waits_and_learns_the_id_of_the_first(tmp_path: Path) -> None:
    order: list[str] = []
    first_has_it = anyio.Event()

    async def first() -> None:
        async with stage_lock(tmp_path, KEY, "run-1", order.append) as waited:
            assert not waited
            first_has_it.set()
            while not order:
                await anyio.sleep(0.01)
            order.append("first is done")

    async def second() -> None:
        await first_has_it.wait()
        async with stage_lock(tmp_path, KEY, "run-2", order.append) as waited:
            assert waited
            order.append("second has it")

    async with anyio.create_task_group() as group:
        group.start_soon(first)
        group.start_soon(second)
    assert order == ["run-1", "first is done", "second has it"]
    assert list((tmp_path / ".rondel/locks/making").iterdir()) == []


async def test_another_key_does_not_wait(tmp_path: Path) -> None:
    told: list[str] = []
    async with (
        stage_lock(tmp_path, KEY, "run-1", told.append),
        stage_lock(tmp_path, KEY.replace("a", "b"), "run-2", told.append) as waited,
    ):
        assert not waited
    assert told == []


async def test_a_killed_run_frees_its_lock(tmp_path: Path) -> None:
    code = (
        "import anyio, sys\n"
        "from pathlib import Path\n"
        "from rondel.runner.stage_locks import stage_lock\n"
        "async def main():\n"
        f"    async with stage_lock(Path(sys.argv[1]), {KEY!r}, 'run-1', print):\n"
        "        print('mine', flush=True)\n"
        "        await anyio.sleep(600)\n"
        "anyio.run(main)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True, env=dict(os.environ)
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "mine\n"
    told: list[str] = []

    def waiting(run: str) -> None:
        told.append(run)
        process.kill()

    with anyio.fail_after(60):
        async with stage_lock(tmp_path, KEY, "run-2", waiting) as waited:
            assert waited
    assert told == ["run-1"]
    process.wait()
    process.stdout.close()


async def test_a_cancelled_wait_keeps_the_lock_of_its_holder(tmp_path: Path) -> None:
    async with stage_lock(tmp_path, KEY, "run-1", lambda _run: None):
        with anyio.move_on_after(0.2):
            async with stage_lock(tmp_path, KEY, "run-2", lambda _run: None):
                pytest.fail("two runs make one result")
        assert len(list((tmp_path / ".rondel/locks/making").iterdir())) == 1
