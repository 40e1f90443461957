"""A pipeline whose DVC stage was computed before: restored, told as that, with its metrics."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
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
    # DVC's run-cache, which is the machine's, outlives a test: the salt makes these inputs new to it.
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


def logged(uri: str, run_id: str, kind: str) -> dict[str, Any]:
    reply = httpx.get(
        f"{uri}/api/2.0/mlflow/runs/get", params={"run_id": run_id}, trust_env=False, timeout=30
    )
    return {pair["key"]: pair["value"] for pair in reply.json()["run"]["data"].get(kind, [])}


def test_a_stage_that_dvc_restored_is_told_as_that_with_its_metrics(project: Path) -> None:
    run(project, "python", "ci/main.py", "train")
    folder, capsule = load(project)
    assert capsule.stage("train").state == "ran"
    assert "training for real" in folder.log("train").read_text()

    run(project, "python", "ci/main.py", "train", "-P", "train.rate=0.2")
    assert load(project)[1].stage("train").state == "ran"

    # Back to the first rate: the lock has the second one's, DVC's run-cache the first one's.
    done = run(project, "python", "ci/main.py", "train")
    folder, capsule = load(project)
    record = capsule.stage("train")
    assert record.state == "restored"
    assert [command.outcome for command in record.commands] == ["restored"]
    assert "DVC restored an earlier result" in record.reason
    assert "training for real" not in folder.log("train").read_text()
    assert record.metrics == {"auc": 0.6}
    assert "✓ train restored in" in done.stdout
    assert "auc=0.6" in done.stdout
    assert record.mlflow is not None
    assert capsule.mlflow is not None
    uri = str(capsule.mlflow.uri)
    assert logged(uri, record.mlflow.run_id, "metrics") == {"auc": 0.6}
    assert logged(uri, record.mlflow.run_id, "params")["train.rate"] == "0.1"

    assert "= train cached" in run(project, "python", "ci/main.py", "train").stdout
