"""Fetches the capsule of a Jenkins build from its artifacts, with api4jenkins."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from rondel.ci.model import first
from rondel.errors import ConfigurationError, RecordError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from rondel.record import RunFolder

USER = ("JENKINS_USER", "JENKINS_USERNAME", "JENKINS_USER_ID")
SERVER = "JENKINS_URL"
TOKEN = ("JENKINS_TOKEN", "JENKINS_API_TOKEN")
BUILD_PAGE = r"^(?P<base>.*?)(?P<job>(?:/job/[^/]+)+)/(?P<build>\d+)(?:/.*)?$"


def fetch_build(url: str, environ: Mapping[str, str], into: Path) -> RunFolder:
    """The run of the build whose page is at ``url``; JENKINS_USER and JENKINS_TOKEN are the login.

    Raises RecordError.
    """
    from rondel.ci.artifacts import capsule_in
    from rondel.record.archive import LARGEST
    from rondel.record.download import login_is_for, reason, temporary

    try:
        import httpx
        from api4jenkins import Jenkins
        from api4jenkins.build import WorkflowRun
        from api4jenkins.exceptions import AuthenticationError, ItemNotFoundError, JenkinsAPIException
    except ImportError:
        raise ConfigurationError(
            "api4jenkins is not installed",
            why="Rondel needs it to fetch the capsule of a Jenkins build",
            hint="pip install 'rondel[ci]'",
        ) from None
    server, job, number = split(url)
    options: dict[str, Any] = {"timeout": 60}
    user, token = first(environ, *USER), first(environ, *TOKEN)
    if user and token and login_is_for(server, environ.get(SERVER)):
        options["auth"] = (user, token)
    with temporary(into) as file:
        try:
            client = Jenkins(server, **options)
            _without_crumbs(client)
            build = WorkflowRun(client, f"{server}{job}/{number}/")
            with build.handle_stream("GET", "artifact/*zip*/archive.zip") as response, file.open("wb") as out:
                size = 0
                for chunk in response.iter_bytes(chunk_size=1 << 20):
                    size += len(chunk)
                    if size > LARGEST:
                        raise RecordError(f"the artifacts are larger than {LARGEST >> 30} GiB", place=url)
                    out.write(chunk)
        except ItemNotFoundError as error:
            raise RecordError(
                "the build does not exist, or has no artifacts",
                why=reason(error),
                hint="archive `.rondel/runs/**`, also after failures, as `rondel ci generate` sets it up",
                place=url,
            ) from None
        except (AuthenticationError, PermissionError) as error:
            raise RecordError(
                "Jenkins refuses the login",
                why=reason(error),
                hint="set JENKINS_USER and JENKINS_TOKEN",
                place=url,
            ) from None
        except (httpx.HTTPError, JenkinsAPIException, OSError) as error:
            raise RecordError("Jenkins cannot be reached", why=reason(error), place=url) from None
        return capsule_in(file, into, url)


def _without_crumbs(client: Any) -> None:
    """Let the client work without a crumb if the server issues none; it would fail otherwise."""
    from api4jenkins.exceptions import ItemNotFoundError

    try:
        _ = client.crumb
    except ItemNotFoundError:
        client._crumb = {}  # noqa: SLF001 - it has no other way to skip the crumb, which a download does not need


def split(url: str) -> tuple[str, str, int]:
    """Server, path of the job (``/job/FOLDER/job/NAME``) and number of the build.

    Raises RecordError if ``url`` is not the address of a build.
    """
    parts = urlsplit(url)
    match = re.match(BUILD_PAGE, parts.path)
    if match is None:
        raise RecordError("this is not the address of a Jenkins build", hint="…/job/NAME/NUMBER/", place=url)
    server = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{unquote(match['base'])}"
    return server, match["job"], int(match["build"])
