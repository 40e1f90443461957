"""MLflow Project entry points: as stages on the embedded engine, and by `mlflow run` on the host."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from rondel.record import load

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.container

TOP = Path(__file__).parents[2]
BIN = Path(sys.executable).parent

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


def environ(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DAGGER", "MLFLOW_"))}
    kept.pop("CI", None)
    return {**kept, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", **more}


def run(root: Path, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        words, cwd=root, env=environ(**more), capture_output=True, text=True, check=False, timeout=600
    )


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    root = tmp_path_factory.mktemp("entry-points")
    for name, text in FILES.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(text)
    # The project's own image has MLflow in it, and is built already where anybody ran `make train`.
    for name in ("Containerfile", "pyproject.toml", "uv.lock"):
        shutil.copy(TOP / name, root / name)
    subprocess.run(["git", "init", "-q", "."], cwd=root, check=True)
    yield root
    run(root, "rondel", "ui", "--stop")


def runs(uri: str, parent: str) -> list[dict[str, Any]]:
    """What the server has of the nested runs below a parent."""
    client = httpx.Client(base_url=f"{uri}/api/2.0/mlflow/", trust_env=False, timeout=30)
    with client:
        experiment = client.get("runs/get", params={"run_id": parent}).json()["run"]["info"]["experiment_id"]
        asked = {
            "experiment_ids": [experiment],
            "filter": f"tags.`mlflow.parentRunId` = '{parent}'",
        }
        found: list[dict[str, Any]] = client.post("runs/search", json=asked).json().get("runs", [])
    return found


def logged(run: dict[str, Any], kind: str) -> dict[str, Any]:
    return {pair["key"]: pair["value"] for pair in run["data"].get(kind, [])}


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
    assert capsule.mlflow is not None
    assert f"logged to {record.mlflow.run_id}" in folder.log(stage).read_text()
    (nested,) = runs(str(capsule.mlflow.uri), capsule.mlflow.run_id)
    assert nested["info"]["run_id"] == record.mlflow.run_id
    assert nested["info"]["status"] == "FINISHED"
    assert logged(nested, "metrics") == {"loss": pytest.approx(alpha * beta)}


def test_a_failing_entry_point_fails_its_stage_with_what_it_said(project: Path) -> None:
    done = run(project, "python", "ci/main.py", "breaks")
    assert done.returncode == 10
    assert "alpha is below zero" in done.stderr
    assert "mlflow run . --entry-point train" in done.stderr
    _, capsule = load(project)
    assert capsule.mlflow is not None
    (nested,) = runs(str(capsule.mlflow.uri), capsule.mlflow.run_id)
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
