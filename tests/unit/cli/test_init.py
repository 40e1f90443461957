"""`rondel init` in new and existing projects, without overwriting files."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from rondel.scaffold.graph import variable_name

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
    assert run(root, "git", "check-ignore", ".rondel/x", "data/train.csv", "models/model.pkl").returncode == 0


def test_a_dvc_project_is_adopted_unchanged(tmp_path: Path) -> None:
    (tmp_path / "dvc.yaml").write_text(DVC)
    (tmp_path / "Containerfile").write_text("FROM python:3.11 AS stage\n")
    (tmp_path / ".gitlab-ci.yml").write_text("build:\n  script: make\n")
    done = init(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "dvc.yaml").read_text() == DVC
    assert (tmp_path / "Containerfile").read_text() == "FROM python:3.11 AS stage\n"
    assert (tmp_path / ".gitlab-ci.yml").read_text() == "build:\n  script: make\n"
    assert ".gitlab-ci.yml exists; `rondel ci generate gitlab` tells how" in done.stdout
    assert not (tmp_path / "src").exists()
    assert 'score = pipeline.dvc("score", needs=[fit_model])' in (tmp_path / "ci" / "main.py").read_text()
    assert list(stages(tmp_path)) == ["features", "fit-model", "score"]


def test_an_mlflow_project_is_adopted_by_its_entry_points(tmp_path: Path) -> None:
    (tmp_path / "MLproject").write_text(MLPROJECT)
    assert init(tmp_path).returncode == 0
    assert set(stages(tmp_path)) == {"main"}
    assert "pip install --quiet mlflow" in (tmp_path / "Containerfile").read_text()


def test_dvc_stages_take_precedence_over_entry_points(tmp_path: Path) -> None:
    (tmp_path / "dvc.yaml").write_text(DVC)
    (tmp_path / "MLproject").write_text(MLPROJECT)
    (tmp_path / "requirements.txt").write_text("DVC[s3]>=3\n# mlflow\npandas\n")
    done = init(tmp_path)
    assert done.returncode == 0, done.stderr
    assert set(stages(tmp_path)) == {"features", "fit-model", "score"}
    assert "to add MLproject's main, class, use pipeline.mlflow" in done.stdout
    assert "the image has the packages of requirements.txt\n" in done.stdout
    assert (tmp_path / "requirements.txt").read_text().startswith("DVC[s3]")


def test_if_a_file_exists_nothing_is_written(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("mine: 1\n")
    done = init(tmp_path)
    assert done.returncode == 20
    assert "params.yaml already exists; nothing was written" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["params.yaml"]
    assert init(tmp_path, "new").returncode == 0
    again = init(tmp_path, "new")
    assert again.returncode == 20


def test_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    done = init(tmp_path, "--dry-run")
    assert "ci/main.py" in done.stdout.splitlines()
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_lists_files_that_get_lines_added(tmp_path: Path) -> None:
    (tmp_path / "dvc.yaml").write_text(DVC)
    (tmp_path / ".gitignore").write_text("*.log")
    done = init(tmp_path, "--dry-run")
    assert ".gitignore: lines added" in done.stdout.splitlines()
    assert {".gitlab-ci.yml", "Jenkinsfile"} <= set(done.stdout.splitlines())
    assert "note: no file lists packages" in done.stdout
    assert (tmp_path / ".gitignore").read_text() == "*.log"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("*.log", "*.log\n.rondel/\n"),
        ("*.log\r\n", "*.log\r\n.rondel/\r\n"),
        ("", ".rondel/\n"),
        ("/.rondel\n", "/.rondel\n"),
        (".rondel/\n", ".rondel/\n"),
        ("# .rondel/\n", "# .rondel/\n.rondel/\n"),
    ],
)
def test_an_adopted_project_ignores_only_rondels_folder(tmp_path: Path, before: str, after: str) -> None:
    (tmp_path / "dvc.yaml").write_text(DVC)
    (tmp_path / ".gitignore").write_bytes(before.encode())
    assert init(tmp_path).returncode == 0
    assert (tmp_path / ".gitignore").read_bytes() == after.encode()


def test_a_project_without_a_gitignore_gets_one_for_rondels_folder(tmp_path: Path) -> None:
    (tmp_path / "dvc.yaml").write_text(DVC)
    assert init(tmp_path).returncode == 0
    assert (tmp_path / ".gitignore").read_text() == ".rondel/\n"


def test_a_note_says_where_a_project_without_a_remote_stores_its_data(tmp_path: Path) -> None:
    (tmp_path / "dvc.yaml").write_text(DVC)
    note = "note: the DVC remote is .rondel/remote, a folder of this clone; `dvc push` copies"
    assert note in init(tmp_path, "--dry-run").stdout
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc/config").write_text(
        "[core]\n    remote = team\n['remote \"team\"']\n    url = s3://b\n"
    )
    assert note not in init(tmp_path, "--dry-run").stdout


def test_an_option_makes_a_teams_dockerfile_the_image(tmp_path: Path) -> None:
    (tmp_path / "dvc.yaml").write_text(DVC)
    (tmp_path / "Dockerfile").write_text("FROM python:3.11 AS train\nRUN pip install numpy\n")
    (tmp_path / "pyproject.toml").write_text("[tool.black]\nline-length = 99\n")
    assert init(tmp_path).returncode == 0
    text = (tmp_path / "pyproject.toml").read_text()
    assert text.startswith("[tool.black]\nline-length = 99\n")
    assert text.endswith('[tool.rondel]\ncontainerfile = "Dockerfile"\ntarget = "train"\n')
    assert not (tmp_path / "Containerfile").exists()
    for name in ("raw.csv", "features.py"):
        (tmp_path / name).touch()
    plan = run(tmp_path, sys.executable, "ci/main.py", "features", "--dry-run")
    assert "image: Dockerfile, target train" in plan.stdout + plan.stderr


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"dvc.yaml": "artifacts:\n  model: {path: m.pkl}\n"}, "dvc.yaml defines no stages"),
        ({".dvc/config": "", "data.csv.dvc": "outs: []\n"}, "there is no dvc.yaml"),
        ({"sub/.dvc/config": "", "sub/dvc.yaml": DVC}, "run `rondel init` in sub"),
        ({"MLproject": "name: x\n"}, "no entry point that can become a stage"),
        (
            {"MLproject": "entry_points: {a: {parameters: {b: path}, command: x}}\n"},
            "rondel init -P a.b=VALUE",
        ),
        (
            {"dvc.yaml": DVC, "dvc.lock": "<<<<<<< HEAD\na: 1\n=======\n>>>>>>> b\n"},
            "dvc.lock:1: this file has a merge",
        ),
        ({"dvc.yaml": "stages:\n<<<<<<< HEAD\n"}, "dvc.yaml:2: this file has a merge conflict"),
        ({"dvc.yaml": DVC, "pyproject.toml": "[a\n"}, "not valid TOML"),
    ],
)
def test_a_project_that_cannot_be_adopted_is_reported_and_nothing_is_written(
    tmp_path: Path, files: dict[str, str], said: str
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    done = init(tmp_path)
    assert done.returncode == 20, done.stdout
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()} == set(
        files
    )


def test_a_project_in_a_subfolder_stays_separate(tmp_path: Path) -> None:
    for name, text in {
        "dvc.yaml": DVC,
        ".dvc/config": "",
        "sub/.dvc/config": "",
        "sub/dvc.yaml": DVC,
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    done = init(tmp_path)
    assert set(stages(tmp_path)) == {"features", "fit-model", "score"}
    assert "sub/dvc.yaml is not part of the pipeline, as sub/ is a separate DVC project" in done.stdout


def test_a_value_for_an_unknown_entry_point_is_reported(tmp_path: Path) -> None:
    done = init(tmp_path, "-P", "main.a=1")
    assert done.returncode == 20
    assert "MLproject has no parameter 'main.a'" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_values_for_an_entry_point_reach_its_stage(tmp_path: Path) -> None:
    (tmp_path / "MLproject").write_text(
        "entry_points: {a: {parameters: {b: path, not-a-name: int}, command: x}}\n"
    )
    done = init(tmp_path, "-P", "a.b=data/x.csv", "-P", "a.not-a-name=3")
    assert done.returncode == 0, done.stderr
    assert (
        "pipeline.mlflow(\"a\", **{'b': 'data/x.csv', 'not-a-name': 3})"
        in (tmp_path / "ci/main.py").read_text()
    )
    assert list(stages(tmp_path)) == ["a"]


@pytest.mark.parametrize(
    ("name", "word"),
    [("fit-model", "fit_model"), ("class", "class_"), ("2nd", "_2nd"), ("pipeline", "pipeline_")],
)
def test_stages_get_valid_python_names(name: str, word: str) -> None:
    assert variable_name(name) == word


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("there.txt",), "there.txt is a file"),
        (("there.txt/below",), "there.txt is a file"),
        (("new", "--name", 'a "b"'), "cannot be a project's name"),
    ],
)
def test_an_invalid_folder_is_reported_before_anything_is_written(
    tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    (tmp_path / "there.txt").touch()
    done = init(tmp_path, *words)
    assert done.returncode == 20
    assert said in done.stderr
    assert [path.name for path in tmp_path.rglob("*")] == ["there.txt"]
