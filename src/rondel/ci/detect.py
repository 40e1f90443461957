"""Which CI system this process runs in, from the variables that each documents.

GitLab: https://docs.gitlab.com/ci/variables/predefined_variables/
Jenkins: https://www.jenkins.io/doc/book/pipeline/jenkinsfile/#using-environment-variables
and for ``CHANGE_FORK`` the branch source plugins.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

Provider = Literal["gitlab", "jenkins", "github", "other"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CiContext:
    """The CI job around this process.

    ``fork``: the code comes from a fork, so that it gets no secrets and pushes
    nothing. ``branch`` is the branch that results may be committed to: None
    for tags and merge requests of forks. ``merge_request`` is its number in
    the ``project`` (GitLab's ID or path). ``url`` is the job's page.
    """

    provider: Provider
    url: str | None = None
    name: str | None = None
    server: str | None = None
    project: str | None = None
    branch: str | None = None
    default_branch: str | None = None
    merge_request: int | None = None
    fork: bool = False

    def artifact(self, path: str) -> str | None:
        """Where the CI system shows a file that the job keeps; None where that has no address of its own."""
        if not self.url:
            return None
        if self.provider == "gitlab":
            return f"{self.url}/artifacts/file/{path}"
        return f"{self.url.rstrip('/')}/artifact/{path}" if self.provider == "jenkins" else None


def detect(environ: Mapping[str, str]) -> CiContext | None:
    """The job that ``environ`` tells of; None outside of CI."""
    if _yes(environ.get("GITLAB_CI")):
        return _gitlab(environ)
    if environ.get("JENKINS_URL") or environ.get("JENKINS_HOME"):
        return _jenkins(environ)
    if _yes(environ.get("GITHUB_ACTIONS")):
        return _github(environ)
    if _yes(environ.get("CI")):
        return CiContext(provider="other")
    return None


def _yes(value: str | None) -> bool:
    return (value or "").strip().lower() not in {"", "0", "false", "no", "off"}


def _gitlab(environ: Mapping[str, str]) -> CiContext:
    source = environ.get("CI_MERGE_REQUEST_SOURCE_PROJECT_ID")
    target = environ.get("CI_MERGE_REQUEST_PROJECT_ID") or environ.get("CI_PROJECT_ID")
    fork = bool(source) and source != target
    branch = environ.get("CI_MERGE_REQUEST_SOURCE_BRANCH_NAME") or environ.get("CI_COMMIT_BRANCH")
    number = environ.get("CI_MERGE_REQUEST_IID", "")
    return CiContext(
        provider="gitlab",
        url=environ.get("CI_JOB_URL"),
        name=environ.get("CI_JOB_NAME"),
        server=environ.get("CI_SERVER_URL"),
        project=environ.get("CI_PROJECT_ID"),
        branch=None if fork else branch or None,
        default_branch=environ.get("CI_DEFAULT_BRANCH"),
        merge_request=int(number) if number.isdigit() else None,
        fork=fork,
    )


def _jenkins(environ: Mapping[str, str]) -> CiContext:
    fork = bool(environ.get("CHANGE_FORK"))
    branch = environ.get("CHANGE_BRANCH") or environ.get("BRANCH_NAME") or environ.get("GIT_BRANCH") or ""
    number = environ.get("CHANGE_ID", "")
    return CiContext(
        provider="jenkins",
        url=environ.get("BUILD_URL"),
        name=environ.get("JOB_NAME"),
        server=environ.get("JENKINS_URL"),
        branch=None if fork or environ.get("TAG_NAME") else branch.removeprefix("origin/") or None,
        merge_request=int(number) if number.isdigit() else None,
        fork=fork,
    )


def _github(environ: Mapping[str, str]) -> CiContext:
    # Whether a pull request is a fork's stands in the event's file only; GitHub itself
    # gives such jobs neither secrets nor a token that may write.
    tag = environ.get("GITHUB_REF_TYPE") == "tag"
    server, repository = environ.get("GITHUB_SERVER_URL"), environ.get("GITHUB_REPOSITORY")
    run = environ.get("GITHUB_RUN_ID")
    return CiContext(
        provider="github",
        url=f"{server}/{repository}/actions/runs/{run}" if server and repository and run else None,
        name=environ.get("GITHUB_JOB"),
        server=server,
        project=repository,
        branch=None if tag else environ.get("GITHUB_HEAD_REF") or environ.get("GITHUB_REF_NAME"),
    )
