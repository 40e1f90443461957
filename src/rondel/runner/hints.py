"""What to do about failures that are known by what the command said."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rondel.pipeline import Stage

_NO_REPOSITORY = re.compile(r"not a git repository|InvalidGitRepositoryError|NotGitRepository", re.IGNORECASE)
_NO_GIT = re.compile(r"\bgit: (?:command )?not found|No such file or directory: '(?:/usr/bin/)?git'")


def hint_for(stage: Stage, said: str) -> str | None:
    """A hint for a stage that failed after its command had ``said`` this; None where nothing is known."""
    if _NO_REPOSITORY.search(said) and not stage.git:
        return (
            f"a stage has no .git; declare {stage.base!r} with git=True to have it there, "
            "or read the commit from $RONDEL_GIT_COMMIT"
        )
    if _NO_GIT.search(said):
        return "the image has no git: install it in the Containerfile, or read $RONDEL_GIT_COMMIT"
    return None
