"""Where secrets' texts come from: the session's memory, or a provider on the client's side."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import anyio

from rondel.errors import EngineError

if TYPE_CHECKING:
    from rondel.engine.evaluate.session import Session
    from rondel.engine.values import Secret

MAX_SIZE = 512 * 1000


class Secrets:
    """The secrets of a session; each text is fetched when it is first needed, and kept in memory."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def plaintext(self, secret: Secret) -> bytes:
        """A secret's bytes. Raises EngineError when it cannot be found."""
        scheme, separator, rest = secret.uri.partition("://")
        if not separator:
            raise EngineError(f'parse "{_masked(secret.uri)}": missing provider, such as env://NAME')
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
            f'unsupported secret provider: "{scheme}"',
            hint="Rondel's engine serves env://, file:// and cmd://; others need a Dagger engine",
        )

    def _env(self, name: str) -> bytes:
        value = self._session.environ.get(name)
        if value is None:
            raise EngineError(f'secret env var not found: "{_masked(name)}"')
        return os.fsencode(value)

    async def _file(self, path: str) -> bytes:
        full = self._session.workdir / (os.path.expanduser(path) if path.startswith("~") else path)
        try:
            size = (await anyio.Path(full).stat()).st_size
            if size > MAX_SIZE:
                raise EngineError(f'secret file "{path}" is too large: {size} bytes, at most {MAX_SIZE}')
            return await anyio.Path(full).read_bytes()
        except OSError as error:
            reason = (error.strerror or "").lower()
            raise EngineError(f'failed to read secret file "{path}": open {full}: {reason}') from None

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
            raise EngineError(f'failed to run secret command "{command}": exit status {done.returncode}')
        return done.stdout


def _masked(text: str) -> str:
    """A name as errors show it: somebody may have put the secret itself in its place."""
    return text if len(text) <= 3 else text[:3] + "..."
