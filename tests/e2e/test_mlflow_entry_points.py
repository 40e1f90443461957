"""MLflow Project entry points: as stages on the embedded engine, and by `mlflow run` on the host."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from mlflow_runs import Server, values
from small_project import copy_image, git, run, write_files

from rondel.record import load

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.container

FILES = {
    "ci/main.py": """
from rondel import Pipeline, StageContext

pipeline = Pipeline()
train = pipeline.mlflow("train")


@pipeline.stage
async def twice(ctx: StageContext) -> None:
    await ctx.mlflow("train", alpha=0.25, beta=3)


@pipeline.stage
async def breaks(ctx: StageContext) -> None:
    await ctx.mlflow("train", alpha=-1)


if __name__ == "__main__":
    pipeline.main()
""",
    "MLproject": """
name: entry-points
entry_points:
  train:
    parameters:
      alpha: {type: float, default: 0.1}
      beta: {type: int, default: 2}
    command: python train.py {alpha} {beta}
""",
    "train.py": """
import sys
import mlflow

alpha, beta = float(sys.argv[1]), int(sys.argv[2])
if alpha < 0:
    sys.exit("alpha is below zero")
with mlflow.start_run() as run:
    mlflow.log_metric("loss", alpha * beta)
    print("logged to", run.info.run_id)
""",
    ".gitignore": "/.rondel/\n/mlruns/\n*.db\n",
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    root = tmp_path_factory.mktemp("entry-points")
    write_files(root, FILES)
    copy_image(root)
    git(root, "init", "-q", ".")
    yield root
    run(root, "rondel", "ui", "--stop")


@pytest.mark.parametrize(
    ("words", "stage", "alpha", "beta"),
    [
        (["train"], "train", 0.1, 2),
        (["train", "-P", "train.alpha=0.5"], "train", 0.5, 2),
        (["twice"], "twice", 0.25, 3),
        (["twice", "-P", "twice.alpha=0.75"], "twice", 0.75, 3),
    ],
)
def test_an_entry_point_logs_to_the_stages_own_nested_run(
    project: Path, words: list[str], stage: str, alpha: float, beta: int
) -> None:
    done = run(project, "python", "ci/main.py", *words)
    assert done.returncode == 0, done.stdout + done.stderr
    folder, capsule = load(project)
    record = capsule.stage(stage)
    assert record.state == "ran"
    assert record.mlflow is not None
    assert f"logged to {record.mlflow.run_id}" in folder.log(stage).read_text()
    with Server(capsule, project) as server:
        (nested,) = server.below(server.parent()).values()
    assert nested["info"]["run_id"] == record.mlflow.run_id
    assert nested["info"]["status"] == "FINISHED"
    assert values(nested, "metrics") == {"loss": pytest.approx(alpha * beta)}


def test_a_failing_entry_point_fails_its_stage_with_what_it_said(project: Path) -> None:
    done = run(project, "python", "ci/main.py", "breaks")
    assert done.returncode == 10
    assert "alpha is below zero" in done.stderr
    assert "mlflow run . --entry-point train" in done.stderr
    _, capsule = load(project)
    with Server(capsule, project) as server:
        (nested,) = server.below(server.parent()).values()
    assert nested["info"]["status"] == "FAILED"


def test_a_wrong_parameter_is_told_before_anything_starts(project: Path) -> None:
    done = run(project, "python", "ci/main.py", "train", "-P", "train.alhpa=1")
    assert done.returncode == 20
    assert "did you mean 'train.alpha'?" in done.stderr


def test_the_same_entry_point_runs_on_the_host(project: Path, tmp_path: Path) -> None:
    words = ["mlflow", "run", ".", "-e", "train", "-P", "alpha=0.5", "--env-manager", "local"]
    done = run(project, *words, MLFLOW_TRACKING_URI=f"sqlite:///{tmp_path}/runs.db")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "logged to" in done.stdout + done.stderr
