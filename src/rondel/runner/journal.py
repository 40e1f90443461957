"""Keeps a run's capsule true on disk: written at every checkpoint of a stage, never in between."""

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
    """The time as records write it: ISO 8601 in UTC, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Journal:
    """One run's capsule while it grows; an observer that passes everything on to another one.

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
        """Secret values that no log and no record of this run may hold."""
        values = tuple(values)
        self.masker = self.masker.adding(values)
        for recorder in self._recorders.values():
            recorder.hide(values)

    def recorder(self, name: str) -> StageRecorder:
        """The recorder of a stage; its log is opened now."""
        if name not in self._recorders:
            log = self.folder.log(name)
            record = replace(self.record(name), log=str(log.relative_to(self.folder.path)))
            self._recorders[name] = StageRecorder(record, log, self, self.masker)
        return self._recorders[name]

    def record(self, name: str) -> StageRecord:
        """The record of a stage as it is now."""
        return self.capsule.stage(name)

    def change(self, **fields: Any) -> None:
        """Replace fields of the capsule; they reach the disk at the next checkpoint."""
        self.capsule = replace(self.capsule, **fields)

    def checkpoint(self, name: str, **fields: Any) -> None:
        """A stage begins or ends: note it, write the capsule, tell the observer."""
        self.note_stage(name, **fields)
        self.save()

    def note_stage(self, name: str, **fields: Any) -> None:
        """As :meth:`checkpoint`, but the capsule reaches the disk with the next one."""
        recorder = self._recorders.get(name)
        if recorder is not None:
            recorder.change(**fields)
        else:
            self.stage_changed(replace(self.record(name), **fields))

    def save(self) -> None:
        """Write the capsule as it is."""
        seconds = round(time.monotonic() - self._begun, 3)
        self.capsule = replace(self.capsule, seconds=seconds)
        self.folder.save(self.redacted())

    def redacted(self, **fields: Any) -> Capsule:
        """The capsule as it may be written: without the value of any secret that is known by now."""
        self.masker = self.masker.joined(recorder.masker for recorder in self._recorders.values())
        return redact(replace(self.capsule, **fields), self.masker)

    def close(self, **fields: Any) -> None:
        """The run is over: close the logs and write the capsule for the last time."""
        for recorder in self._recorders.values():
            recorder.close()
        self.capsule = replace(self.capsule, finished=now(), **fields)
        self.save()

    def pause(self) -> None:
        """Take away what is drawn, because somebody is asked something; it comes back with the next stage."""
        stop = getattr(self._observer, "stop", None)
        if stop is not None:
            stop()

    # The observer's part: keep, and pass on.

    def stage_changed(self, record: StageRecord) -> None:
        """Keep a stage's record and pass it on."""
        stages = [record if each.name == record.name else each for each in self.capsule.stages]
        self.capsule = replace(self.capsule, stages=stages)
        self._observer.stage_changed(record)

    def step(self, stage: str, text: str) -> None:
        """Pass on."""
        self._observer.step(stage, text)

    def line(self, stage: str, text: str) -> None:
        """Pass on."""
        self._observer.line(stage, text)

    def note(self, text: str) -> None:
        """Pass on."""
        self._observer.note(text)
