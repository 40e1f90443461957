"""Small result values that only the API uses."""

from __future__ import annotations

from dataclasses import dataclass

from rondel.engine.api.registry import register_type


@dataclass(frozen=True, slots=True)
class Stat:
    """Metadata of a path."""

    name: str
    size: int
    permissions: int
    file_type: str


@dataclass(frozen=True, slots=True)
class SearchSubmatch:
    """A part of a matching line; offsets in bytes."""

    text: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class SearchResult:
    """A match of a search."""

    file_path: str
    line_number: int
    absolute_offset: int
    matched_lines: str
    submatches: tuple[SearchSubmatch, ...]


@dataclass(frozen=True, slots=True)
class DiffStat:
    """How many lines of a file a changeset adds and removes."""

    path: str
    kind: str
    added_lines: int
    removed_lines: int
    old_path: str | None = None


for _kind in (Stat, SearchSubmatch, SearchResult, DiffStat):
    register_type(_kind, _kind.__name__)
