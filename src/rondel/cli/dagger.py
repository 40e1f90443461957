"""The environment's own ``dagger``: the invocation that people know, where no Dagger CLI is installed.

A real CLI further down the PATH takes over whenever an engine is within its
reach, unless the embedded one is asked for, or its session is there already.
Everything that Rondel does not serve is answered with what to do.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, NoReturn

from rondel.cli.entry_point import guarded, open_streams
from rondel.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence

SERVED = ("run", "api with-session", "session", "version")

USAGE = """usage: dagger run COMMAND …

  run                runs COMMAND inside a session of Rondel's embedded engine
  api with-session   the same, by its name in Dagger 1.0
  session            serves a session to a Dagger client, which starts this itself
  version            prints Rondel's version

Where a Dagger CLI is on the PATH and an engine in its reach, this is that CLI.
For all its other commands install it: https://docs.dagger.io/install"""

NOTICE = "dagger: this is Rondel's stand-in, with the embedded engine ({why})"


def main(argv: Sequence[str] | None = None) -> int:
    """The entry point of ``dagger``; returns the exit code, or becomes the real CLI."""
    open_streams()
    words = list(sys.argv[1:] if argv is None else argv)
    return guarded(lambda: _main(words), lambda error: print(error.render(), file=sys.stderr))


def _main(words: list[str]) -> int:
    from rondel.engines.choice import NO_ENGINE, SESSION_PORT, find_real_cli

    command, rest = _split(words)
    if command in RUNS and os.environ.get(SESSION_PORT):
        # `dagger run make train`: the session that is there serves. No real CLI can open one inside of it.
        from rondel.cli.run import main as run

        return run(_command(rest))
    real = find_real_cli(os.environ)
    why = _stay(command) if real is not None else ""
    if real is not None and not why:
        from rondel.engines.discovery import find_engine

        reach = find_engine(os.environ)
        if reach is not None:
            if problem := reach.unanswered():
                print(f"dagger: {problem}; the Dagger CLI keeps retrying for ten minutes", file=sys.stderr)
            _hand_over(str(real), words, {**os.environ, **reach.environment})
    print(NOTICE.format(why=why or NO_ENGINE), file=sys.stderr, flush=True)
    if command in RUNS:
        from rondel.cli.run import main as run

        return run(_command(rest), embedded=True)
    if command in SESSIONS:
        from rondel.cli.session import main as session

        return session(rest)
    if command == "version" or "--version" in words:
        from rondel.cli.version import main as version

        return version(rest)
    if command == "help" or {"-h", "--help"} & set(words[:1]):
        print(USAGE)
        return 0
    what = f"Rondel's `dagger` does not serve {command!r}" if command else "Rondel's `dagger` needs a command"
    raise ConfigurationError(
        what,
        why=f"it serves {', '.join(SERVED)}",
        hint="for the rest install the Dagger CLI: https://docs.dagger.io/install",
    )


RUNS = frozenset({"run", "api with-session", "api exec"})
"""One command: up to 0.21 `run`, which 1.0 hides; its name there, and what betas called it."""

SESSIONS = frozenset({"session", "api session"})

VALUED = frozenset(
    {
        *("--progress", "--workdir", "--workspace", "-W", "--env", "--org"),
        *("--cleanup-timeout", "--interactive-command", "--x-release", "--dot-output", "--dot-focus-field"),
    }
)
"""Flags of the real CLI whose value is the next word."""


def _stay(command: str) -> str:
    """Why no real CLI may take over; empty if one may."""
    from rondel.engines.choice import in_own_session

    if in_own_session(os.environ):
        return "this is a session of it"  # a real CLI would join it, and can't
    if command not in RUNS | SESSIONS:
        return ""
    from rondel.cli.run import settings_here

    settings = settings_here()
    return f"asked for by {settings.sources.get('engine')}" if settings.engine == "embedded" else ""


def _hand_over(real: str, words: list[str], environ: dict[str, str]) -> NoReturn:
    """Become the real CLI. One that does not know the new name of `run` is given the old one."""
    command, rest = _split(words)
    if command in RUNS and command != "run" and not _knows_new_name(real, environ):
        flags = words[: len(words) - len(rest) - len(command.split())]
        words = [*flags, "run", *rest]
    os.execve(real, [real, *words], environ)  # noqa: S606 - the same command, without a shell


def _knows_new_name(real: str, environ: dict[str, str]) -> bool:
    import subprocess

    try:
        done = subprocess.run(
            [real, "api", "--help"],
            capture_output=True,
            timeout=10,
            check=False,
            env=environ,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired):
        return True
    # An older one may take `api` for something else and show its general help.
    return b"with-session" in done.stdout + done.stderr


def _split(words: list[str]) -> tuple[str, list[str]]:
    """The command that the words name, of one word or two, and what follows it."""
    rest = _command(words)
    if rest[:1] == ["api"] and len(rest) > 1:
        return " ".join(rest[:2]), rest[2:]
    return (rest[0] if rest and not rest[0].startswith("-") else ""), rest[1:]


def _command(words: Sequence[str]) -> list[str]:
    """The words without the flags before them; those of the real CLI's display are passed over."""
    rest = list(words)
    while rest and rest[0].startswith("-") and rest[0] not in {"--", "-h", "--help"}:
        flag = rest.pop(0)
        if flag in VALUED and rest:
            rest.pop(0)
    return rest
