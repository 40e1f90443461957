"""Reads project files that may be missing, or contain something unexpected."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path


def text_of(path: Path) -> str:
    """The text of a file; empty if it can't be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def value_at(document: Any, *keys: str) -> Any:
    """The value below these keys of nested tables; None if there is none."""
    for key in keys:
        document = document.get(key) if isinstance(document, dict) else None
    return document
