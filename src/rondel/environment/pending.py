"""Results of a stage that are not in the working tree yet."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from rondel.cache.provenance import Provenance
    from rondel.data.workspace_sync import WorkspaceSnapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingResults:
    """Results that go to the working tree when the stage has succeeded: they wait in ``files``.

    ``made`` maps addresses of DVC stages to their entries, ``entries`` lock files to the texts of
    those by stage, ``provenance`` says by address what made them. ``data`` are the outputs that DVC
    keeps, which git has to ignore. ``run_only``: they go to the run's own tree only.
    """

    files: Path
    before: WorkspaceSnapshot
    made: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    entries: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    provenance: Mapping[str, Provenance] = field(default_factory=dict)
    data: tuple[str, ...] = ()
    run_only: bool = False

    def locks(self) -> dict[str, str]:
        """Lock files that have these entries and no others."""
        from rondel.data.workspace_sync import format_lock

        return {name: format_lock(entries) for name, entries in self.entries.items()}
