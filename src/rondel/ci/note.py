"""The run's report as a note on the merge request that the job is for.

A job has one note. Later pipelines of the merge request rewrite it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from rondel.ci.model import first
from rondel.ci.providers import provider_of
from rondel.secrets.masker import Masker

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rondel.ci.model import CiContext


def marker(context: CiContext) -> str:
    """The first line of the job's note, an HTML comment."""
    return f"<!-- rondel: {re.sub('-+', '-', context.name or 'job')} -->"


def no_note(context: CiContext | None, environ: Mapping[str, str]) -> str:
    """Why a run of this job writes no note; empty if it writes one."""
    if context is None:
        return "this is no CI job"
    provider = provider_of(context)
    if provider.notes is None:
        return f"Rondel writes no notes on {provider.title}"
    if context.merge_request is None:
        return "this job runs for no merge request"
    if context.fork:
        return "a fork's code gets no token"
    if first(environ, *provider.notes.tokens) is None:
        return f"{provider.notes.tokens[0]} is not set"
    return ""


def post_note(context: CiContext, environ: Mapping[str, str], report: str) -> str | None:
    """Write the note and return what happened; None if the job writes none.

    Never raises: a note that can't be written must not fail the job.
    """
    notes = provider_of(context).notes
    if no_note(context, environ) or notes is None:
        return None
    token, sign = first(environ, *notes.tokens) or "", marker(context)
    try:
        return notes.write(context, token, sign, f"{sign}\n{report[: notes.limit]}")
    except ImportError as error:
        return f"no note on the merge request: {error.msg} (pip install 'rondel[ci]')"
    except Exception as error:  # noqa: BLE001 - the systems' clients raise whatever their libraries do
        reason = Masker([token]).text(str(error).splitlines()[0]) if str(error) else type(error).__name__
        return f"no note on the merge request: {reason}"
