"""GitLab CI/CD.

Variables: https://docs.gitlab.com/ci/variables/predefined_variables/
Push options: https://docs.gitlab.com/topics/git/commit/#push-options
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rondel.ci.model import CiContext, first, is_yes, number, person
from rondel.ci.provider import CapsuleSource, CommitPush, Notes, Provider
from rondel.ci.providers.gitlab.capsules import JOB_PAGE, fetch_job
from rondel.ci.providers.gitlab.console import gitlab_console
from rondel.ci.providers.gitlab.note import LONGEST, TOKENS, write_note
from rondel.ci.providers.gitlab.wrapper import check_stages, render
from rondel.ci.wrappers.wrapper import Wrapper

if TYPE_CHECKING:
    from collections.abc import Mapping


def _detect(environ: Mapping[str, str]) -> CiContext | None:
    if not is_yes(environ.get("GITLAB_CI")):
        return None
    source = environ.get("CI_MERGE_REQUEST_SOURCE_PROJECT_ID")
    target = first(environ, "CI_MERGE_REQUEST_PROJECT_ID", "CI_PROJECT_ID")
    fork = bool(source) and source != target
    branch = first(environ, "CI_MERGE_REQUEST_SOURCE_BRANCH_NAME", "CI_COMMIT_BRANCH")
    return CiContext(
        provider="gitlab",
        url=environ.get("CI_JOB_URL"),
        id=environ.get("CI_JOB_ID"),
        name=environ.get("CI_JOB_NAME"),
        server=environ.get("CI_SERVER_URL"),
        project=environ.get("CI_PROJECT_ID"),
        ref=branch or first(environ, "CI_COMMIT_REF_NAME"),
        branch=None if fork else branch,
        default_branch=environ.get("CI_DEFAULT_BRANCH"),
        merge_request=number(environ.get("CI_MERGE_REQUEST_IID")),
        fork=fork,
        started_by=first(environ, "GITLAB_USER_LOGIN"),
        author=person(environ.get("GITLAB_USER_NAME"), environ.get("GITLAB_USER_EMAIL")),
    )


def _artifact(context: CiContext, path: str) -> str | None:
    return f"{context.url}/artifacts/file/{path}" if context.url else None


def _push_url(environ: Mapping[str, str]) -> str | None:
    """The address of GitLab's checkout contains the job's own token, which may not push."""
    project = environ.get("CI_PROJECT_URL")
    return f"{project}.git" if project else None


def _push_options(branch: str, title: str) -> tuple[str, ...]:
    return (
        "merge_request.create",
        f"merge_request.target={branch}",
        f"merge_request.title={title}",
        "merge_request.remove_source_branch",
    )


PROVIDER = Provider(
    name="gitlab",
    title="GitLab",
    detect=_detect,
    wrapper=Wrapper(
        name="gitlab",
        path=".gitlab-ci.yml",
        comment="#",
        render=render,
        together=True,
        check_shared=check_stages,
    ),
    console=gitlab_console,
    artifact=_artifact,
    notes=Notes(tokens=TOKENS, limit=LONGEST, write=write_note),
    push=CommitPush(
        url=_push_url,
        options=_push_options,
        without_token="GitLab's own token may not push unless the project allows it",  # noqa: S106
    ),
    capsules=CapsuleSource(page=JOB_PAGE, fetch=fetch_job),
    tokens=(*TOKENS, "CI_JOB_TOKEN"),
)
