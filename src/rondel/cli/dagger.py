"""The environment's own ``dagger``: the invocation that people know, where no Dagger CLI is installed.

A real CLI further down the PATH takes over whenever an engine is within its
reach. Everything that Rondel does not serve is answered with what to do.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from rondel.errors import ConfigurationError, RondelError

if TYPE_CHECKING:
    from collections.abc import Sequence

SERVED = ("run", "session", "version")

NOTICE = "dagger: this is Rondel's stand-in, with the embedded engine (no Dagger engine is in reach)"


def main(argv: Sequence[str] | None = None) -> int:
    """The entry point of ``dagger``; returns the exit code, or becomes the real CLI."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        return _main(words)
    except RondelError as error:
        print(error.render(), file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130


def _main(words: list[str]) -> int:
    from rondel.runner.engine import engine_in_reach, find_real_cli

    real = find_real_cli(os.environ)
    if real is not None and engine_in_reach(os.environ):
        os.execv(real, [str(real), *words])  # noqa: S606 - the same command, without a shell
    print(NOTICE, file=sys.stderr, flush=True)
    command = next((word for word in words if not word.startswith("-")), "")
    rest = words[words.index(command) + 1 :] if command else []
    if command == "run":
        from rondel.cli.run import main as run

        return run(_command(rest))
    if command == "session":
        from rondel.cli.session import main as session

        return session(rest)
    if command == "version" or "--version" in words:
        from rondel.cli.version import main as version

        return version(rest)
    what = f"Rondel's `dagger` does not serve {command!r}" if command else "Rondel's `dagger` needs a command"
    raise ConfigurationError(
        what,
        why=f"it serves {', '.join(SERVED)}",
        hint="for the rest install the Dagger CLI: https://docs.dagger.io/install",
    )


VALUED = frozenset({"--progress", "--workdir", "--cleanup-timeout", "--interactive-command"})


def _command(words: Sequence[str]) -> list[str]:
    """The command of ``dagger run [flags] COMMAND``; the real CLI's flags for its display are passed over."""
    rest = list(words)
    while rest and rest[0].startswith("-") and rest[0] not in {"--", "-h", "--help"}:
        flag = rest.pop(0)
        if flag in VALUED and rest:
            rest.pop(0)
    return rest
