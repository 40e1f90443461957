"""Which values must not be shown, found in the environment or in a configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rondel.secrets.logins import passwords_in
from rondel.secrets.names import SESSION_TOKEN, is_secret

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

SHORTEST = 4
"""A value that is shorter is not masked: to mask ``1`` hides nothing and makes a log unreadable."""

GUESSED_SHORTEST = 8
"""The same for a value that only its variable's name marks as a secret."""


def secret_values(environ: Mapping[str, str], named: Iterable[str] = ()) -> tuple[str, ...]:
    """The values to hide, longest first.

    They are those of the variables in ``named``, of all whose name says that
    they hold a secret, and the passwords in URLs of any variable.
    """
    found = {environ[name] for name in named if len(environ.get(name, "").strip()) >= SHORTEST}
    for name, value in environ.items():
        if (is_secret(name) or name == SESSION_TOKEN) and len(value.strip()) >= GUESSED_SHORTEST:
            found.add(value)
        found |= {each for each in passwords_in(value) if len(each) >= SHORTEST}
    return tuple(sorted(found, key=lambda each: (-len(each), each)))


def secret_options(options: Mapping[str, str]) -> tuple[str, ...]:
    """The values to hide in a configuration, where a short value of a secret option counts, too."""
    return secret_values(options, filter(is_secret, options))
