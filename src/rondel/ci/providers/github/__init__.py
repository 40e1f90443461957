"""GitHub Actions: detection only.

Variables: https://docs.github.com/en/actions/reference/workflows-and-actions/variables
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rondel.ci.model import CiContext, first, is_yes
from rondel.ci.provider import Provider

if TYPE_CHECKING:
    from collections.abc import Mapping


def _detect(environ: Mapping[str, str]) -> CiContext | None:
    if not is_yes(environ.get("GITHUB_ACTIONS")):
        return None
    # Only the event's file says whether a pull request comes from a fork. GitHub itself
    # gives such jobs neither secrets nor a token that may write.
    tag = environ.get("GITHUB_REF_TYPE") == "tag"
    server, repository = environ.get("GITHUB_SERVER_URL"), environ.get("GITHUB_REPOSITORY")
    run = environ.get("GITHUB_RUN_ID")
    # In a pull request GITHUB_REF_NAME is NUMBER/merge.
    ref = first(environ, "GITHUB_HEAD_REF", "GITHUB_REF_NAME")
    return CiContext(
        provider="github",
        url=f"{server}/{repository}/actions/runs/{run}" if server and repository and run else None,
        id=run,
        name=environ.get("GITHUB_JOB"),
        server=server,
        project=repository,
        ref=ref,
        branch=None if tag else ref,
        started_by=first(environ, "GITHUB_ACTOR"),
    )


PROVIDER = Provider(name="github", title="GitHub", detect=_detect)
