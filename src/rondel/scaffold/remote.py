"""The DVC configuration of a project without a remote: the one that runs use, for `dvc push` and `pull`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from rondel.data.remote import DEFAULT_FOLDER, default_remote, dvc_config

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

CONFIG = ".dvc/config"
NAME = "local"


def with_remote(root: Path, environ: Mapping[str, str]) -> tuple[str | None, str | None]:
    """The text of ``.dvc/config`` with a default remote, if it needs one; a note.

    The address is relative to the file, so that it means a folder of each
    clone. A remote that is there is left alone, in whatever file it stands.
    """
    if any((folder / ".dvc").is_dir() for folder in root.parents) and not (root / ".dvc").is_dir():
        return None, None  # a part of the project above; a `.dvc` of its own would cut it off
    remotes = [
        match[1]
        for section in dvc_config(root, environ)
        if (match := re.fullmatch(r'remote "(.*)"', section))
    ]
    if default_remote(root, environ):
        return None, None
    if remotes:
        return None, (
            f"no DVC remote is the default, so runs keep data in {DEFAULT_FOLDER}: "
            f"`dvc remote default {remotes[0]}` makes it that one"
        )
    file = root / CONFIG
    text = file.read_text(encoding="utf-8") if file.is_file() else ""
    return _added(text), (
        f"data is kept in {DEFAULT_FOLDER}, a folder of this clone: `dvc push` brings there what DVC has "
        "here; CI and colleagues need a remote that they reach, too: `dvc remote add --default NAME URL`"
    )


def _added(text: str) -> str:
    """The configuration with the remote at its end and the default in ``[core]``."""
    if text and not text.endswith("\n"):
        text += "\n"
    core = re.search(r"^[ \t]*\[core\][ \t]*(?:#.*)?\n", text, re.MULTILINE)
    line = f"    remote = {NAME}\n"
    text = text[: core.end()] + line + text[core.end() :] if core else f"{text}[core]\n{line}"
    return f"{text}['remote \"{NAME}\"']\n    url = ../{DEFAULT_FOLDER}\n"
