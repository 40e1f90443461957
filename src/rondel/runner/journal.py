"""Writes a run's capsule to disk at every checkpoint of a stage."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rondel.record import Capsule, Observer, RunFolder, StageRecord, StageRecorder
from rondel.record.redact import redact
from rondel.secrets.masker import Masker

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rondel.pipeline import Plan


def now() -> str:
    """The current time in a record's format: ISO 8601 in UTC, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Journal:
    """The capsule of a run in progress; an observer that forwards everything to another one.

    ``masker`` knows the secrets of the run.
    """

    def __init__(self, capsule: Capsule, folder: RunFolder, plan: Plan, observer: Observer) -> None:
        records = [
            StageRecord(name=each.name, kind=each.stage.kind, needs=list(each.waits_for))
            for each in plan.stages
        ]
        self.capsule = replace(capsule, stages=records)
        self.folder = folder
        self._observer = observer
        self._recorders: dict[str, StageRecorder] = {}
        self._begun = time.monotonic()
        self.masker = Masker()

    def hide(self, values: Iterable[str]) -> None:
        """Mask these secret values in all logs and records of this run."""
        values = tuple(values)
        self.masker = self.masker.adding(values)
        for recorder in self._recorders.values():
            recorder.hide(values)

    def recorder(self, name: str) -> StageRecorder:
        """The recorder of a stage; the first call opens its log."""
        if name not in self._recorders:
            log = self.folder.log(name)
            record = replace(self.record(name), log=str(log.relative_to(self.folder.path)))
            self._recorders[name] = StageRecorder(record, log, self, self.masker)
        return self._recorders[name]

    def record(self, name: str) -> StageRecord:
        """The record of a stage as it is now."""
        return self.capsule.stage(name)

    def change(self, **fields: Any) -> None:
        """Replace fields of the capsule; the next checkpoint writes them to disk."""
        self.capsule = replace(self.capsule, **fields)

    def checkpoint(self, name: str, **fields: Any) -> None:
        """Record that a stage begins or ends, notify the observer and write the capsule."""
        self.note_stage(name, **fields)
        self.save()

    def note_stage(self, name: str, **fields: Any) -> None:
        """Like :meth:`checkpoint`, but without writing the capsule."""
        recorder = self._recorders.get(name)
        if recorder is not None:
            recorder.change(**fields)
        else:
            self.stage_changed(replace(self.record(name), **fields))

    def save(self) -> None:
        """Write the capsule to disk."""
        seconds = round(time.monotonic() - self._begun, 3)
        self.capsule = replace(self.capsule, seconds=seconds)
        self.folder.save(self.redacted())

    def redacted(self, **fields: Any) -> Capsule:
        """The capsule with all secret values masked that are known by now."""
        self.masker = self.masker.joined(recorder.masker for recorder in self._recorders.values())
        return redact(replace(self.capsule, **fields), self.masker)

    def close(self, **fields: Any) -> None:
        """End the run: close the logs and write the capsule for the last time."""
        for recorder in self._recorders.values():
            recorder.close()
        self.capsule = replace(self.capsule, finished=now(), **fields)
        self.save()

    def pause(self) -> None:
        """Remove the progress display, to ask the user something; the next stage shows it again."""
        stop = getattr(self._observer, "stop", None)
        if stop is not None:
            stop()

    # The observer's interface.

    def stage_changed(self, record: StageRecord) -> None:
        """Keep a stage's record and forward it."""
        stages = [record if each.name == record.name else each for each in self.capsule.stages]
        self.capsule = replace(self.capsule, stages=stages)
        self._observer.stage_changed(record)

    def step(self, stage: str, text: str) -> None:
        """Forward to the observer."""
        self._observer.step(stage, text)

    def line(self, stage: str, text: str) -> None:
        """Forward to the observer."""
        self._observer.line(stage, text)

    def note(self, text: str) -> None:
        """Forward to the observer."""
        self._observer.note(text)
