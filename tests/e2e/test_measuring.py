"""Another model in the place of the one that is there: the measuring program with a real DVC."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rondel.context.evaluation import measuring_plan, program_text, read_evaluation
from rondel.data import load_project

DVC = Path(sys.executable).with_name("dvc")
DVC_YAML = """\
stages:
  prepare:
    cmd: python prepare.py
    outs: [test.txt]
  train:
    cmd: python train.py
    deps: [test.txt, train.py]
    outs: [model.txt]
  evaluate:
    cmd: python score.py
    deps: [model.txt, score.py, test.txt]
    metrics:
      - metrics.json: {cache: false}
"""
SCORE = """\
import json
json.dump({"auc": float(open("model.txt").read()) * float(open("test.txt").read())}, open("metrics.json", "w"))
"""
MEASURE = "python -c \"print('warming up'); print('{\\\"latency_ms\\\": 1.5}')\""


def dvc(root: Path, *arguments: str) -> None:
    done = subprocess.run([str(DVC), *arguments], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A project with two models in its remote, the second in place; and the hash of the first."""
    root = tmp_path_factory.mktemp("project")
    dvc(root, "init", "-q", "--no-scm")
    dvc(root, "remote", "add", "-q", "-d", "far", str(root.parent / "remote"))
    (root / "dvc.yaml").write_text(DVC_YAML)
    (root / "prepare.py").write_text("open('test.txt', 'w').write('0.5')")
    (root / "score.py").write_text(SCORE)
    (root / "train.py").write_text("open('model.txt', 'w').write('0.9')")
    dvc(root, "repro", "-q")
    dvc(root, "push", "-q")
    first = load_project(root).lock["train"]["outs"][0]["md5"]
    (root / "train.py").write_text("open('model.txt', 'w').write('0.8')")
    dvc(root, "repro", "-q")
    dvc(root, "push", "-q")
    return root, f"md5:{first}"


@pytest.fixture
def workspace(project: tuple[Path, str], tmp_path: Path) -> Path:
    """As a container sees it: no data in the tree, nothing in the cache."""
    root = tmp_path / "work"
    shutil.copytree(project[0], root, ignore=shutil.ignore_patterns("cache", "tmp"))
    for name in ("model.txt", "test.txt"):
        (root / name).unlink()
    return root


def measured(root: Path, out: Path, **wanted: Any) -> tuple[dict[str, Any], str]:
    """What the program answers, and what it said."""
    found = load_project(root)
    evaluation = read_evaluation(found, found.stages["evaluate"], found.lock["evaluate"])
    plan = {**json.loads(measuring_plan(evaluation, found, **wanted)), "out": str(out)}
    (root / "plan.json").write_text(json.dumps(plan))
    (root / "measure.py").write_text(program_text())
    path = f"{DVC.parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [sys.executable, "measure.py", "plan.json"],
        cwd=root,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    return json.loads((out / "result.json").read_text()), done.stdout + done.stderr


def test_the_champion_is_evaluated_with_the_challengers_command(
    project: tuple[Path, str], workspace: Path, tmp_path: Path
) -> None:
    result, said = measured(
        workspace, tmp_path / "out", swap=project[1], evaluate=True, measure=MEASURE, collect=["metrics.json"]
    )
    assert result == {"phase": "measure", "code": 0, "metrics": {"latency_ms": 1.5}, "bytes": 3}, said
    assert json.loads((tmp_path / "out/files/metrics.json").read_text()) == {"auc": 0.45}
    assert json.loads((project[0] / "metrics.json").read_text()) == {"auc": 0.4}


def test_without_another_model_the_one_of_the_lock_is_measured(workspace: Path, tmp_path: Path) -> None:
    result, _ = measured(workspace, tmp_path / "out", measure="cat model.txt test.txt >&2; " + MEASURE)
    assert (result["code"], result["metrics"]) == (0, {"latency_ms": 1.5})
    assert (workspace / "model.txt").read_text() == "0.8"


def test_a_model_that_the_remote_does_not_hold_is_said_to_be_missing(workspace: Path, tmp_path: Path) -> None:
    result, _ = measured(workspace, tmp_path / "out", swap="md5:" + "0" * 32, evaluate=True)
    assert result["phase"] == "model"
    assert result["code"] != 0


@pytest.mark.parametrize("command", ["exit 3", "echo 'no JSON'", "echo '[1]'", "true"])
def test_a_measuring_command_that_fails_or_prints_no_object_fails(
    workspace: Path, tmp_path: Path, command: str
) -> None:
    result, _ = measured(workspace, tmp_path / "out", measure=command)
    assert result["phase"] == "measure"
    assert result["code"] != 0
