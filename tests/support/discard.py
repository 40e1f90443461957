"""Removing large folders without waiting for the disk."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

# Layers have folders that nobody may write to, hence the chmod.
REMOVE = '{ rm -rf "$1" || { chmod -R u+rwX "$1"; rm -rf "$1"; }; } >/dev/null 2>&1 &'


def discard(folder: Path) -> None:
    """Remove the folder in the background: a store or an environment has so many files that it takes minutes."""
    subprocess.run(
        ["sh", "-c", REMOVE, "discard", str(folder)],
        check=True,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )
