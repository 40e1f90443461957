"""What one stage sees of the workspace: no results of stages that it does not need.

Whether such results exist when the stage starts depends on what happens to run at the
same time, so a stage that can read any file must not see them.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rondel.data.model import overlap
from rondel.data.workspace import escape

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class Visibility:
    """The results in the workspace that a stage sees.

    ``hidden`` are paths that it makes itself, or that stages make which it does not
    need. ``shown`` are paths that the stages make that it needs. ``locks`` maps lock
    files to their texts without the entries of stages that it does not need.
    """

    hidden: frozenset[str] = frozenset()
    shown: frozenset[str] = frozenset()
    locks: Mapping[str, str] = field(default_factory=dict)

    def sees(self, path: str) -> bool:
        """Whether the stage sees this file."""
        return any(overlap(path, each) for each in self.shown) or not any(
            path == each or path.startswith(f"{each}/") for each in self.hidden
        )

    def excludes(self) -> list[str]:
        """Patterns, in the style of ``.dockerignore``, of what it does not see."""
        kept = (path for path in self.shown if any(path.startswith(f"{each}/") for each in self.hidden))
        return [*map(escape, sorted(self.hidden)), *(f"!{escape(path)}" for path in sorted(kept))]

    def files(self, files: Mapping[str, str]) -> dict[str, str]:
        """Those of ``files``, a mapping of paths to hashes, that it sees."""
        seen = {path: digest for path, digest in files.items() if self.sees(path)}
        for lock, text in self.locks.items():
            if lock in seen:
                seen[lock] = f"md5:{hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()}"
        return seen
