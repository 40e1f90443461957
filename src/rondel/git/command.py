"""Runs git: the one function through which the SDK does, with one set of options."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

SETTINGS = (
    # CI jobs often run as another user than the one who checked out, and git would refuse. The settings
    # below keep it from running what such a repository's configuration names.
    "safe.directory=*",
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.quotePath=false",
    "commit.gpgSign=false",  # it may ask for a passphrase
    "protocol.version=2",
)

_ENVIRONMENT = {
    "GIT_OPTIONAL_LOCKS": "0",  # to read a repository must not get in the way of who works in it
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_PAGER": "cat",
    "LC_ALL": "C",  # messages are searched for words
}

# Variables that lead git to another repository than the folder's, or change what a path means. git sets the
# former for its hooks, and a hook may well run Rondel.
_UNSET = frozenset(
    """
    GIT_ALTERNATE_OBJECT_DIRECTORIES GIT_COMMON_DIR GIT_DIR GIT_EXTERNAL_DIFF GIT_GRAFT_FILE
    GIT_IMPLICIT_WORK_TREE GIT_INDEX_FILE GIT_NAMESPACE GIT_OBJECT_DIRECTORY GIT_PREFIX GIT_SHALLOW_FILE
    GIT_WORK_TREE GIT_LITERAL_PATHSPECS GIT_GLOB_PATHSPECS GIT_NOGLOB_PATHSPECS GIT_ICASE_PATHSPECS
    """.split()  # noqa: SIM905 - read as prose
)


def run_git(
    folder: Path,
    *words: str,
    environ: Mapping[str, str] | None = None,
    variables: Mapping[str, str] | None = None,
    settings: Iterable[str] = (),
    stdin: bytes = b"",
) -> subprocess.CompletedProcess[bytes]:
    """Run a git command in ``folder``; its outcome, whatever it is.

    ``environ`` is in place of this process's environment, ``variables`` and
    ``settings`` are added to what every call has. Raises OSError where git is
    not installed or the folder does not exist.
    """
    inherited = os.environ if environ is None else environ
    given = {name: value for name, value in inherited.items() if name not in _UNSET}
    options = [word for each in (*SETTINGS, *settings) for word in ("-c", each)]
    return subprocess.run(
        ["git", "--no-pager", *options, *words],
        cwd=folder,
        env={**given, **_ENVIRONMENT, **(variables or {})},
        input=stdin,
        capture_output=True,
        check=False,
    )


def git_output(folder: Path, *words: str) -> str | None:
    """What a git command prints; None where it fails, and where git is not installed."""
    try:
        done = run_git(folder, *words)
    except OSError:
        return None
    return os.fsdecode(done.stdout) if done.returncode == 0 else None


def git_paths(folder: Path, *words: str) -> list[str] | None:
    """The paths that a git command prints with ``-z``; None as for :func:`git_output`."""
    printed = git_output(folder, *words)
    return None if printed is None else [path for path in printed.split("\0") if path]
