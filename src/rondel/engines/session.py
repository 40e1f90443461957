"""Opens a session of the chosen engine: a port and a token for Dagger clients."""

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
    """The variables with which a Dagger client connects to an engine, including port and token.

    ``port`` is None if the client starts the Dagger CLI, which then opens the session itself.
    """

    port: int | None = None
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Set the variables in this process for the duration of the block."""
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
    """Open a session of the chosen engine for a run of the project at ``root``.

    Starts the embedded engine, unless the environment has a session of it. Raises EngineUnavailable.
    """
    port, token = environ.get(SESSION_PORT), environ.get(SESSION_TOKEN, "")
    if choice.kind == "embedded" and port is None:
        from rondel.engine.server.launcher import EmbeddedSession

        # The launcher reads its own options from the environment.
        with (
            EngineSession(environment=engine_environment(root, environ)).applied(),
            EmbeddedSession.open() as opened,
        ):
            _connect_once(opened.port)
            yield EngineSession(port=opened.port, environment=opened.environment)
        return
    variables = dict(choice.environment)
    if port is not None:
        _connect_once(int(port))
        variables |= {SESSION_PORT: port, SESSION_TOKEN: token}
    yield EngineSession(port=None if port is None else int(port), environment=variables)


def engine_environment(folder: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """The project's options as variables for the engine, which does not read project files.

    Empty outside of a project. Raises ConfigurationError for invalid options.
    """
    try:
        root = find_root(folder)
    except ConfigurationError:
        return {}
    settings = load_settings(root, {}, environ)
    if settings.cache_size is not None:
        from rondel.engine.store.budget import parse_size

        parse_size(settings.cache_size, place=settings.sources.get("cache_size", CACHE_SIZE))
    options = {"host_image": HOST_IMAGE, "cache_size": CACHE_SIZE}
    variables = {
        variable: str(getattr(settings, name))
        for name, variable in options.items()
        if settings.sources.get(name, variable) != variable
    }
    return variables | engine_home(root, environ)


def engine_home(root: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """The variable that moves the engine's store into the project if the user's cache folder is not writable.

    Jenkins runs a job's container as its own user, which has no home in the
    container. Only the workspace is writable, and it persists.
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


def _connect_once(port: int) -> None:
    """Connect, so that the engine, which starts at the first connection, starts now.

    It starts while this process imports the Dagger client, which takes longer.
    """
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            pass
    except OSError:
        return
