"""Keeps values of secrets out of records: capsules, logs, and the code that is kept beside them.

Engines mask secrets in what commands print. This is the second line: what is
written into a run's folder is searched for every value that is known to be
secret, also in texts that no engine has seen (arguments, errors, a diff).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rondel.record.capsule import Capsule

MASK = "***"
SHORTEST = 4
"""Values shorter than this are not searched for: masking ``1`` would destroy the record and hide nothing."""

_NAMES = re.compile(
    r"SECRET|TOKEN|PASSW|PASSPHRASE|API_?KEY|ACCESS_?KEY|PRIVATE_?KEY|ACCOUNT_?KEY|STORAGE_?KEY|CREDENTIAL|CONNECTION_STRING|_PAT$",
    re.IGNORECASE,
)
_HARMLESS = re.compile(r"(_FILE|_PATH|_URL|_URI|_DIR|_NAME|_TYPE|_EXPIRES?|_TTL)$", re.IGNORECASE)
_GUESSED_SHORTEST = 8
_FILES = re.compile(
    r"(^|/)(\.env(\..*)?|\.netrc|\.pgpass|\.pypirc|\.git-credentials|id_(rsa|dsa|ecdsa|ed25519)"
    r"|.*\.(pem|key|p12|pfx|jks|keystore)|credentials(\.json)?|config\.local)$"
)
_EXAMPLES = re.compile(r"\.(example|sample|template|dist)$")


def secret_values(environ: Mapping[str, str], names: Iterable[str]) -> tuple[str, ...]:
    """The values that must not be recorded, longest first.

    Those of the variables ``names``, of every variable whose name says that it
    is one (``…TOKEN``, ``…PASSWORD``), and the logins in URLs of any variable.
    """
    found = {environ[name] for name in names if name in environ}
    for name, value in environ.items():
        if _NAMES.search(name) and not _HARMLESS.search(name) and len(value) >= _GUESSED_SHORTEST:
            found.add(value)
        elif "://" in value and "@" in value:
            found |= _login(value)
    return spellings(found)


def secret_options(options: Mapping[str, str]) -> tuple[str, ...]:
    """The values in a configuration that must not be recorded: by the options' names, and in URLs."""
    named = [name for name in options if _NAMES.search(name) and not _HARMLESS.search(name)]
    return secret_values(options, named)


def spellings(values: Iterable[str]) -> tuple[str, ...]:
    """The values and how they look in a URL, longest first; what is too short to search for left out."""
    kept: set[str] = set()
    for value in values:
        for each in (value, value.strip(), *value.strip().splitlines(), quote(value.strip(), safe="")):
            if len(each.strip()) >= SHORTEST:
                kept.add(each)
    return tuple(sorted(kept, key=lambda each: (-len(each), each)))


def _login(url: str) -> set[str]:
    try:
        password = urlsplit(url).password
    except ValueError:
        return set()
    return {password} if password else set()


def redact_text(text: str, values: Iterable[str]) -> str:
    """``text`` with :data:`MASK` in place of each of the values."""
    for value in values:
        if value in text:
            text = text.replace(value, MASK)
    return text


def redact(capsule: Capsule, values: Iterable[str]) -> Capsule:
    """The capsule with every text in it redacted, keys of mappings included."""
    values = tuple(values)
    if not values:
        return capsule
    import msgspec

    plain = msgspec.to_builtins(capsule)
    return msgspec.convert(_walk(plain, values), type(capsule))


def _walk(value: Any, secrets: tuple[str, ...]) -> Any:
    if isinstance(value, str):
        return redact_text(value, secrets)
    if isinstance(value, dict):
        return {redact_text(key, secrets): _walk(each, secrets) for key, each in value.items()}
    if isinstance(value, list):
        return [_walk(each, secrets) for each in value]
    return value


def objection(path: str, content: bytes, values: Iterable[str]) -> str:
    """Why a file must not be kept in a record; an empty text if it may."""
    if _FILES.search(path) and not _EXAMPLES.search(path):
        return "its name says that it holds secrets"
    if any(value.encode("utf-8", "surrogateescape") in content for value in values):
        return "it holds the value of a secret"
    return ""
