"""Rondel's own ``dagger`` command, for machines without the Dagger CLI.

If the PATH has a real CLI that can reach an engine, this command runs it
instead, unless the embedded engine is requested or its session already runs.
Commands that Rondel does not serve raise an error that says what to do.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, NoReturn

from rondel.cli.process import repair_streams, run_guarded
from rondel.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence

SERVED = ("run", "api with-session", "session", "version")

USAGE = """usage: dagger run COMMAND …

  run                run COMMAND in a session of Rondel's embedded engine
  api with-session   the same; the command's name in Dagger 1.0
  session            serve a session to a Dagger client, which starts this command
  version            print Rondel's version

If the PATH has a Dagger CLI that can reach an engine, this command runs that CLI.
For other commands, install it: https://docs.dagger.io/install"""

NOTICE = "dagger: using Rondel's embedded engine ({why})"


def main(argv: Sequence[str] | None = None) -> int:
    """The entry point of ``dagger``: returns the exit code, or becomes the real CLI."""
    repair_streams()
    words = list(sys.argv[1:] if argv is None else argv)
    return run_guarded(lambda: _main(words), lambda error: print(error.render(), file=sys.stderr))


def _main(words: list[str]) -> int:
    from rondel.engines.choice import NO_ENGINE, SESSION_PORT, find_real_cli

    command, rest = _split_command(words)
    if command in RUNS and os.environ.get(SESSION_PORT):
        # `dagger run make train` in a session uses that session; a real CLI could not open another one in it.
        from rondel.cli.run import main as run

        return run(_without_flags(rest))
    real = find_real_cli(os.environ)
    why = _reason_to_stay(command) if real is not None else ""
    if real is not None and not why:
        from rondel.engines.discovery import find_engine

        reach = find_engine(os.environ)
        if reach is not None:
            if problem := reach.unanswered():
                print(f"dagger: {problem}; the Dagger CLI keeps retrying for ten minutes", file=sys.stderr)
            _become(str(real), words, {**os.environ, **reach.environment})
    print(NOTICE.format(why=why or NO_ENGINE), file=sys.stderr, flush=True)
    if command in RUNS:
        from rondel.cli.run import main as run

        return run(_without_flags(rest), embedded=True)
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
        hint="for other commands, install the Dagger CLI: https://docs.dagger.io/install",
    )


RUNS = frozenset({"run", "api with-session", "api exec"})
"""The names of one command: up to 0.21, in 1.0 (which hides ``run``), and in betas."""

SESSIONS = frozenset({"session", "api session"})

VALUED = frozenset(
    {
        *("--progress", "--workdir", "--workspace", "-W", "--env", "--org"),
        *("--cleanup-timeout", "--interactive-command", "--x-release", "--dot-output", "--dot-focus-field"),
    }
)
"""Flags of the real CLI that take a value."""


def _reason_to_stay(command: str) -> str:
    """Why this command does not run a real CLI; empty if it may."""
    from rondel.engines.choice import in_own_session

    if in_own_session(os.environ):
        return "this is a session of it"  # a real CLI would try to join it, which fails
    if command not in RUNS | SESSIONS:
        return ""
    from rondel.cli.run import settings_here

    settings = settings_here()
    return f"requested by {settings.sources.get('engine')}" if settings.engine == "embedded" else ""


def _become(real: str, words: list[str], environ: dict[str, str]) -> NoReturn:
    """Become the real CLI. If it does not know the new name of ``run``, use the old one."""
    command, rest = _split_command(words)
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
    # An older CLI may not know `api`, and show its general help.
    return b"with-session" in done.stdout + done.stderr


def _split_command(words: list[str]) -> tuple[str, list[str]]:
    """The command, of one or two words, and the words after it."""
    rest = _without_flags(words)
    if rest[:1] == ["api"] and len(rest) > 1:
        return " ".join(rest[:2]), rest[2:]
    return (rest[0] if rest and not rest[0].startswith("-") else ""), rest[1:]


def _without_flags(words: Sequence[str]) -> list[str]:
    """The words without leading flags."""
    rest = list(words)
    while rest and rest[0].startswith("-") and rest[0] not in {"--", "-h", "--help"}:
        flag = rest.pop(0)
        if flag in VALUED and rest:
            rest.pop(0)
    return rest
