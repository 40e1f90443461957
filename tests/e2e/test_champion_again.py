"""From a first champion to a challenger under another evaluation: pipeline, engine, DVC and MLflow for real."""

from __future__ import annotations

import shutil
import subprocess
import time
from typing import TYPE_CHECKING

import pytest
from small_project import BIN, environ, run
from test_data_stages import DVC, TOP

from rondel.record import load

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.container

FILES = {
    "dvc.yaml": """\
stages:
  train:
    cmd: python train.py
    deps: [log.py, train.py]
    outs: [model.txt]
  evaluate:
    cmd: python score.py
    deps: [model.txt, score.py]
    metrics:
      - metrics.json: {cache: false}
""",
    "score.py": """\
import json
json.dump({"auc": float(open("model.txt").read()), "of": 1}, open("metrics.json", "w"))
""",
    "ci/main.py": """\
from rondel import Pipeline, StageContext

pipeline = Pipeline()
train = pipeline.dvc("train")


@pipeline.stage(needs=[train])
async def evaluate(ctx: StageContext) -> None:
    await ctx.dvc("evaluate")
    await ctx.gate(
        "auc >= champion.auc",
        "of >= champion.of",
        "answer_ms <= 2 * champion.answer_ms",
        "model_mb <= 1",
        model="toy",
        measure="python -c 'print({})'".format('"{\\\\"answer_ms\\\\": %s}" % open("model.txt").read()[:3]'),
    )


@pipeline.effect(needs=[evaluate])
async def register(ctx: StageContext) -> None:
    await ctx.register("toy", log="python log.py")


@pipeline.effect(needs=[register], approval="production")
async def release(ctx: StageContext) -> None:
    await ctx.promote("toy")


if __name__ == "__main__":
    pipeline.main()
""",
    ".gitignore": "/.rondel/\n/model.txt\n",
}
FILES["log.py"] = """\
import mlflow
value = float(open("model.txt").read())
with mlflow.start_run():
    mlflow.pyfunc.log_model(name="toy", python_model=lambda model_input: [value], pip_requirements=["mlflow"])
"""
TRAIN = """\
open("model.txt", "w").write("{value}")
print("training for real")
exec(open("log.py").read())
"""


def commit(root: Path) -> None:
    git = ("git", "-c", "user.name=Ann", "-c", "user.email=ann@example.org")
    subprocess.run([*git, "add", "-A"], cwd=root, check=True)
    subprocess.run([*git, "commit", "-qm", "Go on"], cwd=root, check=True)


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Path]:
    root = tmp_path / "toy"
    # DVC's run-cache outlives a test: a model that no run before had.
    files = {**FILES, "train.py": TRAIN.format(value=f"0.9{time.time_ns()}")}
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    for name in ("Containerfile", "pyproject.toml", "uv.lock"):
        shutil.copy(TOP / name, root / name)
    subprocess.run(["git", "init", "-q", "-b", "main", "."], cwd=root, check=True)
    subprocess.run([DVC, "init", "-q"], cwd=root, check=True)
    (root / ".dvc/config").write_text(
        "[core]\n    remote = local\n['remote \"local\"']\n    url = ../.rondel/remote\n"
    )
    commit(root)
    yield root
    subprocess.run([BIN / "rondel", "ui", "--stop"], cwd=root, env=environ(), check=False)


def test_a_challenger_under_another_evaluation_meets_the_champion_there(project: Path) -> None:
    done = run(project, "python", "ci/main.py", "release", "--approve-by", "ann")
    assert done.returncode == 0, done.stdout + done.stderr
    history = run(project, "rondel", "models", "history", "toy").stdout
    assert "approved for production by ann" in history
    (project / "train.py").write_text(TRAIN.format(value=f"0.8{time.time_ns()}"))
    (project / "score.py").write_text(FILES["score.py"].replace('"of": 1', '"of": 2'))
    commit(project)

    done = run(project, "python", "ci/main.py", "release", "--approve-by", "ann")
    assert done.returncode == 11, done.stdout + done.stderr
    folder, capsule = load(project)
    verdict = capsule.stage("evaluate").verdicts[0]
    assert (verdict.champion_version, verdict.champion_measured) == ("1", "again")
    assert verdict.champion_note == "changed since its evaluation: code score.py"
    assert [rule["passed"] for rule in verdict.rules] == [False, True, True, True]
    assert verdict.champion_metrics["auc"] == pytest.approx(0.9, abs=0.1)
    assert verdict.champion_metrics["of"] == 2
    assert (verdict.metrics["answer_ms"], verdict.champion_metrics["answer_ms"]) == (0.8, 0.9)
    assert "evaluated again together with the challenger" in (folder.path / "reports/gate.md").read_text()
    assert (folder.path / "reports/gate.html").is_file()
    # What the champion's evaluation made goes nowhere: the tree has nothing of a failed stage.
    assert '"of": 1' in (project / "metrics.json").read_text()
    assert run(project, "rondel", "models").stdout.count("champion") == 1
