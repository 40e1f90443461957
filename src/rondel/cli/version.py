"""``rondel version``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rondel.version import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(argv: Sequence[str]) -> int:  # noqa: ARG001 - all commands are called alike
    """Print Rondel's version."""
    print(f"rondel {__version__}")
    return 0
