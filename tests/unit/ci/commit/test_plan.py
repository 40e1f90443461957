"""``--commit`` refuses before anything starts if the results could not be committed."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from rondel.ci.commit.plan import check_commit
from rondel.ci.model import CiContext
from rondel.ci.providers import detect
from rondel.errors import ConfigurationError
from rondel.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path


def git(root: Path, *words: str) -> None:
    command = ["git", "-c", "user.name=T", "-c", "user.email=t@example.org", *words]
    subprocess.run(command, cwd=root, check=True, capture_output=True)


def test_a_run_whose_results_could_not_be_committed_does_not_start(tmp_path: Path) -> None:
    asked = Settings(root=tmp_path, commit=True)
    with pytest.raises(ConfigurationError, match="no git repository here"):
        check_commit(asked, None)
    check_commit(Settings(root=tmp_path), None)

    git(tmp_path, "init", "-q")
    git(tmp_path, "commit", "-q", "--allow-empty", "-m", "one")
    check_commit(asked, None)
    git(tmp_path, "checkout", "-q", "--detach")
    with pytest.raises(ConfigurationError, match="no branch is checked out"):
        check_commit(asked, None)
    tag = detect({"GITLAB_CI": "true", "CI_COMMIT_REF_NAME": "v1.0", "CI_COMMIT_TAG": "v1.0"})
    for job in (tag, CiContext(provider="gitlab"), CiContext(provider="other")):
        with pytest.raises(ConfigurationError, match="this job runs for no branch"):
            check_commit(asked, job)
    check_commit(asked, detect({"CI": "true", "CI_COMMIT_REF_NAME": "main"}))
    check_commit(asked, CiContext(provider="gitlab", branch="main"))
    with pytest.raises(ConfigurationError, match="--no-push forbids it"):
        check_commit(Settings(root=tmp_path, commit=True, push=False), None)


def test_a_tags_name_is_not_taken_for_a_branch_though_it_is_checked_out_as_one(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "-b", "v1.0")
    git(tmp_path, "commit", "-q", "--allow-empty", "-m", "one")
    asked = Settings(root=tmp_path, commit=True)
    job = {"CI": "true", "JENKINS_URL": "http://j/", "TAG_NAME": "v1.0", "BRANCH_NAME": "v1.0"}
    with pytest.raises(ConfigurationError, match="this job runs for no branch"):
        check_commit(asked, detect(job))
    check_commit(asked, detect({"CI": "true"}))  # nothing is known of this system but the checkout
