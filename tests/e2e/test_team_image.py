"""Stages in an image of a team's own that has neither DVC nor Python, as one of R, Julia or a compiler may."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from fakeregistry import FakeRegistry
from lineage.project import Project
from small_image import put_base

from rondel.record import load

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# Its registry is on this machine's loopback, without TLS: an engine elsewhere does not reach it.
pytestmark = [pytest.mark.container, pytest.mark.embedded]

FILES = {
    "pyproject.toml": '[tool.rondel]\nname = "team"\ntarget = "stage"\n',
    "dvc.yaml": """\
stages:
  prepare:
    cmd: cat data/raw.txt /release > prepared.txt
    deps: [data/raw.txt]
    outs: [prepared.txt]
  train:
    cmd: sh train.sh
    deps: [prepared.txt, train.sh]
    outs: [model.txt]
    metrics: [metrics.json: {cache: false}]
""",
    "train.sh": "cat prepared.txt params.yaml > model.txt\necho '{\"rate\": 1}' > metrics.json\n",
    "params.yaml": "# none\n",
    "data/raw.txt": "raw\n",
    "ci/main.py": """\
from rondel import Pipeline

pipeline = Pipeline()
prepare = pipeline.dvc("prepare")
train = pipeline.dvc("train", needs=[prepare])

if __name__ == "__main__":
    pipeline.main()
""",
    ".gitignore": "/.rondel/\n",
}


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    fake = FakeRegistry()
    yield fake
    fake.close()


@pytest.fixture
def project(tmp_path: Path, registry: FakeRegistry, team_server: str) -> Project:
    put_base(registry, f"of {tmp_path}\n")
    root = tmp_path / "project"
    for name, text in {**FILES, "Containerfile": f"FROM {registry.host}/base:1 AS stage\n"}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    project = Project(root, {"MLFLOW_TRACKING_URI": team_server}, target="train")
    project.git("init", "-q", "-b", "main")
    project.dvc("init", "-q")
    project.dvc("remote", "add", "-q", "-d", "team", str(tmp_path / "remote"))
    project.dvc("add", "-q", "data/raw.txt")
    project.git("add", "-A")
    project.git("commit", "-qm", "one")
    return project


def test_stages_run_in_an_image_with_a_shell_alone(project: Project, tmp_path: Path) -> None:
    project.run()
    _, capsule = load(project.root)
    assert {record.name: record.state for record in capsule.stages} == {"prepare": "ran", "train": "ran"}
    assert capsule.stage("train").metrics == {"rate": 1}
    # Nothing has been declared that was not read, and what was read beside it is told.
    assert capsule.stage("train").undeclared == ["params.yaml"]
    project.dvc("pull", "-q")
    assert (project.root / "model.txt").read_text() == f"raw\nof {tmp_path}\n# none\n"
    project.edit("train.sh", "1}", "2}")
    project.run()
    _, capsule = load(project.root)
    assert {record.name: record.state for record in capsule.stages} == {"prepare": "cached", "train": "ran"}
    assert capsule.stage("train").metrics == {"rate": 2}
    assert project.dvc("status") == "Data and pipelines are up to date.\n"
