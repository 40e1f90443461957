"""A CI system that Rondel has no provider for; it sets ``CI``, as nearly all do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rondel.ci.model import CiContext, first, is_yes
from rondel.ci.provider import Provider

if TYPE_CHECKING:
    from collections.abc import Mapping

_BRANCH = ("CI_COMMIT_REF_NAME", "CHANGE_BRANCH", "BRANCH_NAME", "GIT_BRANCH", "GITHUB_REF_NAME")
"""Variables that other systems took over from the well-known ones."""


def _detect(environ: Mapping[str, str]) -> CiContext | None:
    if not is_yes(environ.get("CI")):
        return None
    branch = (first(environ, *_BRANCH) or "").removeprefix("origin/") or None
    return CiContext(provider="other", ref=branch, branch=branch)


PROVIDER = Provider(name="other", title="a CI system", detect=_detect)
