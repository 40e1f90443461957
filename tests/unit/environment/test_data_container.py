"""The error for a DVC driver that was killed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from rondel.environment.data_container import DataContainer
from rondel.errors import StageFailed

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio


class Ended:
    """Stands for a container whose program printed something and wrote no result."""

    def __init__(self, said: str) -> None:
        self.said = said

    async def stdout(self) -> str:
        return self.said

    def directory(self, _: str) -> Ended:
        return self

    async def export(self, _: str) -> None:
        raise OSError("stat /rondel/out: no such file or directory")


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("this image has no dvc on its PATH\n", "this image has no dvc on its PATH"),
        ("\n".join(map(str, range(9))), "4\n5\n6\n7\n8"),
        ("", "stat /rondel/out: no such file or directory"),
    ],
)
async def test_the_error_shows_the_last_lines(said: str, why: str, tmp_path: Path) -> None:
    transfer: Any = Ended(said)
    with pytest.raises(StageFailed) as raised:
        await DataContainer(transfer, lambda container: container).result(transfer, tmp_path)
    assert raised.value.why == why
