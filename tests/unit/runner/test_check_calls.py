"""A pipeline with DVC stages in a project without any."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rondel.errors import ConfigurationError
from rondel.pipeline import Pipeline
from rondel.runner.check import check_calls
from rondel.runner.disk_project import DiskProject
from rondel.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "uses the dvc stage 'train', but there is no dvc.yaml"),
        ("artifacts:\n  m: {path: m.pkl}\n", "uses the dvc stage 'train', but dvc.yaml defines no stages"),
        ("stages:\n  trian: {cmd: x}\n", "uses the dvc stage 'train', which dvc.yaml does not have"),
    ],
)
def test_a_missing_dvc_stage_is_an_error_with_the_reason(tmp_path: Path, text: str | None, said: str) -> None:
    if text is not None:
        (tmp_path / "dvc.yaml").write_text(text)
    pipeline = Pipeline()
    pipeline.dvc("train")
    with pytest.raises(ConfigurationError) as caught:
        check_calls(pipeline.stages(), DiskProject(Settings(root=tmp_path), {}))
    assert said in caught.value.what
