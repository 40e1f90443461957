"""Chooses the engine that runs the containers."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rondel.engines.discovery import find_engine, running_engine
from rondel.errors import ConfigurationError, EngineUnavailable, RondelError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rondel.engines.discovery import EngineEndpoint
    from rondel.settings import Settings

SESSION_PORT = "DAGGER_SESSION_PORT"
SESSION_TOKEN = "DAGGER_SESSION_TOKEN"  # noqa: S105 - the variable's name
CLI = "_EXPERIMENTAL_DAGGER_CLI_BIN"
EMBEDDED_SESSION = "RONDEL_SESSION"
"""Set to 1 in a session of the embedded engine, to tell it from one of a Dagger engine."""

NO_CLI = "there is no Dagger CLI on the PATH"
NO_ENGINE = "no Dagger engine is reachable"
IN_SESSION = "this command runs in its session"


@dataclass(frozen=True, slots=True)
class EngineChoice:
    """The chosen engine, the variables with which a client finds it, and the reason for the choice."""

    kind: Literal["session", "dagger", "embedded"]
    environment: Mapping[str, str] = field(default_factory=dict)
    why: str = ""

    @property
    def engine(self) -> Literal["dagger", "embedded"]:
        """The engine's kind; an existing session that is not Rondel's belongs to a Dagger engine."""
        return "embedded" if self.kind == "embedded" else "dagger"


def choose_engine(settings: Settings, environ: Mapping[str, str], executable: Path | None) -> EngineChoice:
    """Choose the engine for a run. ``executable`` is the environment's ``rondel``.

    In an existing session, the choice is that session, and ``--engine`` must
    agree with it. Otherwise ``dagger`` needs a real CLI on the PATH, and
    ``auto`` means the embedded engine unless a Dagger engine is reachable.
    Raises EngineUnavailable if the requested engine is not available.
    """
    if environ.get(SESSION_PORT):
        return _session(settings, environ)
    real = find_real_cli(environ)
    if settings.engine == "dagger":
        if real is None:
            raise EngineUnavailable(
                NO_CLI,
                why="--engine dagger needs a real Dagger engine",
                hint="install one (https://docs.dagger.io/install), or use --engine embedded",
            )
        # The CLI probes the container runtimes itself, and reports problems with them.
        return _by_cli(real, running_engine(environ), _requested(settings))
    if settings.engine == "auto" and real is not None and (endpoint := find_engine(environ)) is not None:
        return _by_cli(real, endpoint, str(endpoint))
    if executable is None:
        raise EngineUnavailable(
            "the rondel executable is not beside this Python",
            why=f"looked in {Path(sys.executable).parent} and on the PATH",
            hint="install rondel into the environment that runs the pipeline",
        )
    why = _requested(settings) if settings.engine == "embedded" else NO_ENGINE if real is not None else NO_CLI
    return EngineChoice("embedded", {CLI: str(executable)}, why)


def describe_engine(settings: Settings, environ: Mapping[str, str], executable: Path | None) -> str:
    """Which engine a run would use here, and why; starts nothing."""
    try:
        choice = choose_engine(settings, environ, executable)
    except RondelError as error:
        return f"none ({error.what}{f'; {error.hint}' if error.hint else ''})"
    problem = ""
    if choice.kind == "dagger":
        endpoint = running_engine({**environ, **choice.environment})
        problem = endpoint.unanswered() if endpoint is not None else ""
    return f"{choice.engine} ({'; but '.join(filter(None, (choice.why, problem)))})"


def _by_cli(real: Path, endpoint: EngineEndpoint | None, why: str) -> EngineChoice:
    return EngineChoice("dagger", {CLI: str(real), **(endpoint.environment if endpoint else {})}, why)


def _requested(settings: Settings) -> str:
    return f"requested by {settings.sources.get('engine', 'the settings')}"


def _session(settings: Settings, environ: Mapping[str, str]) -> EngineChoice:
    if not environ.get(SESSION_TOKEN):
        raise EngineUnavailable(
            f"{SESSION_PORT} is set, but {SESSION_TOKEN} is not",
            hint="start the pipeline with `dagger run` or `rondel run`, or unset both",
        )
    embedded = in_own_session(environ)
    if settings.engine != "auto" and (settings.engine == "embedded") != embedded:
        owner = "Rondel's embedded engine" if embedded else "a Dagger engine"
        raise ConfigurationError(
            f"this session belongs to {owner}, but --engine requests {settings.engine}",
            hint="run `python ci/main.py` without `dagger run`, or omit --engine",
            place=settings.sources.get("engine"),
        )
    return EngineChoice("embedded" if embedded else "session", why=IN_SESSION)


def in_own_session(environ: Mapping[str, str]) -> bool:
    """Whether the environment has a session of the embedded engine."""
    return bool(environ.get(SESSION_PORT)) and environ.get(EMBEDDED_SESSION) == "1"


def rondel_executable() -> Path | None:
    """The ``rondel`` command of this environment."""
    beside = Path(sys.executable).with_name("rondel")
    if beside.is_file():
        return beside
    found = shutil.which("rondel")
    return Path(found) if found else None


def find_real_cli(environ: Mapping[str, str]) -> Path | None:
    """The first ``dagger`` on the PATH that is not Rondel's own."""
    given = environ.get(CLI)
    if given and not is_own(Path(given)):
        return Path(given)
    for folder in environ.get("PATH", "").split(os.pathsep):
        candidate = Path(folder or ".") / "dagger"
        # os.path, because Path.is_file raises for a folder that this user may not enter.
        if os.path.isfile(candidate) and os.access(candidate, os.X_OK) and not is_own(candidate):  # noqa: PTH113
            return candidate
    return None


def is_own(command: Path) -> bool:
    """Whether an executable belongs to Rondel: a short script that imports it."""
    if command.name == "rondel":
        return True
    try:
        with command.open("rb") as file:
            head = file.read(4096)
    except OSError:
        return False
    return head.startswith(b"#!") and b"rondel" in head
