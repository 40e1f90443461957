"""The run's report as a note on the GitLab merge request that the pipeline is for.

The job's own token may not write notes, so a project access token with the
scope ``api`` is used, if there is one. A job has one note, which later
pipelines of the merge request rewrite.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from rondel.secrets.masker import Masker

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rondel.ci.detect import CiContext

TOKENS = ("RONDEL_GITLAB_TOKEN", "GITLAB_TOKEN")
LONGEST = 900_000
"""GitLab takes a million characters in a note."""
TIMEOUT = 10.0


def marker(context: CiContext) -> str:
    """An HTML comment by which the job's note is found again."""
    return f"<!-- rondel: {re.sub('-+', '-', context.name or 'job')} -->"


def no_note(context: CiContext | None, environ: Mapping[str, str]) -> str:
    """Why a run of this job writes no note; empty if it does."""
    if context is None or context.provider != "gitlab":
        return "only GitLab's merge requests get one"
    if context.merge_request is None:
        return "this pipeline is for no merge request"
    if context.fork:
        return "a fork's code gets no token"
    if not any(environ.get(name) for name in TOKENS):
        return f"no {TOKENS[0]} is set"
    return ""


def post_note(context: CiContext, environ: Mapping[str, str], report: str) -> str | None:
    """Write the note; what became of it in words, None where there is nothing to write to.

    Never raises: a note that could not be written is no reason to fail a job.
    """
    token = next((environ[name] for name in TOKENS if environ.get(name)), None)
    if no_note(context, environ) or not token:
        return None
    try:
        return _post(context, token, f"{marker(context)}\n{report[:LONGEST]}")
    except ImportError:
        return "no note on the merge request: python-gitlab is not installed (pip install 'rondel[ci]')"
    except Exception as error:  # noqa: BLE001 - requests, urllib3 and python-gitlab raise what they like
        reason = Masker([token]).text(str(error).splitlines()[0]) if str(error) else type(error).__name__
        return f"no note on the merge request: {reason}"


def _post(context: CiContext, token: str, body: str) -> str:
    import gitlab

    client = gitlab.Gitlab(context.server, private_token=token, timeout=TIMEOUT, retry_transient_errors=False)
    project = client.projects.get(context.project or "", lazy=True)
    request: Any = project.mergerequests.get(context.merge_request or 0, lazy=True)
    sign = marker(context)
    for note in request.notes.list(iterator=True, per_page=100):
        if note.body.startswith(sign):
            note.body = body
            note.save()
            return "the note on the merge request is rewritten"
    request.notes.create({"body": body})
    return "a note is on the merge request"
