"""Configures the remote of runs as DVC's default remote, for `dvc push` and `dvc pull`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from rondel.data.remote import DEFAULT_FOLDER, default_remote, dvc_config

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

CONFIG = ".dvc/config"
NAME = "local"


def add_remote(root: Path, environ: Mapping[str, str]) -> tuple[str | None, str | None]:
    """The text of ``.dvc/config`` with a default remote, if it needs one, and a note.

    The address is relative to the file, so that each clone has its own folder. An
    existing remote stays as it is, in any configuration file of DVC.
    """
    if any((folder / ".dvc").is_dir() for folder in root.parents) and not (root / ".dvc").is_dir():
        return None, None  # part of the project above, from which its own `.dvc` would separate it
    remotes = [
        match[1]
        for section in dvc_config(root, environ)
        if (match := re.fullmatch(r'remote "(.*)"', section))
    ]
    if default_remote(root, environ):
        return None, None
    if remotes:
        return None, (
            f"no DVC remote is the default, so runs store data in {DEFAULT_FOLDER}; "
            f"to use {remotes[0]}, run `dvc remote default {remotes[0]}`"
        )
    file = root / CONFIG
    text = file.read_text(encoding="utf-8") if file.is_file() else ""
    return _added(text), (
        f"the DVC remote is {DEFAULT_FOLDER}, a folder of this clone; `dvc push` copies cached data there; "
        "to share data with CI and colleagues, run `dvc remote add --default NAME URL`"
    )


def _added(text: str) -> str:
    """The configuration with the remote at its end and the default in ``[core]``."""
    if text and not text.endswith("\n"):
        text += "\n"
    core = re.search(r"^[ \t]*\[core\][ \t]*(?:#.*)?\n", text, re.MULTILINE)
    line = f"    remote = {NAME}\n"
    text = text[: core.end()] + line + text[core.end() :] if core else f"{text}[core]\n{line}"
    return f"{text}['remote \"{NAME}\"']\n    url = ../{DEFAULT_FOLDER}\n"
