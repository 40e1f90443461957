"""Logins from the user's own git: from its credential helpers, or from ``~/.netrc``.

Nothing else of the user's configuration is used, and only if an HTTP server asks for a login.
"""

from __future__ import annotations

import netrc
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import anyio
import anyio.to_thread

if TYPE_CHECKING:
    from rondel.engine.evaluate.session import Session

_SECONDS = 30.0


class Logins:
    """The answers of the user's git in this session, by URL; each URL is asked for once."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.known: dict[str, str] = {}

    async def ask(self, url: str) -> str:
        """``user:password`` for a URL; empty if there is none, or no answer within half a minute."""
        if url not in self.known:
            self.known[url] = await self._session.single_flight.do(("git login", url), lambda: self._ask(url))
        return self.known[url]

    async def _ask(self, url: str) -> str:
        return await self._of_helpers(url) or await anyio.to_thread.run_sync(self._of_netrc, url)

    async def _of_helpers(self, url: str) -> str:
        program = shutil.which("git")
        parts = urlsplit(url)
        if program is None:
            return ""
        asked = f"protocol={parts.scheme}\nhost={parts.netloc}\npath={parts.path.lstrip('/')}\n\n"
        # An empty askpass program keeps git from prompting through another program or the terminal.
        env = {**self._session.environ, "GIT_ASKPASS": "", "GIT_TERMINAL_PROMPT": "0"}
        with anyio.move_on_after(_SECONDS):
            done = await anyio.run_process(
                [program, "credential", "fill"],
                input=asked.encode(),
                env=env,
                cwd=self._session.workdir,
                check=False,
                stderr=subprocess.DEVNULL,
            )
            said = dict(
                line.partition("=")[::2] for line in done.stdout.decode(errors="replace").splitlines()
            )
            if done.returncode == 0 and said.get("password"):
                return f"{said.get('username', '')}:{said['password']}"
        return ""

    def _of_netrc(self, url: str) -> str:
        home = self._session.environ.get("HOME")
        try:
            found = netrc.netrc(str(Path(home or "~", ".netrc").expanduser())).authenticators(
                urlsplit(url).hostname or ""
            )
        except (OSError, netrc.NetrcParseError):
            return ""
        return f"{found[0]}:{found[2]}" if found is not None and found[2] else ""
