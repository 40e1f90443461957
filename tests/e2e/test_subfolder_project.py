"""A project with its own `.dvc` in a folder of a repository: its runs, its record, and its repetition."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from lineage.project import PYTHON, Project

from rondel.record import load

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.container

FILES = {
    "Containerfile": f"FROM python:{PYTHON}-slim AS stage\n",
    "pyproject.toml": '[tool.rondel]\nname = "nlp"\ntarget = "stage"\n',
    "params.yaml": "rate: 1\n",
    "train.sh": "grep -o '[0-9.]*' params.yaml > model.txt\necho '{\"rate\": '$(cat model.txt)'}' > metrics.json\n",
    "dvc.yaml": """\
stages:
  train:
    cmd: sh train.sh
    deps: [train.sh]
    params: [rate]
    outs: [model.txt]
    metrics: [metrics.json: {cache: false}]
""",
    "ci/main.py": """\
from rondel import Pipeline

pipeline = Pipeline()
train = pipeline.dvc("train")

if __name__ == "__main__":
    pipeline.main()
""",
    ".gitignore": "/.rondel/\n",
}


@pytest.fixture
def project(tmp_path: Path, team_server: str) -> Project:
    root = tmp_path / "repository/models/nlp"
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    (tmp_path / "repository/README.md").write_text("of all models\n")
    project = Project(root, {"MLFLOW_TRACKING_URI": team_server}, target="train")
    project.git("init", "-q", "-b", "main", str(tmp_path / "repository"))
    project.dvc("init", "-q", "--subdir")
    project.git("add", "-A", str(tmp_path / "repository"))
    project.git("commit", "-qm", "one")
    return project


def test_a_run_in_a_sub_folder_is_recorded_with_it_and_can_be_repeated(project: Project) -> None:
    # What is changed outside of the project's folder is part of the diff, too.
    (project.root.parents[1] / "README.md").write_text("of some models\n")
    project.edit("params.yaml", "1", "2")
    project.run()
    _, capsule = load(project.root)
    assert capsule.git.prefix == "models/nlp"
    assert (project.root / ".gitignore").read_text() == "/.rondel/\n/model.txt\n"
    assert json.loads((project.root / "metrics.json").read_text()) == {"rate": 2}
    project.git("checkout", "-q", "--", str(project.root.parents[1]))
    done = project.done("rondel", "reproduce", capsule.id)
    assert "same" in done.stdout + done.stderr, done.stdout + done.stderr
    project.run()
    assert load(project.root)[1].stage("train").metrics == {"rate": 1}


def test_the_pipeline_finds_its_project_from_anywhere_below_it(project: Project) -> None:
    project.run()
    project.start = "ci"
    project.run()
    assert load(project.root)[1].stage("train").state == "cached"
