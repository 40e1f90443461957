"""Notes on GitLab's merge requests, with python-gitlab.

The job's own token may not write notes, so a project access token with the
scope ``api`` is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rondel.ci.model import CiContext

TOKENS = ("RONDEL_GITLAB_TOKEN", "GITLAB_TOKEN")
LONGEST = 900_000
"""GitLab takes a million characters in a note."""
TIMEOUT = 10.0


def write_note(context: CiContext, token: str, sign: str, body: str) -> str:
    """Rewrite the note that begins with ``sign``, or add one."""
    import gitlab

    client = gitlab.Gitlab(context.server, private_token=token, timeout=TIMEOUT, retry_transient_errors=False)
    project = client.projects.get(context.project or "", lazy=True)
    request: Any = project.mergerequests.get(context.merge_request or 0, lazy=True)
    for note in request.notes.list(iterator=True, per_page=100):
        if note.body.startswith(sign):
            note.body = body
            note.save()
            return "updated the note on the merge request"
    request.notes.create({"body": body})
    return "added a note to the merge request"
