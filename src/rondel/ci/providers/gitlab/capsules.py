"""Fetches the capsule of a GitLab job from its artifacts, with python-gitlab."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from rondel.errors import ConfigurationError, RecordError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from rondel.record import RunFolder

PERSONAL = ("GITLAB_TOKEN", "GITLAB_PRIVATE_TOKEN", "GITLAB_ACCESS_TOKEN")
JOB = "CI_JOB_TOKEN"
SERVERS = ("GITLAB_URL", "CI_SERVER_URL")
JOB_PAGE = r"^(?P<project>.+?)/-/jobs/(?P<job>\d+)/?$"


def fetch_job(url: str, environ: Mapping[str, str], into: Path) -> RunFolder:
    """The run of the job whose page is at ``url``.

    The token is GITLAB_TOKEN (personal, project or group), or CI_JOB_TOKEN in a
    job; public projects need none. Raises RecordError.
    """
    from rondel.ci.artifacts import capsule_in
    from rondel.record.download import reason, temporary

    try:
        import gitlab
    except ImportError:
        raise ConfigurationError(
            "python-gitlab is not installed",
            why="Rondel needs it to fetch the capsule of a GitLab job",
            hint="pip install 'rondel[ci]'",
        ) from None
    server, project, job = split(url, environ)
    with temporary(into) as file:
        try:
            client = gitlab.Gitlab(server, timeout=60, keep_base_url=True, **_login(server, environ))
            found = client.projects.get(project, lazy=True).jobs.get(job, lazy=True)
            with file.open("wb") as out:
                found.artifacts(streamed=True, action=out.write)
        except gitlab.GitlabAuthenticationError as error:
            raise RecordError(
                "GitLab refuses the token",
                why=reason(error),
                hint=f"set {PERSONAL[0]} to a token with the scope read_api",
                place=url,
            ) from None
        except (gitlab.GitlabError, OSError) as error:
            if getattr(error, "response_code", None):
                what, hint = "the job's artifacts cannot be fetched", _hint(error, environ)
            else:
                what, hint = "GitLab cannot be reached", None
            raise RecordError(what, why=reason(error), hint=hint, place=url) from None
        return capsule_in(file, into, url)


def split(url: str, environ: Mapping[str, str]) -> tuple[str, str, int]:
    """Server, path of the project, and number of the job, from the address of a job's page.

    GitLab may be below a path of its server, and a project in several groups. The
    address does not tell them apart; GITLAB_URL or CI_SERVER_URL does.
    """
    parts = urlsplit(url)
    match = re.match(JOB_PAGE, parts.path)
    if match is None:
        raise RecordError(
            "this is not the address of a GitLab job", hint="…/GROUP/PROJECT/-/jobs/NUMBER", place=url
        )
    server = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
    project = match["project"].strip("/")
    for name in SERVERS:
        base = environ.get(name, "").rstrip("/")
        if base.startswith(server + "/") and f"{server}/{project}/".startswith(base + "/"):
            project = f"{server}/{project}".removeprefix(base + "/")
            server = base
            break
    return server, unquote(project), int(match["job"])


def _login(server: str, environ: Mapping[str, str]) -> dict[str, Any]:
    from rondel.record.download import login_is_for

    if login_is_for(server, *map(environ.get, SERVERS)):
        for name in PERSONAL:
            if environ.get(name):
                return {"private_token": environ[name]}
    token, own = environ.get(JOB), environ.get("CI_SERVER_URL", "")
    # A job's token is only for the server that issued it.
    return {"job_token": token} if token and own.rstrip("/") == server else {}


def _hint(error: Exception, environ: Mapping[str, str]) -> str:
    if getattr(error, "response_code", None) == 404:
        given = any(environ.get(name) for name in (*PERSONAL, JOB))
        return (
            "the artifacts may have expired, or the token may not read them"
            if given
            else f"set {PERSONAL[0]}, or let the job keep `.rondel/runs/` as an artifact"
        )
    return "try again, or download the artifacts and run `rondel reproduce FILE`"
