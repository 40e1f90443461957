"""Records what a stage does while it runs.

The runner gives each stage's context a :class:`StageRecorder`. The context
reports every step, line, command and finding to it. The recorder updates the
stage's record, writes the log, and passes steps and lines to an observer,
which shows progress. Nothing here does network I/O or can fail a stage.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import replace
from typing import IO, TYPE_CHECKING, Any, Protocol

from rondel.record.capsule import CallRecord, CommandRecord, Image, MlflowRun, StageRecord, VerdictRecord
from rondel.secrets.masker import Masker

if TYPE_CHECKING:
    import re
    from collections.abc import Iterable, Mapping
    from pathlib import Path

TAIL_LINES = 30


class Observer(Protocol):
    """Is notified of what stages do. Called in the event loop's thread, so it must not block."""

    def stage_changed(self, record: StageRecord) -> None:
        """A stage's record changed."""

    def step(self, stage: str, text: str) -> None:
        """The stage started its next step, for example ``building the image``."""

    def line(self, stage: str, text: str) -> None:
        """A line of the stage's log."""

    def note(self, text: str) -> None:
        """A message about the whole run."""


class StageRecorder:
    """Keeps one stage's record and log.

    ``masker`` knows the secrets, which ``redact`` replaces before a line is written or shown.
    """

    def __init__(
        self, record: StageRecord, log: Path | None, observer: Observer, masker: Masker | None = None
    ) -> None:
        self.record = record
        self.observer = observer
        self.tail: deque[str] = deque(maxlen=TAIL_LINES)
        self.masker = masker or Masker()
        self._rewrite: tuple[tuple[re.Pattern[str], str], ...] = ()
        self._log: IO[str] | None = None
        if log is not None:
            log.parent.mkdir(parents=True, exist_ok=True)
            self._log = log.open("a", encoding="utf-8", buffering=1, errors="backslashreplace")

    def hide(self, values: Iterable[str]) -> None:
        """From now on replace these secret values by ``***`` in everything that is recorded."""
        self.masker = self.masker.adding(values)

    def rewrite(self, rules: Iterable[tuple[re.Pattern[str], str]]) -> None:
        """From now on replace these patterns (addresses that only containers reach) in all records."""
        self._rewrite = tuple(rules)

    def redact(self, text: str) -> str:
        """``text`` for people: without secrets, and with addresses that work outside of containers."""
        text = self.masker.text(text)
        for pattern, new in self._rewrite:
            text = pattern.sub(new, text)
        return text

    def step(self, text: str) -> None:
        """Report what the stage does next; shown as its current step."""
        text = self.redact(text)
        self._write(f"▸ {text}")
        self.observer.step(self.record.name, text)

    def output(self, text: str) -> None:
        """Log a command's output, which may be many lines."""
        for line in self.redact(text).splitlines():
            self.tail.append(line)
            self._write(line)
            self.observer.line(self.record.name, line)

    def use(self, kind: str, name: str = "", details: Mapping[str, Any] | None = None) -> None:
        """Record a call of a context method. The stage's key is made from these calls.

        Call it at the start of ``dvc``, ``mlflow``, ``sh``, ``gate`` and ``container``.
        """
        self.change(uses=[*self.record.uses, CallRecord(kind=kind, name=name, details=dict(details or {}))])

    def command(
        self,
        args: Iterable[str],
        *,
        exit_code: int | None = None,
        seconds: float | None = None,
        outcome: str = "",
        made_by: str | None = None,
    ) -> None:
        """Record a command and its outcome; secrets are removed from ``args``."""
        args = [self.redact(arg) for arg in args]
        command = CommandRecord(
            args=args, exit_code=exit_code, seconds=seconds, outcome=outcome, made_by=made_by
        )
        commands = list(self.record.commands)
        if commands and commands[-1].args == args and commands[-1].exit_code is None:
            commands[-1] = command
        else:
            commands.append(command)
        self.change(commands=commands, exit_code=exit_code)

    def image(self, image: Image) -> None:
        """Record the image that the stage runs in."""
        self.change(image=image)

    def inputs(self, hashes: Mapping[str, str]) -> None:
        """Record inputs: paths with ``md5:…`` or ``sha256:…``."""
        self.change(inputs={**self.record.inputs, **hashes})

    def outputs(self, hashes: Mapping[str, str]) -> None:
        """Record outputs: paths with ``md5:…`` or ``sha256:…``."""
        self.change(outputs={**self.record.outputs, **hashes})

    def parameters(self, values: Mapping[str, Any]) -> None:
        """Record the parameters that the stage used."""
        self.change(parameters={**self.record.parameters, **values})

    def metrics(self, values: Mapping[str, float]) -> None:
        """Record metrics for the final table."""
        self.change(metrics={**self.record.metrics, **values})

    def verdict(self, verdict: VerdictRecord) -> None:
        """Record a gate's verdict."""
        self.change(verdicts=[*self.record.verdicts, verdict])

    def mlflow_run(self, run: MlflowRun) -> None:
        """Record the stage's nested MLflow run."""
        self.change(mlflow=run)

    def change(self, **fields: Any) -> None:
        """Replace fields of the record and notify the observer."""
        self.record = replace(self.record, **fields)
        self.observer.stage_changed(self.record)

    def close(self) -> None:
        """Close the log."""
        if self._log is not None:
            self._log.close()
            self._log = None

    def _write(self, line: str) -> None:
        if self._log is not None:
            self._log.write(f"{time.strftime('%H:%M:%S', time.gmtime())} {line}\n")
