"""`rondel init`: a new project, an existing one, and nothing overwritten."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from rondel.scaffold.graph import variable

if TYPE_CHECKING:
    from pathlib import Path

DVC = """\
stages:
  score:
    cmd: python score.py
    deps: [model/weights.bin, score.py]
    metrics: [metrics.json]
  fit-model:
    cmd: python fit.py
    deps: [features]
    outs: [model]
  features:
    cmd: python features.py
    deps: [raw.csv]
    outs: [features]
"""
MLPROJECT = (
    "name: old\nentry_points:\n  main:\n    command: python main.py\n  class:\n    command: python c.py\n"
)


def run(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if name != "CI"}
    return subprocess.run(words, cwd=root, env=kept, capture_output=True, text=True, check=False)


def init(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    code = "import sys; from rondel.cli import main; sys.exit(main())"
    return run(root, sys.executable, "-c", code, "init", *words)


def stages(root: Path) -> dict[str, str]:
    done = run(root, sys.executable, "ci/main.py", "--list")
    assert done.returncode == 0, done.stderr
    return {line.split()[0]: line for line in done.stdout.splitlines()[1:]}


def test_an_empty_folder_becomes_a_project_that_plans_and_tests(tmp_path: Path) -> None:
    done = init(tmp_path, "shop", "--name", "churn")
    assert done.returncode == 0, done.stdout + done.stderr
    root = tmp_path / "shop"
    assert list(stages(root)) == ["prepare", "train", "evaluate"]
    plan = run(root, sys.executable, "ci/main.py", "evaluate", "--dry-run")
    assert plan.returncode == 0, plan.stderr
    assert "gate of churn:" in plan.stdout
    assert "dvc train: python src/train.py" in plan.stdout
    tests = run(root, sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests")
    assert tests.returncode == 0, tests.stdout
    assert "dagger run python ci/main.py evaluate" in (root / ".gitlab-ci.yml").read_text()
    assert "sh 'dagger run python ci/main.py evaluate'" in (root / "Jenkinsfile").read_text()
    assert (root / ".git").is_dir()
    assert run(root, "git", "check-ignore", ".rondel/x", "data/x").returncode == 0


def test_a_dvc_project_is_adopted_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "dvc.yaml").write_text(DVC)
    (tmp_path / "Containerfile").write_text("FROM python:3.11 AS stage\n")
    (tmp_path / ".gitlab-ci.yml").write_text("build:\n  script: make\n")
    done = init(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "dvc.yaml").read_text() == DVC
    assert (tmp_path / "Containerfile").read_text() == "FROM python:3.11 AS stage\n"
    assert (tmp_path / ".gitlab-ci.yml").read_text() == "build:\n  script: make\n"
    assert ".gitlab-ci.yml is there already" in done.stdout
    assert not (tmp_path / "src").exists()
    assert 'score = pipeline.dvc("score", needs=[fit_model])' in (tmp_path / "ci" / "main.py").read_text()
    assert list(stages(tmp_path)) == ["features", "fit-model", "score"]


def test_an_mlflow_project_is_adopted_by_its_entry_points(tmp_path: Path) -> None:
    (tmp_path / "MLproject").write_text(MLPROJECT)
    assert init(tmp_path).returncode == 0
    assert set(stages(tmp_path)) == {"main", "class"}
    assert "mlflow>=" in (tmp_path / "requirements.txt").read_text()


def test_of_a_project_that_has_both_dvcs_stages_are_the_pipeline(tmp_path: Path) -> None:
    (tmp_path / "dvc.yaml").write_text(DVC)
    (tmp_path / "MLproject").write_text(MLPROJECT)
    (tmp_path / "requirements.txt").write_text("DVC[s3]>=3\n# mlflow\npandas\n")
    done = init(tmp_path)
    assert done.returncode == 0, done.stderr
    assert set(stages(tmp_path)) == {"features", "fit-model", "score"}
    assert "MLproject's main, class: declare with pipeline.mlflow" in done.stdout
    assert "requirements.txt, which lacks dvc-webdav\n" in done.stdout
    assert (tmp_path / "requirements.txt").read_text().startswith("DVC[s3]")


def test_nothing_is_overwritten_and_nothing_is_written_then(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("mine: 1\n")
    done = init(tmp_path)
    assert done.returncode == 20
    assert "params.yaml is there already, and nothing was written" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["params.yaml"]
    assert init(tmp_path, "new").returncode == 0
    again = init(tmp_path, "new")
    assert again.returncode == 20


def test_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    done = init(tmp_path, "--dry-run")
    assert "ci/main.py" in done.stdout.splitlines()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "word"),
    [("fit-model", "fit_model"), ("class", "class_"), ("2nd", "_2nd"), ("pipeline", "pipeline_")],
)
def test_stages_get_names_that_python_takes(name: str, word: str) -> None:
    assert variable(name) == word


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("there.txt",), "there.txt is a file"),
        (("there.txt/below",), "there.txt is a file"),
        (("new", "--name", 'a "b"'), "cannot be a project's name"),
    ],
)
def test_what_cannot_become_a_project_is_said_before_anything_is_written(
    tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    (tmp_path / "there.txt").touch()
    done = init(tmp_path, *words)
    assert done.returncode == 20
    assert said in done.stderr
    assert [path.name for path in tmp_path.rglob("*")] == ["there.txt"]
