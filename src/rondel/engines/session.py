"""A session of an engine: a port and a token, whichever engine is behind it."""

from __future__ import annotations

import os
import socket
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from rondel.engines.choice import SESSION_PORT, SESSION_TOKEN
from rondel.errors import ConfigurationError
from rondel.settings import find_root, load_settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rondel.engines.choice import EngineChoice

HOST_IMAGE = "RONDEL_ENGINE_HOST_IMAGE"
CACHE_SIZE = "RONDEL_ENGINE_CACHE_SIZE"
HOME = "RONDEL_ENGINE_HOME"


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSession:
    """How a Dagger client reaches an engine: the variables that it reads, with port and token among them.

    ``port`` is None where the client starts the Dagger CLI, which opens a session itself.
    """

    port: int | None = None
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """For as long as the block lasts, Dagger clients in this process use the session."""
        before = dict(os.environ)
        os.environ.update(self.environment)
        try:
            yield
        finally:
            for name in set(os.environ) - set(before):
                del os.environ[name]
            os.environ.update(before)


@contextmanager
def open_session(choice: EngineChoice, root: Path, environ: Mapping[str, str]) -> Iterator[EngineSession]:
    """A session of the chosen engine for a run of the project at ``root``.

    The embedded engine is started, unless a session of it is there already. Raises EngineUnavailable.
    """
    port, token = environ.get(SESSION_PORT), environ.get(SESSION_TOKEN, "")
    if choice.kind == "embedded" and port is None:
        from rondel.engine.server.launcher import EmbeddedSession

        # The launcher reads its own options from the environment.
        with (
            EngineSession(environment=engine_environment(root, environ)).applied(),
            EmbeddedSession.open() as opened,
        ):
            _wake(opened.port)
            yield EngineSession(port=opened.port, environment=opened.environment)
        return
    variables = dict(choice.environment)
    if port is not None:
        _wake(int(port))
        variables |= {SESSION_PORT: port, SESSION_TOKEN: token}
    yield EngineSession(port=None if port is None else int(port), environment=variables)


def engine_environment(folder: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """The variables by which the project's options reach the engine, which reads no project's files.

    Outside of a project there are none. Raises ConfigurationError for wrong options.
    """
    try:
        root = find_root(folder)
    except ConfigurationError:
        return {}
    settings = load_settings(root, {}, environ)
    if settings.cache_size is not None:
        from rondel.engine.store.budget import parse_size

        parse_size(settings.cache_size, place=settings.sources.get("cache_size", CACHE_SIZE))
    given = {"host_image": HOST_IMAGE, "cache_size": CACHE_SIZE}
    found = {
        variable: str(getattr(settings, name))
        for name, variable in given.items()
        if settings.sources.get(name, variable) != variable
    }
    return found | engine_home(root, environ)


def engine_home(root: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """The variable that puts the engine's store into the project if the user can't write to a cache folder.

    Jenkins runs a job's container as its own user, who has no home in the
    container: only the workspace is writable, and it persists.
    """
    if environ.get(HOME):
        return {}
    try:
        cache = Path(environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    except RuntimeError:  # neither HOME nor an entry in /etc/passwd
        return {HOME: str(root / ".rondel" / "engine")}
    existing = next(path for path in (cache.absolute(), *cache.absolute().parents) if path.exists())
    writable = os.access(existing, os.W_OK | os.X_OK)
    return {} if writable else {HOME: str(root / ".rondel" / "engine")}


def _wake(port: int) -> None:
    """Connect once, so that an engine that starts at the first connection starts now.

    Importing the Dagger client takes longer than the engine needs to start.
    """
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            pass
    except OSError:
        return
