"""Why a stage ran, or why it did not: its key in one run against the one before."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from rondel.cache import Change, compare
from rondel.errors import RecordError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rondel.record import Capsule, StageRecord

_SINCE = re.compile(r"unchanged since run ([\w-]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Why:
    """The answer: in ``run`` the stage was ``state``, for ``reason``.

    ``since`` is the run that the key was compared with, ``changes`` what in it
    changed; ``packages`` are the packages of the image that did. A stage that
    did not run was ``served`` from the run of that ID. ``undeclared`` are files
    that its commands read and that are not among their dependencies.
    """

    stage: str
    run: str
    state: str
    reason: str
    since: str | None = None
    changes: tuple[Change, ...] = ()
    packages: tuple[Change, ...] = ()
    served: str | None = None
    undeclared: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The answer as JSON values."""
        return {
            "stage": self.stage,
            "run": self.run,
            "state": self.state,
            "reason": self.reason,
            "since": self.since,
            "served": self.served,
            "undeclared": list(self.undeclared),
            "changes": [_plain(change) for change in self.changes],
            "packages": [_plain(change) for change in self.packages],
        }


def _plain(change: Change) -> dict[str, Any]:
    return {
        "part": change.part,
        "entry": change.entry,
        "kind": change.kind,
        "before": change.before,
        "after": change.after,
    }


def explain(stage: str, runs: Sequence[Capsule]) -> Why:
    """Why ``stage`` was what it was in the first of ``runs``, which are the newest first.

    A run in which the stage took no part is passed over. Raises RecordError if
    no run has the stage.
    """
    part = [(run, record) for run in runs if (record := _took_part(run, stage)) is not None]
    if not part:
        known = {record.name for run in runs for record in run.stages}
        raise RecordError(f"no run here has a stage {stage!r}", hint=did_you_mean(stage, known))
    run, record = part[0]
    served = _SINCE.search(record.reason) if record.state == "cached" else None
    why = Why(
        stage=stage,
        run=run.id,
        state=record.state,
        reason=record.reason,
        served=served[1] if served else None,
        undeclared=tuple(record.undeclared or ()),
    )
    if record.state == "cached":
        return why
    before = next(((old, each) for old, each in part[1:] if _comparable(each)), None)
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
