"""Logins in URLs: ``https://user:password@host/``."""

from __future__ import annotations

import re
from urllib.parse import unquote

_LOGIN = re.compile(r"(?<=://)[^/\s?#]*@")
_TOKEN_LENGTH = 20
"""A user without a password, at least this long, is a token: ``https://ghp_…@github.com/``."""


def has_login(text: str) -> bool:
    """Whether a URL in ``text`` has a user in it, with or without a password."""
    return bool(_LOGIN.search(text))


def without_login(text: str) -> str:
    """``text`` with the user and the password taken out of each URL in it."""
    return _LOGIN.sub("", text) if "@" in text else text


def passwords_in(text: str) -> set[str]:
    """The passwords and tokens in the URLs of ``text``, as they are written there and decoded."""
    found = set()
    for login in _LOGIN.findall(text) if "@" in text else ():
        user, colon, password = login[:-1].partition(":")
        value = password if colon else user if len(user) >= _TOKEN_LENGTH else ""
        found |= {value, unquote(value)}
    return found - {""}
