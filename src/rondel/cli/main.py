"""``rondel``: finds the command, loads its file, runs it."""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING

from rondel.cli.entry_point import guarded, open_streams
from rondel.errors import ConfigurationError, RondelError, did_you_mean, nearest

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMANDS = {
    "run": "run a command inside a session of the embedded engine",
    "session": "serve a session of the embedded engine to a Dagger client",
    "runs": "list the runs of this project, export one, remove old ones",
    "show": "show one run",
    "reproduce": "run the failed stage of any run here, from its capsule",
    "parity": "say what differs between two runs",
    "why": "say why a stage ran, or why it did not",
    "check": "say which files a stage read that are not among its dependencies",
    "models": "list, show and check registered models",
    "promote": "make a model version champion",
    "rollback": "return to the previous champion",
    "ui": "open the MLflow server of this project, or stop it",
    "init": "make an ML project, or a pipeline for a DVC or MLflow project that is there",
    "ci": "write the files of GitLab and Jenkins from the pipeline, or check them",
    "doctor": "say what this machine can run",
    "engine": "status of the embedded engine's store, and pruning it",
    "version": "print the version",
}
"""Each has a module of its name in this package with ``main(argv) -> int``."""


def main(argv: Sequence[str] | None = None) -> int:
    """The entry point of ``rondel``; returns the exit code."""
    open_streams()
    words = list(sys.argv[1:] if argv is None else argv)
    return guarded(lambda: dispatch(words), _show)


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
        if nearest(name, COMMANDS) is None:  # more likely a stage's name than a slip of the finger
            hint += "; stages are run by `dagger run python ci/main.py STAGE`"
        raise ConfigurationError(f"there is no command {name!r}", hint=hint)
    module = importlib.import_module(f"rondel.cli.{name}")
    return int(module.main(words[1:]))


def usage() -> str:
    """The text of ``rondel --help``."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name.ljust(width)}  {text}" for name, text in COMMANDS.items()]
    return "\n".join(
        ["usage: rondel COMMAND …", "", *lines, "", "`rondel COMMAND --help` says more about one of them."]
    )
