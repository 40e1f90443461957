"""What cannot be given back to git is refused before anything starts."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from rondel.ci import CiContext
from rondel.ci.giving import check_result_commit
from rondel.errors import ConfigurationError
from rondel.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path


def git(root: Path, *words: str) -> None:
    command = ["git", "-c", "user.name=T", "-c", "user.email=t@example.org", *words]
    subprocess.run(command, cwd=root, check=True, capture_output=True)


def test_a_run_whose_results_have_no_place_in_git_does_not_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (
        "CI_COMMIT_BRANCH",
        "CI_COMMIT_REF_NAME",
        "CHANGE_BRANCH",
        "BRANCH_NAME",
        "GIT_BRANCH",
        "GITHUB_REF_NAME",
    ):
        monkeypatch.delenv(name, raising=False)
    asked = Settings(root=tmp_path, commit=True)
    with pytest.raises(ConfigurationError, match="no git repository here"):
        check_result_commit(asked, None)
    check_result_commit(Settings(root=tmp_path), None)

    git(tmp_path, "init", "-q")
    git(tmp_path, "commit", "-q", "--allow-empty", "-m", "one")
    check_result_commit(asked, None)
    git(tmp_path, "checkout", "-q", "--detach")
    with pytest.raises(ConfigurationError, match="no branch is checked out"):
        check_result_commit(asked, None)
    with pytest.raises(ConfigurationError, match="this job is for no branch"):
        check_result_commit(asked, CiContext(provider="gitlab"))
    monkeypatch.setenv("CI_COMMIT_REF_NAME", "v1.0")
    with pytest.raises(ConfigurationError, match="this job is for no branch"):
        check_result_commit(asked, CiContext(provider="gitlab"))  # a tag's
    check_result_commit(asked, CiContext(provider="other"))
    check_result_commit(asked, CiContext(provider="gitlab", branch="main"))
    with pytest.raises(ConfigurationError, match="--no-push forbids it"):
        check_result_commit(Settings(root=tmp_path, commit=True, push=False), None)
