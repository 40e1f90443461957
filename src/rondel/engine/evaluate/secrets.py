"""Where secrets' texts come from: the session's memory, or a provider on the client's side."""

from __future__ import annotations

import hashlib
import os
import secrets as random
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from rondel.errors import EngineError

if TYPE_CHECKING:
    from rondel.engine.evaluate.session import Session
    from rondel.engine.values import Secret

PROVIDERS = frozenset({"env", "file", "cmd", "op", "vault", "libsecret", "gcp", "aws+sm", "aws+ps"})
_COST = {"n": 2**12, "r": 8, "p": 1, "dklen": 20}  # about ten milliseconds


class SessionSecrets:
    """The secrets of a session. Texts from providers are fetched on each use and not stored."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def plaintext(self, secret: Secret) -> bytes:
        """A secret's bytes. Raises EngineError if they cannot be found."""
        scheme, rest = provider_of(secret.uri)
        if scheme == "session":
            known = self._session.secrets.get(rest)
            if known is None:
                raise EngineError(f'secret "{rest}" was set in another session', hint="set it in this one")
            return known
        if scheme == "env":
            return self._env(rest)
        if scheme == "file":
            return await self._file(rest)
        if scheme == "cmd":
            return await self._command(rest)
        raise EngineError(
            f'secrets of "{scheme}://" are not served by Rondel\'s embedded engine',
            hint="call the provider's own command by cmd://, or run this under a Dagger engine",
        )

    async def key(self, secret: Secret) -> str:
        """Identifies a secret's current text in keys of stored results.

        It is slow to compute and salted by the store, so that trying out texts is impractical. If the
        text is unavailable, it is random, since then no result may be reused.
        """
        try:
            value = await self.plaintext(secret)
        except EngineError:
            return random.token_hex(20)
        salt = self._salt()
        return await anyio.to_thread.run_sync(lambda: hashlib.scrypt(value, salt=salt, **_COST).hex())

    def _salt(self) -> bytes:
        index = self._session.store.index
        known = index.get("salt", "secrets")
        if known is None:
            with index.transaction():  # another session may write it at the same time
                known = index.get("salt", "secrets") or random.token_hex(16)
                index.put("salt", "secrets", known)
        return bytes.fromhex(known)

    def _env(self, name: str) -> bytes:
        value = self._session.environ.get(name)
        if value is None:
            raise EngineError(f'secret env var not found: "{_masked(name)}"')
        return os.fsencode(value)

    async def _file(self, path: str) -> bytes:
        path = os.path.expanduser(path) if path.startswith("~") else path
        full = self._session.workdir / path
        try:
            return await anyio.Path(full).read_bytes()
        except OSError as error:
            reason = (error.strerror or "").lower()
            act = "read" if isinstance(error, IsADirectoryError) else "open"
            raise EngineError(f'failed to read secret file "{path}": {act} {path}: {reason}') from None

    async def _command(self, command: str) -> bytes:
        done = await anyio.run_process(
            ["sh", "-c", command],
            check=False,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=Path(self._session.workdir),
            env=dict(self._session.environ),
        )
        if done.returncode:
            raise EngineError(f'failed to run secret command "{command}": {_ending(done.returncode)}')
        return done.stdout


def provider_of(uri: str) -> tuple[str, str]:
    """The scheme of a secret's URI, and the rest. Raises EngineError for an unknown scheme."""
    scheme, separator, rest = uri.partition("://")
    if not separator:
        raise EngineError(f'parse "{_masked(uri)}": malformed id')
    if scheme not in PROVIDERS and scheme != "session":
        raise EngineError(f'unsupported secret provider: "{scheme}"')
    return scheme, rest


def _ending(code: int) -> str:
    """How a process ended, in Go's words."""
    return f"signal: {signal.strsignal(-code) or -code}".lower() if code < 0 else f"exit status {code}"


def _masked(text: str) -> str:
    """A name for error messages, shortened: users may have put the secret itself there by mistake."""
    return text if len(text) <= 3 else text[:3] + "..."
