"""A project as it is published, from `rondel init` on: evaluated, and evaluated again without doing anything."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from public_projects import DVC, commit, copy_project, run

from rondel.record import load

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = [pytest.mark.container, pytest.mark.network]


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """A copy with what `rondel init` wrote, committed; its MLflow server ends with the test."""
    made: list[Path] = []

    def make(name: str) -> Path:
        root = copy_project(name, tmp_path)
        made.append(root)
        run(root, "rondel", "init")
        if (root / "dvc.yaml").exists() or name == "monorepo":
            # Images need a DVC of their own yet.
            with (root / "requirements.txt").open("a") as file:
                file.write("dvc>=3.60\ndvc-webdav>=3\n")
            run(root, DVC, "push")
        commit(root, "A pipeline")
        return root

    yield make
    for root in made:
        run(root, "rondel", "ui", "--stop")


def states(root: Path) -> dict[str, str]:
    return {record.name: record.state for record in load(root)[1].stages}


@pytest.mark.parametrize(
    ("name", "goal", "stages", "metrics", "accuracy"),
    [
        (
            "get-started",
            "evaluate",
            ["prepare", "featurize", "train", "evaluate"],
            "eval/metrics.json",
            38 / 60,
        ),
        (
            "monorepo",
            "nlp/evaluate",
            ["nlp/prepare", "nlp/train", "nlp/evaluate"],
            "nlp/metrics.json",
            175 / 240,
        ),
    ],
)
def test_a_dvc_project_is_evaluated_and_then_cached(
    project: Callable[[str], Path], name: str, goal: str, stages: list[str], metrics: str, accuracy: float
) -> None:
    root = project(name)
    done = run(root, "python", "ci/main.py", goal)
    assert set(states(root)) == set(stages), done.stdout
    assert set(states(root).values()) <= {"ran", "restored"}
    assert json.loads((root / metrics).read_text())["accuracy"] == pytest.approx(accuracy)
    commit(root, "Results")
    run(root, "python", "ci/main.py", goal)
    assert states(root) == dict.fromkeys(stages, "cached")
    assert run(root, "git", "status", "--porcelain").stdout == ""


def test_an_mlproject_logs_its_run_and_is_then_cached(project: Callable[[str], Path]) -> None:
    root = project("mlproject-conda")
    done = run(root, "python", "ci/main.py", "main")
    assert states(root) == {"main": "ran"}, done.stdout
    run(root, "python", "ci/main.py", "main")
    assert states(root) == {"main": "cached"}
    run(root, "python", "ci/main.py", "main", "-P", "main.noise=0.1")
    folder, capsule = load(root)
    assert capsule.stage("main").state == "ran"
    assert "slope 2.0" in folder.log("main").read_text()
