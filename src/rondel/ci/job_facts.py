"""What a run in this job would push, as whom, and which secrets it gets (names, never values)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rondel.ci.commit.plan import author_of
from rondel.ci.commit.push import TOKEN
from rondel.ci.note import no_note
from rondel.ci.providers import provider_of
from rondel.ci.trust import restrict
from rondel.data.remote import find_remote, pushes
from rondel.errors import ConfigurationError
from rondel.secrets.names import is_secret

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rondel.ci.model import CiContext
    from rondel.settings import CiOptions, Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Push:
    """Something that may leave the job. ``does``: it will; ``wrong``: it should, but can't."""

    what: str
    does: bool
    where: str
    why: str
    wrong: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """The author of commits, the person who started the job, and the variables with tokens that may write."""

    author: str
    started_by: str | None
    tokens: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Secrets:
    """Names of variables.

    Stages get the ``given`` ones and should get the ``missing`` ones, which are
    not set. A fork does not get the ``withheld`` ones. The console masks the
    values of the ``masked`` ones.
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


def job_facts(
    settings: Settings, context: CiContext | None, options: CiOptions, environ: Mapping[str, str]
) -> JobFacts:
    """The facts, from settings that are not restricted yet."""
    restricted, gone = restrict(settings, context, environ)
    seen = {name: value for name, value in environ.items() if name not in gone}
    pushed = (
        _data(restricted, context, seen),
        _commit(restricted, context, seen),
        _note(context, seen),
        _tracking(restricted, context, seen),
    )
    tokens = (TOKEN, *(provider_of(context).tokens if context is not None else ()))
    identity = Identity(
        author=author_of(context, options),
        started_by=context.started_by if context is not None else None,
        tokens=tuple(name for name in tokens if seen.get(name)),
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
        why = f"set by {settings.sources.get('push', 'the settings')}"
    elif settings.ci:
        why = "CI jobs push their results"
        if remote.folder is not None and remote.folder.is_relative_to(settings.root):
            why += "; that folder is in the checkout, so other runners do not see it"
    else:
        why = "a folder on this machine" if does else "outside of CI only with --push"
    return Push(what="data", does=does, where=f"{remote.shown} ({remote.origin})", why=why)


def _commit(settings: Settings, context: CiContext | None, environ: Mapping[str, str]) -> Push:
    branch = (context.branch if context else None) or ""
    where = f"branch {branch}" if branch else ""
    if _fork(context):
        return Push(what="commit", does=False, where="", why="a fork's code commits nothing")
    if not settings.commit:
        return Push(what="commit", does=False, where=where, why="only with --commit or RONDEL_COMMIT=1")
    if settings.push is False:
        return Push(what="commit", does=False, where=where, why="the data is not pushed", wrong=True)
    if context is not None and not branch:
        return Push(what="commit", does=False, where="", why="this job runs for no branch", wrong=True)
    push = provider_of(context).push if context is not None else None
    if environ.get(TOKEN):
        why = f"with {TOKEN}"
    elif push is not None:
        why = f"without {TOKEN}: {push.without_token}"
    else:
        why = "with the checkout's own credentials"
    return Push(what="commit", does=True, where=where or "the branch that is checked out", why=why)


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
        return Push(what="mlflow", does=False, where="a server that ends with this job", why=why)
    if endpoint.user and endpoint.password:
        why = f"as {endpoint.user}"
    else:
        why = "with MLFLOW_TRACKING_TOKEN" if endpoint.token else "without credentials"
    return Push(what="mlflow", does=True, where=endpoint.uri, why=why)
