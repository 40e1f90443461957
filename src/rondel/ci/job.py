"""What a run in this job would push, in whose name, and which secrets it has: names, never values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rondel.ci.commit_results import TOKEN, default_author
from rondel.ci.note import no_note
from rondel.ci.trust import restrict
from rondel.data.remote import find_remote, pushes
from rondel.errors import ConfigurationError
from rondel.secrets.names import is_secret

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rondel.ci.detect import CiContext
    from rondel.settings import Settings
    from rondel.settings.ci import CiOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class Push:
    """One thing that may leave the job. ``does``: whether it will; ``wrong``: it can't, and should."""

    what: str
    does: bool
    where: str
    why: str
    wrong: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who acts: the author of commits, who started the job, and the variables that let it write."""

    author: str
    started_by: str | None
    tokens: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Secrets:
    """Names of variables.

    ``given`` to stages, ``missing``: those they should get and that are not
    set; ``withheld`` from a fork; ``masked`` on the console.
    """

    given: tuple[str, ...]
    missing: tuple[str, ...]
    withheld: tuple[str, ...]
    masked: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFacts:
    """What a run in this job does to the outside world."""

    pushes: tuple[Push, ...]
    identity: Identity
    secrets: Secrets


STARTED_BY = ("GITLAB_USER_LOGIN", "BUILD_USER_ID", "CHANGE_AUTHOR", "GITHUB_ACTOR")
TOKENS = (TOKEN, "RONDEL_GITLAB_TOKEN", "GITLAB_TOKEN", "CI_JOB_TOKEN")


def job_facts(
    settings: Settings, context: CiContext | None, options: CiOptions, environ: Mapping[str, str]
) -> JobFacts:
    """The facts, from the settings as they are before a fork's are restricted."""
    restricted, gone = restrict(settings, context, environ)
    seen = {name: value for name, value in environ.items() if name not in gone}
    pushed = (
        _data(restricted, context, seen),
        _commit(restricted, context, seen),
        _note(context, seen),
        _tracking(restricted, context, seen),
    )
    identity = Identity(
        author=options.commit_author or default_author(seen),
        started_by=next((seen[name] for name in STARTED_BY if seen.get(name)), None),
        tokens=tuple(name for name in TOKENS if seen.get(name)),
    )
    secrets = Secrets(
        given=tuple(name for name in restricted.secrets if name in seen),
        missing=tuple(name for name in restricted.secrets if name not in seen),
        withheld=tuple(sorted(gone)),
        masked=tuple(sorted(name for name in environ if is_secret(name) and environ[name])),
    )
    return JobFacts(pushes=pushed, identity=identity, secrets=secrets)


def _fork(context: CiContext | None) -> bool:
    return context is not None and context.fork


def _data(settings: Settings, context: CiContext | None, environ: Mapping[str, str]) -> Push:
    try:
        remote = find_remote(settings.root, environ, settings.remote)
    except ConfigurationError as error:
        return Push(what="data", does=False, where="", why=error.render(), wrong=True)
    does = pushes(remote, settings.push, ci=settings.ci)
    if _fork(context):
        why = "a fork's code pushes nothing"
    elif settings.push is not None:
        why = f"as {settings.sources.get('push', 'the settings')} says"
    elif settings.ci:
        why = "a CI job pushes what it made"
        if remote.folder is not None and remote.folder.is_relative_to(settings.root):
            why += "; that folder lies in the checkout, so other runners do not see it"
    else:
        why = "a folder on this machine" if does else "outside of CI only when asked (--push)"
    return Push(what="data", does=does, where=f"{remote.shown} ({remote.origin})", why=why)


def _commit(settings: Settings, context: CiContext | None, environ: Mapping[str, str]) -> Push:
    branch = (context.branch if context else None) or ""
    where = f"branch {branch}" if branch else ""
    if _fork(context):
        return Push(what="commit", does=False, where="", why="a fork's code commits nothing")
    if not settings.commit:
        return Push(what="commit", does=False, where=where, why="not asked for (--commit, RONDEL_COMMIT=1)")
    if settings.push is False:
        return Push(what="commit", does=False, where=where, why="its data is not pushed", wrong=True)
    if context is not None and not branch:
        return Push(what="commit", does=False, where="", why="this job is for no branch", wrong=True)
    own = f"with {TOKEN}" if environ.get(TOKEN) else "with the checkout's own credentials"
    if context is not None and context.provider == "gitlab" and not environ.get(TOKEN):
        own = f"without {TOKEN}: GitLab's own token may not push unless the project allows it"
    return Push(what="commit", does=True, where=where or "the branch checked out", why=own)


def _note(context: CiContext | None, environ: Mapping[str, str]) -> Push:
    reason = no_note(context, environ)
    number = context.merge_request if context is not None else None
    where = f"merge request {number}" if number is not None and not reason else ""
    return Push(what="note", does=not reason, where=where, why=reason or "a token is set")


def _tracking(settings: Settings, context: CiContext | None, environ: Mapping[str, str]) -> Push:
    from rondel.tracking.endpoint import endpoint_for

    try:
        endpoint = endpoint_for(environ, settings.tracking_uri)
    except ConfigurationError as error:
        return Push(what="mlflow", does=False, where="", why=error.what, wrong=True)
    if endpoint is None:
        why = "a fork's runs stay in its job" if _fork(context) else "MLFLOW_TRACKING_URI is not set"
        return Push(
            what="mlflow", does=False, where="a server of this job's own, which ends with it", why=why
        )
    if endpoint.user and endpoint.password:
        why = f"as {endpoint.user}"
    else:
        why = "with MLFLOW_TRACKING_TOKEN" if endpoint.token else "without credentials"
    return Push(what="mlflow", does=True, where=endpoint.uri, why=why)
