"""``rondel``: finds a command, loads its module and runs it."""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING

from rondel.cli.process import repair_streams, run_guarded
from rondel.errors import ConfigurationError, RondelError, did_you_mean, nearest

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMANDS = {
    "run": "run a command in a session of the embedded engine",
    "session": "serve a session of the embedded engine to a Dagger client",
    "runs": "list the project's runs, export one, or remove old ones",
    "show": "show a run",
    "reproduce": "repeat the failed stage of any run on this machine",
    "parity": "show what differs between two runs",
    "why": "explain why a stage ran or did not run",
    "check": "list the undeclared files that stages read",
    "models": "list, show and verify registered models",
    "promote": "make a model version the champion",
    "rollback": "return to the previous champion",
    "ui": "open the project's MLflow server, or stop it",
    "init": "create an ML project, or add a pipeline to a DVC or MLflow project",
    "ci": "write the files of GitLab and Jenkins from the pipeline, or check them",
    "doctor": "show what this machine can run",
    "engine": "show the store of the embedded engine, or shrink it",
    "version": "print the version",
}
"""Each command has a module of the same name in this package, with ``main(argv) -> int``."""


def main(argv: Sequence[str] | None = None) -> int:
    """The entry point of ``rondel``; returns the exit code."""
    repair_streams()
    words = list(sys.argv[1:] if argv is None else argv)
    return run_guarded(lambda: dispatch(words), _show)


def _show(error: RondelError) -> None:
    from rondel.cli.arguments import show_error

    show_error(error)


def dispatch(words: Sequence[str]) -> int:
    """Run the command that ``words`` name. Raises ConfigurationError for an unknown one."""
    if not words or words[0] in {"-h", "--help", "help"}:
        print(usage())
        return 0
    name = "version" if words[0] in {"--version", "-V"} else words[0]
    if name not in COMMANDS:
        hint = did_you_mean(name, COMMANDS)
        if nearest(name, COMMANDS) is None:  # more likely a stage's name than a typo
            hint += "; to run a stage: `dagger run python ci/main.py STAGE`"
        raise ConfigurationError(f"there is no command {name!r}", hint=hint)
    module = importlib.import_module(f"rondel.cli.{name}")
    return int(module.main(words[1:]))


def usage() -> str:
    """The text of ``rondel --help``."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name.ljust(width)}  {text}" for name, text in COMMANDS.items()]
    return "\n".join(
        ["usage: rondel COMMAND …", "", *lines, "", "`rondel COMMAND --help` describes a command."]
    )
