"""The variables about the code that a stage runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rondel.environment.repository import git_variables
from rondel.record import MlflowRun, Run

if TYPE_CHECKING:
    import pytest

RUN: dict[str, Any] = {"id": "r1", "root": Path("/p"), "folder": Path("/p/.rondel/runs/r1"), "created": "now"}


def test_commit_branch_and_changes_are_variables() -> None:
    found = git_variables(Run(**RUN, git_commit="c0ffee", git_branch="main", git_dirty=True))
    assert found["RONDEL_GIT_COMMIT"] == "c0ffee"
    assert found["RONDEL_GIT_BRANCH"] == "main"
    assert found["RONDEL_GIT_DIRTY"] == "1"
    assert git_variables(Run(**RUN, git_commit="c0ffee"))["RONDEL_GIT_DIRTY"] == "0"


def test_unknown_facts_are_not_set() -> None:
    found = git_variables(Run(**RUN))
    assert not [name for name in found if name.startswith("RONDEL_")]
    assert json.loads(found["MLFLOW_RUN_CONTEXT"]) == {"rondel.run": "r1"}


def test_runs_that_a_program_starts_get_mlflows_tags(monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow.tracking.context.registry import resolve_tags

    run = Run(**RUN, git_commit="c0ffee", git_branch="main", git_remote="https://git.example.org/a")
    monkeypatch.setenv("MLFLOW_RUN_CONTEXT", git_variables(run)["MLFLOW_RUN_CONTEXT"])
    tags = resolve_tags()
    assert tags["mlflow.source.git.commit"] == "c0ffee"
    assert tags["mlflow.source.git.branch"] == "main"
    assert "mlflow.parentRunId" not in tags
    assert tags["mlflow.source.git.repoURL"] == "https://git.example.org/a"


def test_further_runs_are_nested_in_the_stages_run() -> None:
    found = git_variables(Run(**RUN), MlflowRun(run_id="abc"))
    assert json.loads(found["MLFLOW_RUN_CONTEXT"])["mlflow.parentRunId"] == "abc"
