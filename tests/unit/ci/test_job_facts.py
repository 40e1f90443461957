"""What a run in a job would push, in whose name, and which secrets it has."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import pytest

from rondel.ci.job_facts import JobFacts, job_facts
from rondel.ci.providers import detect
from rondel.settings import CiOptions, load_settings

if TYPE_CHECKING:
    from pathlib import Path

MAIN = {
    "CI": "true",
    "GITLAB_CI": "true",
    "CI_COMMIT_BRANCH": "main",
    "GITLAB_USER_LOGIN": "mira",
    "GITLAB_USER_NAME": "Mira",
    "GITLAB_USER_EMAIL": "m@example.org",
}
MERGE_REQUEST = {
    **{name: value for name, value in MAIN.items() if name != "CI_COMMIT_BRANCH"},
    "CI_MERGE_REQUEST_IID": "5",
    "CI_MERGE_REQUEST_SOURCE_BRANCH_NAME": "topic",
    "CI_MERGE_REQUEST_PROJECT_ID": "42",
    "CI_MERGE_REQUEST_SOURCE_PROJECT_ID": "42",
}
FORK = {**MERGE_REQUEST, "CI_MERGE_REQUEST_SOURCE_PROJECT_ID": "99"}
SECRETS = {
    "API_KEY": "value-of-the-key",
    "RONDEL_GIT_TOKEN": "value-of-the-git-token",
    "RONDEL_GITLAB_TOKEN": "value-of-the-gitlab-token",
    "MLFLOW_TRACKING_URI": "https://user:value-of-the-password@mlflow.example/x",
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "pyproject.toml").write_text('[tool.rondel]\nsecrets = ["API_KEY", "DB_PASSWORD"]\n')
    (tmp_path / ".dvc").mkdir()
    config = "[core]\n remote = team\n['remote \"team\"']\n url = https://user:value-of-it@dvc.example/d\n"
    (tmp_path / ".dvc" / "config").write_text(config)
    return tmp_path


def facts(root: Path, environ: dict[str, str]) -> JobFacts:
    return job_facts(load_settings(root, {}, environ), detect(environ), CiOptions(), environ)


def pushed(found: JobFacts) -> dict[str, tuple[bool, str]]:
    return {each.what: (each.does, each.where) for each in found.pushes}


def test_a_branchs_job_pushes_data_and_what_it_is_asked_to(root: Path) -> None:
    found = facts(root, {**MAIN, **SECRETS, "RONDEL_COMMIT": "1"})
    assert pushed(found) == {
        "data": (True, "https://dvc.example/d (remote 'team' of the DVC configuration)"),
        "commit": (True, "branch main"),
        "note": (False, ""),
        "mlflow": (True, "https://mlflow.example/x"),
    }
    assert found.identity.author == "Mira <m@example.org>"
    assert found.identity.started_by == "mira"
    assert found.identity.tokens == ("RONDEL_GIT_TOKEN", "RONDEL_GITLAB_TOKEN")


def test_nothing_is_committed_unasked(root: Path) -> None:
    commit = next(each for each in facts(root, MAIN).pushes if each.what == "commit")
    assert (commit.does, commit.wrong) == (False, False)
    assert "RONDEL_COMMIT=1" in commit.why


@pytest.mark.parametrize(
    ("extra", "why"),
    [
        ({"RONDEL_PUSH": "0"}, "the data is not pushed"),
        ({"CI_COMMIT_BRANCH": ""}, "this job runs for no branch"),
    ],
)
def test_a_commit_that_cannot_be_is_wrong(root: Path, extra: dict[str, str], why: str) -> None:
    found = facts(root, {**MAIN, "RONDEL_COMMIT": "1", **extra})
    commit = next(each for each in found.pushes if each.what == "commit")
    assert (commit.does, commit.wrong, commit.why) == (False, True, why)


def test_a_merge_request_gets_a_note_when_there_is_a_token(root: Path) -> None:
    assert pushed(facts(root, MERGE_REQUEST))["note"] == (False, "")
    assert pushed(facts(root, {**MERGE_REQUEST, **SECRETS}))["note"] == (True, "merge request 5")


def test_secrets_are_names_and_what_is_missing_is_named(root: Path) -> None:
    found = facts(root, {**MAIN, **SECRETS})
    assert found.secrets.given == ("API_KEY",)
    assert found.secrets.missing == ("DB_PASSWORD",)
    assert {"API_KEY", "RONDEL_GIT_TOKEN"} <= set(found.secrets.masked)
    assert "value-of" not in str(asdict(found))


def test_a_forks_job_pushes_nothing_and_is_told_what_it_does_not_get(root: Path) -> None:
    found = facts(root, {**FORK, **SECRETS, "RONDEL_COMMIT": "1", "RONDEL_PUSH": "1"})
    assert not any(each.does for each in found.pushes)
    assert found.secrets.given == ()
    assert found.secrets.missing == ()
    assert set(SECRETS) <= set(found.secrets.withheld)
    assert found.identity.tokens == ()


def test_a_remote_in_the_checkout_is_no_remote_for_others(root: Path) -> None:
    (root / ".dvc" / "config").write_text("")
    data = facts(root, MAIN).pushes[0]
    assert data.does
    assert "other runners do not see it" in data.why


def test_a_damaged_configuration_is_wrong_and_no_traceback(root: Path) -> None:
    (root / ".dvc" / "config").write_text("[core]\nremote = away\n")
    data = facts(root, {**MAIN, "MLFLOW_TRACKING_URI": "sqlite:///x.db"}).pushes
    assert [each.what for each in data if each.wrong] == ["data", "mlflow"]
