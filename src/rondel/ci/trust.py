"""What a fork's code may not do, and which variables it does not get.

GitLab and Jenkins withhold protected variables from forks. This covers variables
that nobody protected, and a member who starts a fork's pipeline in the project.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from rondel.secrets.names import withheld_from_forks

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rondel.ci.model import CiContext
    from rondel.settings import Settings


def restrict(
    settings: Settings, context: CiContext | None, environ: Mapping[str, str]
) -> tuple[Settings, frozenset[str]]:
    """The settings that this job may use, and the variables that it must not see.

    A fork's run gets no secrets, pushes nothing, commits nothing, and starts its
    own MLflow server.
    """
    if context is None:
        return settings, frozenset()
    sources = {**settings.sources, "ci": f"a job of {context.provider}"}
    settings = replace(settings, ci=True, sources=sources)
    if not context.fork:
        return settings, frozenset()
    gone = withheld_from_forks(environ, settings.secrets)
    settings = replace(
        settings,
        secrets=(),
        push=False,
        commit=False,
        approve_by=None,
        tracking_uri=None,
        remote=None,
    )
    return settings, gone
