"""Which CI system a process runs in, and what a fork is not given."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rondel.ci import detect, restrict
from rondel.settings import load_settings

if TYPE_CHECKING:
    from pathlib import Path

GITLAB = {
    "CI": "true",
    "GITLAB_CI": "true",
    "CI_JOB_URL": "https://gitlab.example/p/-/jobs/7",
    "CI_JOB_NAME": "pipeline",
    "CI_SERVER_URL": "https://gitlab.example",
    "CI_PROJECT_ID": "42",
    "CI_COMMIT_BRANCH": "main",
    "CI_DEFAULT_BRANCH": "main",
}
MERGE_REQUEST = {
    **{name: value for name, value in GITLAB.items() if name != "CI_COMMIT_BRANCH"},
    "CI_MERGE_REQUEST_IID": "5",
    "CI_MERGE_REQUEST_SOURCE_BRANCH_NAME": "topic",
    "CI_MERGE_REQUEST_PROJECT_ID": "42",
    "CI_MERGE_REQUEST_SOURCE_PROJECT_ID": "42",
}
FORK = {**MERGE_REQUEST, "CI_MERGE_REQUEST_SOURCE_PROJECT_ID": "99"}
JENKINS = {"CI": "true", "JENKINS_URL": "http://j/", "BUILD_URL": "http://j/job/p/1/", "JOB_NAME": "p"}


@pytest.mark.parametrize(
    ("environ", "address"),
    [
        (GITLAB, "https://gitlab.example/p/-/jobs/7/artifacts/file/.rondel/reports/report.html"),
        (JENKINS, "http://j/job/p/1/artifact/.rondel/reports/report.html"),
        ({"GITHUB_ACTIONS": "true"}, None),
    ],
)
def test_a_file_that_the_job_keeps_has_an_address(environ: dict[str, str], address: str | None) -> None:
    found = detect(environ)
    assert found is not None
    assert found.artifact(".rondel/reports/report.html") == address


def test_a_laptop_is_no_ci() -> None:
    assert detect({"HOME": "/home/mira", "CI": "false", "GITLAB_CI": "false"}) is None


def test_gitlab_is_told_with_its_branch() -> None:
    found = detect(GITLAB)
    assert found is not None
    assert (found.provider, found.branch, found.fork, found.merge_request) == ("gitlab", "main", False, None)
    assert (found.server, found.project, found.name) == ("https://gitlab.example", "42", "pipeline")


def test_a_merge_request_has_its_source_branch() -> None:
    found = detect(MERGE_REQUEST)
    assert found is not None
    assert (found.branch, found.fork, found.merge_request) == ("topic", False, 5)


def test_a_fork_has_no_branch_to_push_to() -> None:
    for environ in (FORK, {**JENKINS, "CHANGE_FORK": "somebody", "CHANGE_ID": "3", "CHANGE_BRANCH": "main"}):
        found = detect(environ)
        assert found is not None
        assert found.fork
        assert found.branch is None


@pytest.mark.parametrize(
    ("extra", "branch"),
    [
        ({"BRANCH_NAME": "main"}, "main"),
        ({"GIT_BRANCH": "origin/main"}, "main"),
        ({"BRANCH_NAME": "PR-3", "CHANGE_BRANCH": "topic", "CHANGE_ID": "3"}, "topic"),
        ({"BRANCH_NAME": "v1", "TAG_NAME": "v1"}, None),
        ({}, None),
    ],
)
def test_jenkins_has_many_names_for_a_branch(extra: dict[str, str], branch: str | None) -> None:
    found = detect({**JENKINS, **extra})
    assert found is not None
    assert (found.provider, found.branch) == ("jenkins", branch)


def test_other_systems_are_ci_all_the_same() -> None:
    found = detect({"CI": "woodpecker"})
    assert found is not None
    assert found.provider == "other"
    found = detect({"GITHUB_ACTIONS": "true", "GITHUB_REF_NAME": "main", "GITHUB_REF_TYPE": "branch"})
    assert found is not None
    assert (found.provider, found.branch) == ("github", "main")


def test_a_fork_gets_no_secrets_and_pushes_nothing(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.rondel]\nsecrets = ["API"]\n')
    environ = {
        **FORK,
        "API": "value",
        "AWS_SECRET_ACCESS_KEY": "key",
        "MLFLOW_TRACKING_URI": "https://mlflow.example",
        "RONDEL_COMMIT": "1",
        "PATH": "/bin",
        "DAGGER_SESSION_TOKEN": "t",
    }
    settings = load_settings(tmp_path, {"push": True, "approve_by": "me"}, environ)
    restricted, gone = restrict(settings, detect(environ), environ)
    assert restricted.secrets == ()
    assert (restricted.push, restricted.commit, restricted.approve_by) == (False, False, None)
    assert restricted.tracking_uri is None
    assert gone == {"API", "AWS_SECRET_ACCESS_KEY", "MLFLOW_TRACKING_URI"}


def test_the_teams_own_jobs_keep_what_they_have(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.rondel]\nsecrets = ["API"]\n')
    settings = load_settings(tmp_path, {}, {})
    for environ in (GITLAB, MERGE_REQUEST, JENKINS):
        restricted, gone = restrict(settings, detect(environ), {**environ, "API": "value"})
        assert restricted.secrets == ("API",)
        assert restricted.ci
        assert gone == frozenset()
