"""A project as it is published, from `rondel init` on: evaluated, and evaluated again without doing anything."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from public_projects import DVC, commit, copy_project, run

from rondel.record import load

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.container, pytest.mark.network]

STAGES = ["prepare", "featurize", "train", "evaluate"]


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    project = copy_project("get-started", tmp_path)
    yield project
    run(project, "rondel", "ui", "--stop")


def states(root: Path) -> dict[str, str]:
    return {record.name: record.state for record in load(root)[1].stages}


def test_a_get_started_project_is_evaluated_and_then_cached(root: Path) -> None:
    run(root, "rondel", "init")
    # Images need a DVC of their own yet.
    with (root / "requirements.txt").open("a") as file:
        file.write("dvc>=3.60\ndvc-webdav>=3\n")
    commit(root, "A pipeline")
    run(root, DVC, "push")
    done = run(root, "python", "ci/main.py", "evaluate")
    assert set(states(root)) == set(STAGES), done.stdout
    assert set(states(root).values()) <= {"ran", "restored"}
    metrics = json.loads((root / "eval/metrics.json").read_text())
    assert metrics["accuracy"] == pytest.approx(38 / 60)
    commit(root, "Results")
    run(root, "python", "ci/main.py", "evaluate")
    assert states(root) == dict.fromkeys(STAGES, "cached")
    assert run(root, "git", "status", "--porcelain").stdout == ""
