"""Results of a stage that are not in the working tree yet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from rondel.data.returning import Before


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """Results that go to the working tree when the stage has succeeded: they wait in ``files``."""

    files: Path
    before: Before
    lock_files: tuple[str, ...] = ()

    def locks(self) -> dict[str, str]:
        """The lock files as the container wrote them."""
        found = {}
        for name in self.lock_files:
            path = self.files / name
            if path.is_file():
                found[name] = path.read_text(encoding="utf-8")
        return found
