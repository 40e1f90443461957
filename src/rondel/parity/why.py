"""Why a stage ran or was cached: compares its key with the one in an earlier run."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from rondel.cache import Change, compare
from rondel.errors import RecordError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rondel.record import Capsule, StageRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Why:
    """Why the stage was in this ``state`` in ``run``: ``reason``.

    ``since`` is the earlier run whose key it was compared with, ``changes`` are the
    differences, ``packages`` the image's packages that changed. ``reused_from`` is
    the run whose result a cached stage reused. ``undeclared`` are files that its
    commands read and that are not among their dependencies.
    """

    stage: str
    run: str
    state: str
    reason: str
    since: str | None = None
    changes: tuple[Change, ...] = ()
    packages: tuple[Change, ...] = ()
    reused_from: str | None = None
    undeclared: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The answer as JSON values."""
        return {
            "stage": self.stage,
            "run": self.run,
            "state": self.state,
            "reason": self.reason,
            "since": self.since,
            "served": self.reused_from,
            "undeclared": list(self.undeclared),
            "changes": [_change_json(change) for change in self.changes],
            "packages": [_change_json(change) for change in self.packages],
        }


def _change_json(change: Change) -> dict[str, Any]:
    return {
        "part": change.part,
        "entry": change.entry,
        "kind": change.kind,
        "before": change.before,
        "after": change.after,
    }


def explain(stage: str, runs: Sequence[Capsule]) -> Why:
    """Why ``stage`` ran or was cached in the newest of ``runs`` that it took part in.

    ``runs`` are ordered newest first. Raises RecordError if no run has the stage.
    """
    took_part = [(run, record) for run in runs if (record := _took_part(run, stage)) is not None]
    if not took_part:
        known = {record.name for run in runs for record in run.stages}
        raise RecordError(f"no run here has a stage {stage!r}", hint=did_you_mean(stage, known))
    run, record = took_part[0]
    why = Why(
        stage=stage,
        run=run.id,
        state=record.state,
        reason=record.reason,
        reused_from=record.reused_from,
        undeclared=tuple(record.undeclared or ()),
    )
    if record.state == "cached":
        return why
    before = next(((old, each) for old, each in took_part[1:] if _comparable(each)), None)
    if before is None or record.key is None or before[1].key is None:
        return why
    changes = compare(before[1].key, record.key)
    return replace(
        why,
        since=before[0].id,
        changes=changes,
        packages=_packages(before[1], record) if any(each.part == "image" for each in changes) else (),
    )


def _took_part(run: Capsule, stage: str) -> StageRecord | None:
    found = next((record for record in run.stages if record.name == stage), None)
    return None if found is None or found.state in {"pending", "skipped"} else found


def _comparable(record: StageRecord) -> bool:
    return record.key is not None and record.state in {"ran", "restored", "cached"}


def _packages(before: StageRecord, after: StageRecord) -> tuple[Change, ...]:
    old = before.image.packages if before.image else {}
    new = after.image.packages if after.image else {}
    if not old or not new:
        return ()
    found = []
    for name in sorted({*old, *new}):
        if old.get(name) != new.get(name):
            kind: Any = "added" if name not in old else "removed" if name not in new else "changed"
            found.append(Change("packages", name, kind, old.get(name), new.get(name)))
    return tuple(found)
