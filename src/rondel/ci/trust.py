"""What a fork's code may not do, and which variables it does not get.

GitLab and Jenkins withhold protected variables from forks. This covers variables
that nobody protected, and a member who starts a fork's pipeline in the project.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rondel.ci.model import CiContext
    from rondel.settings import Settings

_SECRET = re.compile(
    r"(TOKEN|SECRET|PASSW(OR)?D|PASSPHRASE|CREDENTIALS?|PRIVATE_KEY|ACCESS_KEY|API_?KEY|CONNECTION_STRING)"
)
_NAMES = ("TOKENIZER", "SECRETS_PATH")
OURS = ("DAGGER_SESSION_TOKEN", "RONDEL_SECRETS")
"""Variables that look like secrets of the team and are not."""

ADDRESSES = ("MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_USERNAME", "DVC_REMOTE_URL")
"""Where a fork's results must not go, even without a password."""


def is_secret(name: str) -> bool:
    """Whether a variable of that name holds a secret, as far as names tell."""
    upper = name.upper()
    return name not in OURS and not upper.startswith(_NAMES) and bool(_SECRET.search(upper))


def secret_values(environ: Mapping[str, str], named: tuple[str, ...]) -> list[str]:
    """The values that must not be shown: those of the ``named`` variables, and of all that look like secrets.

    A value of several lines counts line by line, too, because logs are cut into lines.
    """
    values = [environ.get(name, "") for name in named]
    values += [value for name, value in environ.items() if is_secret(name)]
    lines = [line.strip() for value in values for line in value.splitlines()]
    found = {value for value in (*values, *lines) if len(value.strip()) > 7}
    found |= {environ[name] for name in named if len(environ.get(name, "").strip()) > 3}
    return sorted(found, key=len, reverse=True)


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
    gone = {name for name in environ if is_secret(name)} | {*settings.secrets, *ADDRESSES}
    settings = replace(
        settings,
        secrets=(),
        push=False,
        commit=False,
        approve_by=None,
        tracking_uri=None,
        remote=None,
    )
    return settings, frozenset(gone & set(environ))
