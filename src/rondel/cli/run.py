"""``rondel run CMD…``: runs a command in a session of the engine that a pipeline here would choose."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from rondel.errors import ConfigurationError
from rondel.settings import find_root, load_settings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import FrameType

    from rondel.settings import Settings

GRACE = 10.0
"""Seconds between passing a signal on and killing the child."""

USAGE = """usage: rondel run [--] COMMAND [ARGUMENT …]

Runs COMMAND with DAGGER_SESSION_PORT and DAGGER_SESSION_TOKEN set, so that all its
Dagger clients use the embedded engine. The engine starts when a client connects
and ends with COMMAND. The exit code is that of COMMAND.

If the PATH has a Dagger CLI that can reach an engine, clients in COMMAND start that
CLI instead. To prevent this, set RONDEL_ENGINE=embedded, or engine.kind in
[tool.rondel]."""


def main(argv: Sequence[str], *, embedded: bool = False) -> int:
    """Run the command; return its exit code, or 128 + N after signal N. ``embedded``: only that engine."""
    words = list(argv)
    if not words or words[0] in {"-h", "--help"}:
        print(USAGE)
        return 0 if words else ConfigurationError.exit_code
    if words[0] == "--":
        words = words[1:]
    if words and words[0].startswith("-"):
        raise ConfigurationError(f"`rondel run` has no flag {words[0]}", hint="rondel run -- COMMAND")
    if not words:
        raise ConfigurationError("a command is missing", hint="rondel run python ci/main.py train")
    if os.environ.get("DAGGER_SESSION_PORT"):
        # As with `dagger run`, a session in a session is the same one.
        return run_child(words, os.environ)
    if not embedded:
        from rondel.engines.choice import choose_engine, rondel_executable

        choice = choose_engine(settings_here(), os.environ, rondel_executable())
        if choice.kind == "dagger":
            return run_child(words, {**os.environ, **choice.environment})
    from rondel.engine.server.launcher import EmbeddedSession
    from rondel.engines.session import engine_environment

    os.environ.update(engine_environment(Path.cwd(), os.environ))
    with EmbeddedSession.open() as session:
        return run_child(words, {**os.environ, **session.environment})


def settings_here() -> Settings:
    """The settings of the project in this folder; outside a project, those of the environment.

    Raises ConfigurationError for wrong options.
    """
    here = Path.cwd()
    with suppress(ConfigurationError):
        here = find_root(here)
    return load_settings(here, {}, os.environ)


def run_child(words: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run a command, pass SIGINT and SIGTERM on to it, and kill it if it does not end in time.

    Raises ConfigurationError if it can't be started.
    """
    # Handlers come first: a signal after the start of the child would otherwise end only this process.
    pending: list[int] = []
    child: subprocess.Popen[bytes] | None = None

    def forward(number: int, _frame: FrameType | None) -> None:
        pending.append(number)
        if child is not None:
            _pass_on(child, number)

    before = {number: signal.signal(number, forward) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        try:
            child = subprocess.Popen(list(words), env=dict(environ))
        except OSError as error:
            raise ConfigurationError(
                f"cannot start {words[0]!r}: {error.strerror}",
                hint="is it on the PATH?" if isinstance(error, FileNotFoundError) else None,
            ) from None
        for number in pending:
            _pass_on(child, number)
        code = child.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return code if code >= 0 else 128 - code


def _pass_on(child: subprocess.Popen[bytes], number: int) -> None:
    if number != signal.SIGINT or not _from_terminal():
        child.send_signal(number)
    killer = threading.Timer(GRACE, child.kill)
    killer.daemon = True
    killer.start()


def _from_terminal() -> bool:
    """Whether a SIGINT is probably a ^C, which the terminal also sends to the child."""
    try:
        return os.tcgetpgrp(sys.stderr.fileno()) == os.getpgrp()
    except (OSError, ValueError, AttributeError):
        return False
