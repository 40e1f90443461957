"""What a fork's code does not get.

GitLab and Jenkins keep protected variables from forks by themselves. This is
for the variables that somebody forgot to protect, and for a member who starts
the pipeline of a fork in the project's own name.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from rondel.secrets.names import withheld_from_forks

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rondel.ci.detect import CiContext
    from rondel.settings import Settings


def restrict(
    settings: Settings, context: CiContext | None, environ: Mapping[str, str]
) -> tuple[Settings, frozenset[str]]:
    """The settings as this job may have them, and the variables that it must not see.

    A fork's run has no secrets, pushes nothing, commits nothing, and keeps its
    MLflow runs to itself.
    """
    if context is None:
        return settings, frozenset()
    settings = replace(settings, ci=True)
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
