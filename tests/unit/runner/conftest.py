from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rondel.operations.project import DvcInputs
from rondel.testing import FakeProject

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def project(tmp_path: Path) -> FakeProject:
    return FakeProject(
        tmp_path,
        dvc={
            "prepare": DvcInputs(command="python prepare.py", files={"raw.csv": "md5:1"}),
            "train": DvcInputs(command="python train.py", params={"train.max_iter": 100, "train.rate": 0.1}),
        },
        files={"ci/main.py": "md5:a", "model.txt": "md5:m"},
    )
