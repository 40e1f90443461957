"""Jenkins.

Variables: https://www.jenkins.io/doc/book/pipeline/jenkinsfile/#using-environment-variables,
for ``CHANGE_…`` the branch source plugins, for ``BUILD_USER…`` the plugin Build User Vars.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rondel.ci.model import CiContext, first, is_yes, number, person
from rondel.ci.provider import CapsuleSource, Provider
from rondel.ci.providers.jenkins.capsules import BUILD_PAGE, fetch_build
from rondel.ci.providers.jenkins.wrapper import render
from rondel.ci.wrappers.wrapper import Wrapper

if TYPE_CHECKING:
    from collections.abc import Mapping

_BUILD = ("BUILD_ID", "BUILD_NUMBER", "BUILD_URL", "JOB_NAME")


def _detect(environ: Mapping[str, str]) -> CiContext | None:
    # People set JENKINS_URL on their machines, too, as the server that `rondel reproduce` logs in to.
    build = is_yes(environ.get("CI")) or first(environ, *_BUILD)
    if not build or not first(environ, "JENKINS_URL", "JENKINS_HOME"):
        return None
    fork = bool(environ.get("CHANGE_FORK"))
    ref = first(environ, "CHANGE_BRANCH", "BRANCH_NAME", "GIT_BRANCH")
    ref = (ref or "").removeprefix("origin/") or None
    return CiContext(
        provider="jenkins",
        url=environ.get("BUILD_URL"),
        id=environ.get("BUILD_ID"),
        name=environ.get("JOB_NAME"),
        server=environ.get("JENKINS_URL"),
        ref=ref,
        branch=None if fork or environ.get("TAG_NAME") else ref,
        merge_request=number(environ.get("CHANGE_ID")),
        fork=fork,
        started_by=first(environ, "BUILD_USER_ID", "CHANGE_AUTHOR"),
        author=person(environ.get("BUILD_USER"), environ.get("BUILD_USER_EMAIL")),
    )


def _artifact(context: CiContext, path: str) -> str | None:
    return f"{context.url.rstrip('/')}/artifact/{path}" if context.url else None


PROVIDER = Provider(
    name="jenkins",
    title="Jenkins",
    detect=_detect,
    wrapper=Wrapper(name="jenkins", path="Jenkinsfile", comment="//", render=render, together=False),
    artifact=_artifact,
    capsules=CapsuleSource(page=BUILD_PAGE, fetch=fetch_build),
)
