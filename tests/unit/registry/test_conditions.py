"""The conditions of a promotion: what can't be checked is not met."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rondel.errors import TrackingUnavailable
from rondel.registry.champion import local_champion_version
from rondel.registry.lineage import Lineage
from rondel.registry.project_lineage import commit_problem
from rondel.registry.promote import conditions_of
from rondel.registry.versions import ModelVersion
from rondel.tracking.server_state import ServerFolder

if TYPE_CHECKING:
    from pathlib import Path

UNKNOWN = "0" * 40


def version(commit: str) -> ModelVersion:
    lineage = Lineage(
        run="r", git_commit=commit, image="sha256:abc", gate="passed", outputs={"model.bin": "sha256:1"}
    )
    return ModelVersion(model="m", version="1", tags=lineage.tags())


def test_a_commit_that_is_here_meets_its_condition(project_root, git) -> None:
    commit = git("rev-parse", "HEAD").strip()
    assert commit_problem(project_root, commit) == ""
    assert conditions_of(version(commit), root=project_root, environ={}) == []


def test_a_commit_that_is_not_here_does_not(project_root, git) -> None:
    assert conditions_of(version(UNKNOWN), root=project_root, environ={}) == [
        "its commit 000000000000 is not in this repository: fetch it first"
    ]


def test_a_checkout_of_another_user_is_asked_like_any_other(project_root, git, monkeypatch) -> None:
    commit = git("rev-parse", "HEAD").strip()
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    assert conditions_of(version(commit), root=project_root, environ={}) == []
    assert conditions_of(version(UNKNOWN), root=project_root, environ={}) == [
        "its commit 000000000000 is not in this repository: fetch it first"
    ]


def test_a_commit_that_cannot_be_checked_is_not_met(tmp_path: Path, monkeypatch) -> None:
    (found,) = conditions_of(version(UNKNOWN), root=tmp_path, environ={})
    assert found.startswith(f"its commit 000000000000 can't be checked in {tmp_path}: not a git repository")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert conditions_of(version(UNKNOWN), root=tmp_path, environ={}) == [
        "its commit 000000000000 can't be checked: git is not installed here"
    ]


def test_a_broken_repository_is_not_met(project_root, git) -> None:
    commit = git("rev-parse", "HEAD").strip()
    (project_root / ".git/HEAD").unlink()
    (found,) = conditions_of(version(commit), root=project_root, environ={})
    assert "can't be checked" in found


def test_a_database_that_cannot_be_read_is_not_no_champion(tmp_path: Path) -> None:
    folder = ServerFolder.of(tmp_path)
    assert local_champion_version(folder, "m", "champion") is None
    folder.database.parent.mkdir(parents=True, exist_ok=True)
    folder.database.symlink_to(folder.database.name)
    with pytest.raises(TrackingUnavailable, match="cannot read"):
        local_champion_version(folder, "m", "champion")
