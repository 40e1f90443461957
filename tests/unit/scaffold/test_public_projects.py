"""What `rondel init` writes into published projects, and that DVC works in them before and after."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import pytest
from public_projects import DVC, TICKETS, commit, copy_project, run

if TYPE_CHECKING:
    from pathlib import Path

INIT = (sys.executable, "-c", "import sys; from rondel.cli import main; sys.exit(main())", "init")
HEAD = '''\
"""The pipeline. List its stages with `dagger run python ci/main.py --list`."""

from rondel import Pipeline

pipeline = Pipeline()

'''
TAIL = """
if __name__ == "__main__":
    pipeline.main()
"""
GET_STARTED = """\
prepare = pipeline.dvc("prepare")
featurize = pipeline.dvc("featurize", needs=[prepare])
train = pipeline.dvc("train", needs=[featurize])
evaluate = pipeline.dvc("evaluate", needs=[featurize, train])
"""
MONOREPO = """\
cv_prepare = pipeline.dvc("cv/dvc.yaml:prepare", name="cv/prepare")
cv_train = pipeline.dvc("cv/dvc.yaml:train", needs=[cv_prepare], name="cv/train")
nlp_prepare = pipeline.dvc("nlp/dvc.yaml:prepare", name="nlp/prepare")
nlp_train = pipeline.dvc("nlp/dvc.yaml:train", needs=[nlp_prepare], name="nlp/train")
nlp_evaluate = pipeline.dvc("nlp/dvc.yaml:evaluate", needs=[nlp_prepare, nlp_train], name="nlp/evaluate")
"""
CONTAINERFILE = """\
# Two targets: `stage` is the image that stages run in, on a laptop and in CI;
# `runner` is the image of CI jobs that run the pipeline.
ARG PYTHON=3.11

FROM python:${PYTHON}-slim AS stage
ENV PATH=/opt/venv/bin:$PATH \\
    PYTHONPATH=/work \\
    PYTHONUNBUFFERED=1
WORKDIR /opt/packages
COPY requirements.txt ./
# The secret may contain `export PIP_INDEX_URL=…`, to keep credentials out of layers.
RUN --mount=type=secret,id=package-index \\
    --mount=type=cache,id=pip,target=/var/cache/pip \\
    if [ -f /run/secrets/package-index ]; then . /run/secrets/package-index; fi; \\
    export PIP_CACHE_DIR=/var/cache/pip PIP_DISABLE_PIP_VERSION_CHECK=1; \\
    python3 -m venv /opt/venv \\
    && /opt/venv/bin/pip install --quiet --requirement requirements.txt
WORKDIR /work


FROM stage AS runner
RUN command -v git > /dev/null \\
    || { apt-get update && apt-get install --yes --no-install-recommends git && rm -rf /var/lib/apt/lists/*; }
RUN --mount=type=secret,id=package-index \\
    --mount=type=cache,id=pip,target=/var/cache/pip \\
    if [ -f /run/secrets/package-index ]; then . /run/secrets/package-index; fi; \\
    export PIP_CACHE_DIR=/var/cache/pip PIP_DISABLE_PIP_VERSION_CHECK=1; \\
    /opt/venv/bin/pip install --quiet "rondel[mlops,ci]"
"""
CONDA = """\


# An alternative for `stage` that installs conda.yaml with conda:
#
# FROM mambaorg/micromamba:2 AS stage
# USER root
# ENV PATH=/opt/conda/bin:$PATH \\
#     PYTHONPATH=/work \\
#     PYTHONUNBUFFERED=1
# WORKDIR /opt/packages
# COPY conda.yaml ./
# RUN --mount=type=cache,id=conda,target=/opt/conda/pkgs \\
#     micromamba install --yes --quiet --name base --file conda.yaml
# WORKDIR /work
"""


def changed(root: Path) -> set[str]:
    """The files that git sees as new or changed."""
    listed = run(root, "git", "status", "--porcelain", "--untracked-files=all").stdout
    return {line[3:] for line in listed.splitlines()}


@pytest.mark.parametrize(("name", "stages"), [("get-started", GET_STARTED), ("monorepo", MONOREPO)])
def test_a_dvc_project_gets_its_stages_and_packages(tmp_path: Path, name: str, stages: str) -> None:
    root = copy_project(name, tmp_path)
    before = run(root, DVC, "stage", "list", "--all", "--name-only").stdout
    done = run(root, *INIT)
    assert (root / "ci/main.py").read_text() == HEAD + stages + TAIL
    assert (root / "Containerfile").read_text() == CONTAINERFILE
    assert (root / "pyproject.toml").read_text() == f'[tool.rondel]\nname = "{name}"\n'
    written = {"ci/main.py", "Containerfile", "pyproject.toml", ".gitlab-ci.yml", "Jenkinsfile"}
    assert changed(root) == {*written, ".gitignore", ".dvc/config"}
    assert ("attic/dvc.yaml is not part" in done.stdout) is (name == "monorepo")
    assert run(root, DVC, "stage", "list", "--all", "--name-only").stdout == before
    listed = run(root, sys.executable, "ci/main.py", "--list").stdout
    assert [line.split()[0] for line in listed.splitlines()[1:]] == [
        line.split(" = ")[1].split('name="')[-1].split('"')[0 if "name=" in line else 1]
        for line in stages.splitlines()
    ]


def test_a_folder_of_a_dvc_project_gets_no_dvc_project(tmp_path: Path) -> None:
    root = copy_project("monorepo", tmp_path)
    done = run(root / "nlp", *INIT, code=20)
    assert f"nlp/ is part of the DVC project in {root}" in done.stderr
    assert f"`rondel init` in {root} includes the stages of nlp/" in done.stderr
    assert run(root, "git", "status", "--porcelain").stdout == ""


def test_an_mlproject_gets_its_main_entry_point_and_conda_as_pip(tmp_path: Path) -> None:
    root = copy_project("mlproject-conda", tmp_path)
    done = run(root, *INIT)
    assert (root / "ci/main.py").read_text() == f'{HEAD}main = pipeline.mlflow("main")\n{TAIL}'
    assert (root / "Containerfile").read_text() == CONTAINERFILE + CONDA
    assert (root / "requirements.txt").read_text().splitlines()[1:] == [
        "numpy>=1.26",
        "pyyaml==6.0.*",
        "mlflow>=2.9,!=3.18.0",
    ]
    assert "to add MLproject's validate, use pipeline.mlflow" in done.stdout
    assert "not in the image: git" in done.stdout
    assert not (root / ".dvc").exists()


def test_a_required_parameter_may_be_given(tmp_path: Path) -> None:
    root = copy_project("mlproject-conda", tmp_path)
    run(root, *INIT, "-P", "validate.slope=2.0")
    assert 'validate = pipeline.mlflow("validate", slope=2.0)' in (root / "ci/main.py").read_text()


def test_the_projects_run_with_dvc_alone(tmp_path: Path) -> None:
    for name, metrics in (
        ("get-started", ["eval/metrics.json"]),
        ("monorepo", ["cv/metrics.json", "nlp/metrics.json"]),
    ):
        root = copy_project(name, tmp_path)
        run(root, DVC, "repro", "--quiet", "--all-pipelines")
        values = [json.loads((root / path).read_text())["accuracy"] for path in metrics]
        assert all(0.6 < value <= 1 for value in values)
        assert run(root, DVC, "status").stdout.strip() == "Data and pipelines are up to date."


@pytest.mark.parametrize("name", ["get-started", "monorepo"])
def test_push_and_pull_work_in_an_adopted_project(tmp_path: Path, name: str) -> None:
    root = copy_project(name, tmp_path)
    run(root, *INIT)
    assert "1 file pushed" in run(root, DVC, "push").stdout
    (data,) = (path for path in root.rglob("tickets.tsv"))
    data.unlink()
    run(root, "rm", "-rf", ".dvc/cache")
    run(root, DVC, "pull", "--allow-missing")
    assert data.read_bytes() == TICKETS.read_bytes()


def test_data_can_be_added_and_pulled_in_a_new_project(tmp_path: Path) -> None:
    run(tmp_path, *INIT, "shop")
    root = tmp_path / "shop"
    (root / "data/new.txt").write_text("new\n")
    run(root, DVC, "add", "data/new.txt")
    assert "data/new.txt.dvc" in changed(root)
    assert not {"data/new.txt", ".dvc/cache", ".dvc/tmp"} & changed(root)
    commit(root, "Data")
    run(root, DVC, "push", "data/new.txt")
    run(tmp_path, "git", "clone", "--quiet", "shop", "clone")
    clone = tmp_path / "clone"
    run(clone, DVC, "remote", "modify", "--local", "local", "url", str(root / ".rondel/remote"))
    run(clone, DVC, "pull", "data/new.txt")
    assert (clone / "data/new.txt").read_text() == "new\n"
    assert changed(clone) == set()


def test_a_new_project_ignores_the_files_that_dvc_tracks(tmp_path: Path) -> None:
    run(tmp_path, *INIT, "shop")
    root = tmp_path / "shop"
    for name in ("data/train.csv", "data/test.csv", "models/model.pkl"):
        (root / name).write_text("x\n")
    assert not {"data/train.csv", "data/test.csv", "models/model.pkl"} & changed(root)
