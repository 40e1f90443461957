"""The login of the local MLflow server: one random token per project.

The token is in a file that only the user who runs Rondel can read. Two weaker keys
are derived from it: the one of pure stages, and the one that a browser keeps as a cookie.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

OPEN = "/rondel/open"
"""The path to which ``rondel ui``'s page posts the token, in exchange for a cookie."""

USER = "rondel"
"""The user name for programs that ask for one, such as a browser."""


_STYLE = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark">
<title>Sign in to MLflow</title>
<style>
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 34rem; margin: 15vh auto; padding: 0 1rem }
input, button { font: inherit; padding: .4rem .6rem }
input { width: 100%; box-sizing: border-box; margin: .5rem 0 }
</style>
<h1>MLflow of this project</h1>
"""

SIGN_IN = f"""{_STYLE}
<p>Run <code>rondel ui</code> in the project's folder: it signs your browser in. Or paste the token
from <code>.rondel/mlflow/login</code>:</p>
<form method="post" action="{OPEN}">
<input name="token" type="password" autocomplete="off" aria-label="token" autofocus>
<button>Sign in</button>
</form>
"""
"""The page for a browser without the cookie."""


def open_text(address: str, token: str) -> str:
    """The page that signs a browser in to the server at ``address`` as soon as it is opened."""
    return f"""{_STYLE}
<form id="open" method="post" action="{address}{OPEN}">
<input type="hidden" name="token" value="{token}">
<button>Open {address}</button>
</form>
<script>document.getElementById("open").submit()</script>
"""


def server_token(path: Path) -> str:
    """The token in the file ``path``; makes one first if there is none."""
    try:
        return path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        pass
    token = secrets.token_urlsafe(32)
    new = path.with_name(f".{path.name}.{os.getpid()}")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(f"{token}\n")
    try:
        os.link(new, path)
    except FileExistsError:  # another process was faster
        return path.read_text(encoding="ascii").strip()
    finally:
        new.unlink()
    return token


def derived_key(token: str, purpose: str) -> str:
    """The key for ``stages`` or ``browser``; the token can't be computed from it."""
    return hmac.new(token.encode(), purpose.encode(), hashlib.sha256).hexdigest()
