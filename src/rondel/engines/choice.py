"""Which engine runs the containers."""

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
"""Set to 1 beside the port of a session of Rondel's own, so that one can tell whose session it is."""

NO_CLI = "there is no Dagger CLI on the PATH"
NO_ENGINE = "no Dagger engine is in reach"
IN_SESSION = "this command runs in a session of it"


@dataclass(frozen=True, slots=True)
class EngineChoice:
    """The engine, the environment variables that lead the client to it, and why it is this one."""

    kind: Literal["session", "dagger", "embedded"]
    environment: Mapping[str, str] = field(default_factory=dict)
    why: str = ""

    @property
    def engine(self) -> Literal["dagger", "embedded"]:
        """The engine's kind: a session that was there and is none of Rondel's is one of a Dagger engine."""
        return "embedded" if self.kind == "embedded" else "dagger"


def choose_engine(settings: Settings, environ: Mapping[str, str], executable: Path | None) -> EngineChoice:
    """The engine for a run. ``executable`` is the environment's ``rondel``.

    A session that is there already is used; ``--engine`` then only has to
    agree. Otherwise ``dagger`` needs a real CLI on the PATH, and ``auto``
    means the embedded engine unless a real one is within reach. Raises
    EngineUnavailable if the engine that was asked for is not there.
    """
    if environ.get(SESSION_PORT):
        return _session(settings, environ)
    real = find_real_cli(environ)
    if settings.engine == "dagger":
        if real is None:
            raise EngineUnavailable(
                NO_CLI,
                why="--engine dagger asks for a real Dagger engine",
                hint="install one (https://docs.dagger.io/install), or use --engine embedded",
            )
        # The CLI asks the container runtimes itself, and says what is wrong with them.
        return _by_cli(real, running_engine(environ), _asked(settings))
    if settings.engine == "auto" and real is not None and (reach := find_engine(environ)) is not None:
        return _by_cli(real, reach, str(reach))
    if executable is None:
        raise EngineUnavailable(
            "the rondel executable is not beside this Python",
            why=f"looked in {Path(sys.executable).parent} and on the PATH",
            hint="install rondel into the environment that runs the pipeline",
        )
    why = _asked(settings) if settings.engine == "embedded" else NO_ENGINE if real is not None else NO_CLI
    return EngineChoice("embedded", {CLI: str(executable)}, why)


def engine_in_words(settings: Settings, environ: Mapping[str, str], executable: Path | None) -> str:
    """Which engine a run would take here, and why; starts nothing."""
    try:
        choice = choose_engine(settings, environ, executable)
    except RondelError as error:
        return f"none ({error.what}{f'; {error.hint}' if error.hint else ''})"
    trouble = ""
    if choice.kind == "dagger" and (reach := running_engine({**environ, **choice.environment})) is not None:
        trouble = reach.unanswered()
    return f"{choice.engine} ({'; but '.join(filter(None, (choice.why, trouble)))})"


def _by_cli(real: Path, reach: EngineEndpoint | None, why: str) -> EngineChoice:
    return EngineChoice("dagger", {CLI: str(real), **(reach.environment if reach is not None else {})}, why)


def _asked(settings: Settings) -> str:
    return f"asked for by {settings.sources.get('engine', 'the settings')}"


def _session(settings: Settings, environ: Mapping[str, str]) -> EngineChoice:
    if not environ.get(SESSION_TOKEN):
        raise EngineUnavailable(
            f"{SESSION_PORT} is set, but {SESSION_TOKEN} is not",
            hint="start the pipeline with `dagger run` or `rondel run`, or unset both",
        )
    embedded = in_own_session(environ)
    if settings.engine != "auto" and (settings.engine == "embedded") != embedded:
        there = "Rondel's embedded engine" if embedded else "a Dagger engine"
        raise ConfigurationError(
            f"this session belongs to {there}, and --engine asks for {settings.engine}",
            hint="run `python ci/main.py` without `dagger run`, or leave --engine out",
            place=settings.sources.get("engine"),
        )
    return EngineChoice("embedded" if embedded else "session", why=IN_SESSION)


def in_own_session(environ: Mapping[str, str]) -> bool:
    """Whether the session that the environment leads to is one of Rondel's engine."""
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
        # os.path: a folder that this user may not enter is no folder of commands, not an error.
        if os.path.isfile(candidate) and os.access(candidate, os.X_OK) and not is_own(candidate):  # noqa: PTH113
            return candidate
    return None


def is_own(command: Path) -> bool:
    """Whether an executable is one of Rondel's: a short script that imports it."""
    if command.name == "rondel":
        return True
    try:
        with command.open("rb") as file:
            head = file.read(4096)
    except OSError:
        return False
    return head.startswith(b"#!") and b"rondel" in head
