"""A run as one HTML page: its outcome, a timeline, its stages with inputs and logs, its gates.

Everything on the page is in the capsule, in the logs, or in the files that the
evaluation made.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rondel.reports.formatting import (
    RUN_WORDS,
    STAGE_MARKS,
    duration,
    headline,
    key_metrics,
    metric,
    stage_time,
    web_address,
)
from rondel.reports.html import Column, Table, render
from rondel.reports.terminal import as_seen
from rondel.reports.timeline import timeline
from rondel.runner import repeat_commands

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from rondel.record import Capsule, Image, StageRecord
    from rondel.reports.gate_page import StageGates
    from rondel.reports.timeline import Timeline

_TAIL_LINES = 60
_TAIL_BYTES = 1 << 15
_MAX_ROWS = 60
_MAX_CHANGED = 20
_UNFOLDED_ROWS = 5

_LOOKS = {
    "pending": "soft",
    "ran": "good",
    "restored": "good",
    "cached": "soft",
    "skipped": "soft",
    "cancelled": "wait",
    "succeeded": "good",
    "waiting": "wait",
    "interrupted": "wait",
    "running": "wait",
}
"""The CSS class of a stage's or a run's state; any other state is ``bad``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Values:
    """Named values of a stage or a run; ``total`` counts those, too, that the table leaves out."""

    name: str
    table: Table
    total: int

    @property
    def folded(self) -> bool:
        """Whether there are too many to show at once."""
        return self.total > _UNFOLDED_ROWS

    @property
    def left_out(self) -> int:
        """How many are only in the capsule."""
        return self.total - len(self.table.rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class StageView:
    """A stage as the page shows it: ``record``, and what has to be worked out from it."""

    record: StageRecord
    state: str
    look: str
    time: str
    metrics: str
    operations: tuple[str, ...]
    commands: Table
    values: tuple[Values, ...]
    undeclared: tuple[str, ...]
    untraced: str
    log: str
    log_is_whole: bool
    image: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunView:
    """A run as the page shows it: ``capsule``, and what has to be worked out from it."""

    capsule: Capsule
    word: str
    look: str
    created: str
    time: str
    headline: str
    error: str
    resume: str
    reproduce: str
    timeline: Timeline | None
    stages: tuple[StageView, ...]
    gates: tuple[StageGates, ...]
    changed: tuple[str, ...]
    more_changed: bool
    command: str
    elsewhere: tuple[str, ...]
    image: str
    job_url: str
    mlflow_url: str
    environment: Values


def render_run_page(capsule: Capsule, folder: Path) -> str:
    """The page of a run that has ended; ``folder`` is the run's."""
    return render("run.html", run=_run(capsule, folder))


def render_error_page(title: str, text: str) -> str:
    """The page of a run that could not start."""
    return render("error.html", title=title, text=text)


def _run(capsule: Capsule, folder: Path) -> RunView:
    changed = sorted({*capsule.git.changed, *capsule.git.untracked})
    failed = next((record for record in capsule.stages if record.error), None)
    ended_well = capsule.state == "succeeded"
    return RunView(
        capsule=capsule,
        word=RUN_WORDS.get(capsule.state, capsule.state),
        look=_LOOKS.get(capsule.state, "bad"),
        created=_time(capsule.created),
        time=duration(capsule.seconds),
        headline=headline(capsule),
        error=_plain((failed.error if failed else None) or capsule.error or ""),
        resume="" if ended_well else repeat_commands.resume(capsule),
        reproduce=repeat_commands.reproduce(capsule, anywhere=True)
        if not ended_well and repeat_commands.can_be_reproduced(capsule)
        else "",
        timeline=timeline(capsule),
        stages=tuple(_stage(record, folder) for record in capsule.stages),
        gates=_gates(capsule, folder),
        changed=tuple(changed[:_MAX_CHANGED]),
        more_changed=len(changed) > _MAX_CHANGED,
        command=repeat_commands.repeat(capsule),
        elsewhere=tuple(record.name for record in capsule.stages if record.aside),
        image=_image(capsule.image),
        job_url=web_address(capsule.ci.url if capsule.ci else None),
        mlflow_url=web_address(capsule.mlflow.url if capsule.mlflow else None),
        environment=_values("variable", capsule.environment),
    )


def _gates(capsule: Capsule, folder: Path) -> tuple[StageGates, ...]:
    judged = [record for record in capsule.stages if record.verdicts]
    if not judged:
        return ()
    from rondel.reports.gate_page import gates_of

    return tuple(gates_of(record, folder) for record in judged)


def _stage(record: StageRecord, folder: Path) -> StageView:
    log, whole = _log(record, folder)
    return StageView(
        record=record,
        state=f"{STAGE_MARKS.get(record.state, '·')} {record.state}",
        look=_LOOKS.get(record.state, "bad"),
        time=stage_time(record),
        metrics=key_metrics(record),
        operations=tuple(f"{use.kind} {use.name}".strip() for use in record.uses),
        commands=_commands(record),
        values=(
            _values("metric", {name: metric(value) for name, value in record.metrics.items()}),
            _values("parameter", record.parameters),
            _values("input", record.inputs),
            _values("output", record.outputs),
        ),
        undeclared=tuple((record.undeclared or ())[:_MAX_ROWS]),
        untraced=record.untraced if any(use.kind == "dvc" for use in record.uses) else "",
        log=log,
        log_is_whole=whole,
        image=_image(record.image),
    )


def _commands(record: StageRecord) -> Table:
    columns = (
        Column(head="command", kind="code"),
        Column(head="exit code", kind="number"),
        Column(head="time", kind="number"),
        Column(head="DVC"),
    )
    rows = [
        (
            _typed(command.args),
            "" if command.exit_code is None else str(command.exit_code),
            "" if command.seconds is None else duration(command.seconds),
            command.outcome,
        )
        for command in record.commands
    ]
    return Table(columns, tuple(rows)).without_empty_columns()


def _typed(args: Sequence[str]) -> str:
    """A command as one types it. A shell line is not quoted, nor is ``&&`` between two commands."""
    if len(args) == 1:
        return args[0]
    return " ".join(word if word == "&&" else shlex.quote(word) for word in args)


def _values(name: str, values: Mapping[str, Any]) -> Values:
    rows = [(key, _shortened(str(value))) for key, value in list(values.items())[:_MAX_ROWS]]
    columns = (Column(head=f"{name}s", kind="code"), Column(kind="code"))
    return Values(name=name, table=Table(columns, tuple(rows)), total=len(values))


def _shortened(text: str) -> str:
    return text if len(text) <= 200 else f"{text[:200]}…"


def _log(record: StageRecord, folder: Path) -> tuple[str, bool]:
    """The last lines of a stage's log, and whether they are all of it."""
    if not record.log:
        return "", True
    try:
        with (folder / record.log).open("rb") as file:
            size = file.seek(0, 2)
            start = file.seek(max(0, size - _TAIL_BYTES))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return "", True
    lines = _plain(text).splitlines()[1 if start else 0 :]
    return "\n".join(lines[-_TAIL_LINES:]), not start and len(lines) <= _TAIL_LINES


def _plain(text: str) -> str:
    return "\n".join(map(as_seen, text.split("\n")))


def _time(iso: str) -> str:
    match = re.match(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)", iso)
    return f"{match[1]} {match[2]} UTC" if match else iso


def _image(image: Image | None) -> str:
    return ", ".join(filter(None, (image.reference, image.digest, image.source))) if image else ""
