"""A pipeline whose DVC stage was computed before: put back, told as that, with its metrics."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

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


@pipeline.stage
async def train(ctx: StageContext) -> None:
    await ctx.dvc("train")
    await ctx.gate("auc >= 0.5", metrics="metrics.json")


if __name__ == "__main__":
    pipeline.main()
""",
    "dvc.yaml": """
stages:
  train:
    cmd: python train.py
    deps: [train.py]
    params: [train]
    outs: [model.bin]
    metrics:
      - metrics.json: {cache: false}
""",
    "train.py": """
import json, yaml
rate = yaml.safe_load(open("params.yaml"))["train"]["rate"]
open("model.bin", "w").write(f"model {rate}")
json.dump({"auc": 0.5 + rate}, open("metrics.json", "w"))
print("training for real")
""",
    ".gitignore": "/.rondel/\n/model.bin\n",
}


def environ() -> dict[str, str]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("DAGGER", "MLFLOW_", "DVC_", "AWS_"))
    }
    kept.pop("CI", None)
    return {**kept, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}


def run(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        words, cwd=root, env=environ(), capture_output=True, text=True, check=False, timeout=900
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Path]:
    root = tmp_path / "restored"
    # The machine's cache of data outlives a test: the salt makes these inputs new to it.
    params = f"train:\n  rate: 0.1\n  salt: {time.time_ns()}\n"
    for name, text in {**FILES, "params.yaml": params}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    for name in ("Containerfile", "pyproject.toml", "uv.lock"):
        shutil.copy(TOP / name, root / name)
    run(root, "git", "init", "-q", ".")
    run(root, "dvc", "init", "-q")
    yield root
    run(root, "rondel", "ui", "--stop")


def test_a_result_that_is_gone_back_to_is_put_back_with_its_metrics(project: Path) -> None:
    run(project, "python", "ci/main.py", "train")
    folder, capsule = load(project)
    made = capsule.stage("train")
    assert made.state == "ran"
    assert "training for real" in folder.log("train").read_text()
    before = (project / "metrics.json").read_text()

    run(project, "python", "ci/main.py", "train", "-P", "train.rate=0.2", "--apply")
    assert load(project)[1].stage("train").state == "ran"
    params = project / "params.yaml"
    params.write_text(params.read_text().replace("0.2", "0.1"))

    done = run(project, "python", "ci/main.py", "train")
    _, capsule = load(project)
    record = capsule.stage("train")
    assert record.state == "cached"
    assert "its results are restored" in record.reason
    assert record.metrics == {"auc": 0.6}
    assert (project / "metrics.json").read_text() == before
    assert "= train cached" in done.stdout
    assert "auc=0.6" in done.stdout
    assert record.mlflow is not None
    assert made.mlflow is not None
    assert record.mlflow.run_id == made.mlflow.run_id, "the run that made it, and no new one"
