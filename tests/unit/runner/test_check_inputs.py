"""Missing files and parameters of DVC stages are errors before anything starts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from rondel.errors import ConfigurationError
from rondel.pipeline import Pipeline
from rondel.runner.check import check_inputs
from rondel.runner.disk_project import DiskProject
from rondel.settings import Settings
from rondel.testing import plan_of

if TYPE_CHECKING:
    from pathlib import Path

DVC_YAML = """\
stages:
  prepare:
    cmd: python prepare.py
    deps: [src/prepare.py]
    outs: [data.csv]
    metrics: [{counts.json: {cache: false}}]
  train:
    cmd: python train.py
    deps: [src/trian.py, data.csv, counts.json]
    params: [train.rat]
    outs: [model.bin]
  tuned:
    cmd: python tuned.py
    params: [{counts.json: [rate]}]
"""


@pytest.fixture
def disk(tmp_path: Path) -> DiskProject:
    (tmp_path / ".dvc").mkdir()
    (tmp_path / "src").mkdir()
    (tmp_path / "dvc.yaml").write_text(DVC_YAML)
    (tmp_path / "params.yaml").write_text("train:\n  rate: 1\n")
    for name in ("prepare", "train"):
        (tmp_path / f"src/{name}.py").write_text(name)
    return DiskProject(Settings(root=tmp_path), {})


def check(pipeline: Pipeline, disk: DiskProject, *targets: str, done: tuple[str, ...] = ()) -> None:
    check_inputs(plan_of(pipeline, *targets), disk, {}, done)


def straight() -> Pipeline:
    pipeline = Pipeline()
    prepare = pipeline.dvc("prepare")
    pipeline.dvc("train", needs=[prepare])
    pipeline.dvc("tuned", needs=[prepare])
    return pipeline


def test_a_missing_file_is_an_error_with_a_suggestion(disk: DiskProject) -> None:
    with pytest.raises(ConfigurationError) as caught:
        check(straight(), disk, "train")
    assert caught.value.place == "dvc.yaml:9"
    assert "depends on 'src/trian.py', which does not exist" in caught.value.what
    assert caught.value.hint == "did you mean 'src/train.py'?"
    check(straight(), disk, "train", done=("train",))


def test_a_missing_parameter_is_an_error(disk: DiskProject) -> None:
    (disk.root / "src/trian.py").touch()
    with pytest.raises(ConfigurationError, match=r"no parameter 'train\.rat'") as caught:
        check(straight(), disk, "train")
    assert caught.value.hint == "did you mean 'train.rate'?"


def test_all_mistakes_come_together(disk: DiskProject) -> None:
    (disk.root / "src/prepare.py").unlink()
    with pytest.raises(ConfigurationError, match="2 mistakes"):
        check(straight(), disk, "train")


def test_outputs_of_a_stage_are_not_missing(disk: DiskProject) -> None:
    check(straight(), disk, "prepare", "tuned")


def test_files_are_not_checked_after_a_stage_that_may_make_any_file(disk: DiskProject) -> None:
    pipeline = Pipeline()

    @pipeline.stage
    async def fetch(ctx: Any) -> None:
        await ctx.sh("make src/trian.py", outputs=["src/trian.py"])

    prepare = pipeline.dvc("prepare", needs=[fetch])
    pipeline.dvc("train", needs=[prepare])
    check(pipeline, disk, "train")
