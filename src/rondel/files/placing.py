"""Putting a file in its place whole, without its content being copied where that can be spared."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def put(source: Path, target: Path) -> None:
    """Have ``target`` be what ``source`` is, also where it was something else: linked, else copied.

    Raises OSError for a place that takes nothing; then what was there is untouched.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        try:
            os.link(source, draft)
        except OSError:
            shutil.copyfile(source, draft)
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)
