"""Which CI system a process runs in, and what a fork does not get."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rondel.ci.providers import detect, provider_of
from rondel.ci.trust import restrict
from rondel.cli.frontend import open_frontend
from rondel.record import CiJob
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
    artifact = provider_of(found).artifact
    assert (artifact(found, ".rondel/reports/report.html") if artifact else None) == address


@pytest.mark.parametrize(
    ("environ", "system"),
    [
        ({"HOME": "/home/mira"}, None),
        ({"CI": ""}, None),
        ({"CI": "0"}, None),
        ({"CI": "off"}, None),
        ({"CI": "true"}, "other"),
        ({"CI": "woodpecker"}, "other"),
        ({"GITLAB_CI": "false"}, None),
        ({"GITLAB_CI": "false", "CI": "false"}, None),
        ({"GITLAB_CI": "false", "CI": "true"}, "other"),
        ({"GITLAB_CI": "true"}, "gitlab"),
        ({"GITLAB_CI": "true", "CI": "0"}, "gitlab"),
        ({"GITHUB_ACTIONS": "true"}, "github"),
        ({"GITHUB_ACTIONS": "false"}, None),
        ({"JENKINS_HOME": "/var/jenkins_home", "BUILD_ID": "7"}, "jenkins"),
        ({"JENKINS_URL": "http://j/", "JOB_NAME": "p"}, "jenkins"),
        ({"JENKINS_URL": "http://j/", "CI": "true"}, "jenkins"),
        # A laptop, where these say which server `rondel reproduce` logs in to.
        ({"JENKINS_URL": "http://j/", "GITLAB_URL": "https://g/"}, None),
        ({"JENKINS_URL": "http://j/", "CI": "0"}, None),
        ({"BUILD_ID": "7", "JOB_NAME": "p"}, None),
    ],
)
def test_all_parts_of_a_run_have_one_answer(
    tmp_path: Path, environ: dict[str, str], system: str | None
) -> None:
    """The frontend, the settings, and the job in the capsule, which the run's request carries."""
    context = open_frontend(tmp_path, environ).context
    settings, _ = restrict(load_settings(tmp_path, {}, environ), context, environ)
    assert settings.ci is (system is not None)
    assert (context.recorded().provider if context is not None else None) == system
    assert context == detect(environ)


@pytest.mark.parametrize(
    ("environ", "ref", "branch"),
    [
        (GITLAB, "main", "main"),
        (MERGE_REQUEST, "topic", "topic"),
        (FORK, "topic", None),
        ({"GITLAB_CI": "true", "CI_COMMIT_REF_NAME": "v1", "CI_COMMIT_TAG": "v1"}, "v1", None),
        ({**JENKINS, "BRANCH_NAME": "PR-3", "CHANGE_BRANCH": "topic", "CHANGE_ID": "3"}, "topic", "topic"),
        ({**JENKINS, "CHANGE_BRANCH": "topic", "CHANGE_FORK": "ann", "CHANGE_ID": "3"}, "topic", None),
        ({**JENKINS, "GIT_BRANCH": "origin/main"}, "main", "main"),
        ({**JENKINS, "BRANCH_NAME": "v1", "TAG_NAME": "v1"}, "v1", None),
        (JENKINS, None, None),
        # Variables of a branch that some other program left in the environment of a GitLab job.
        ({**MERGE_REQUEST, "GIT_BRANCH": "origin/x", "BRANCH_NAME": "y"}, "topic", "topic"),
        (
            {"GITHUB_ACTIONS": "true", "GITHUB_REF_NAME": "5/merge", "GITHUB_HEAD_REF": "topic"},
            "topic",
            "topic",
        ),
        ({"GITHUB_ACTIONS": "true", "GITHUB_REF_NAME": "v1", "GITHUB_REF_TYPE": "tag"}, "v1", None),
        ({"CI": "true", "BRANCH_NAME": "main"}, "main", "main"),
    ],
)
def test_a_job_has_the_branch_of_its_code_and_one_that_it_may_push_to(
    environ: dict[str, str], ref: str | None, branch: str | None
) -> None:
    found = detect(environ)
    assert found is not None
    assert (found.ref, found.branch) == (ref, branch)


def test_a_capsule_has_the_jobs_page_number_and_name() -> None:
    found = detect({**GITLAB, "CI_JOB_ID": "7"})
    assert found is not None
    assert found.recorded() == CiJob(provider="gitlab", url=GITLAB["CI_JOB_URL"], id="7", name="pipeline")
    found = detect({**JENKINS, "BUILD_ID": "1"})
    assert found is not None
    assert found.recorded() == CiJob(provider="jenkins", url=JENKINS["BUILD_URL"], id="1", name="p")


@pytest.mark.parametrize(
    ("environ", "started_by", "author"),
    [
        (
            {
                "GITLAB_CI": "1",
                "GITLAB_USER_LOGIN": "ann",
                "GITLAB_USER_NAME": "Ann",
                "GITLAB_USER_EMAIL": "a@b.c",
            },
            "ann",
            "Ann <a@b.c>",
        ),
        ({**JENKINS, "BUILD_USER_ID": "bob", "BUILD_USER": "Bob"}, "bob", "Bob <rondel@localhost>"),
        ({**JENKINS, "CHANGE_AUTHOR": "cleo"}, "cleo", None),
        ({**GITLAB, "BUILD_USER": "Bob"}, None, None),
    ],
)
def test_a_job_has_the_person_who_started_it(
    environ: dict[str, str], started_by: str | None, author: str | None
) -> None:
    found = detect(environ)
    assert found is not None
    assert (found.started_by, found.author) == (started_by, author)


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
