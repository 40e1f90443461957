"""The tables that all reports of a gate share: challenger beside champion, and slices."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from rondel.gates import Verdict
from rondel.reports.formatting import number

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rondel.record import Capsule, StageRecord

Rows = list[tuple[str, ...]]


def verdicts_of_stage(record: StageRecord) -> list[Verdict]:
    """The verdicts of a stage's gates."""
    return [Verdict.from_dict(asdict(verdict)) for verdict in record.verdicts]


def verdicts_of_run(capsule: Capsule) -> dict[str, Verdict]:
    """The verdicts by stage; a stage's second gate is ``STAGE (2)``."""
    return {
        record.name if count == 1 else f"{record.name} ({count})": verdict
        for record in capsule.stages
        for count, verdict in enumerate(verdicts_of_stage(record), start=1)
    }


def comparison(verdict: Verdict) -> Rows:
    """Challenger beside champion, metric by metric, slices last. The first row is the head."""
    head: tuple[str, ...] = ("metric", "challenger")
    if verdict.champion_version is not None:
        head = (*head, f"champion (version {verdict.champion_version})", "difference")
    rows = [head]
    for name in sorted(verdict.metrics, key=lambda name: ("[" in name, name)):
        value, theirs = verdict.metrics[name], verdict.champion_metrics.get(name)
        row: tuple[str, ...] = (name, number(value))
        if verdict.champion_version is not None:
            row = (*row, number(theirs), "" if theirs is None else f"{value - theirs:+.4g}")
        rows.append(row)
    return rows


def slices(verdict: Verdict) -> Rows:
    """A row for each slice and model, a column for each metric. The first row is the head.

    Empty if the metrics have no slices.
    """
    names: dict[str, None] = {}
    cells: dict[tuple[str, str], dict[str, float]] = {}
    models: Sequence[tuple[str, Mapping[str, float]]] = (
        ("challenger", verdict.metrics),
        ("champion", verdict.champion_metrics),
    )
    for model, metrics in models:
        for name, value in metrics.items():
            metric, bracket, part = name.partition("[")
            if bracket:
                names[metric] = None
                cells.setdefault((part.rstrip("]"), model), {})[metric] = value
    if not cells:
        return []
    ordered = sorted(cells.items(), key=lambda item: (item[0][0], item[0][1] == "champion"))
    rows = [(part, model, *(number(values.get(name)) for name in names)) for (part, model), values in ordered]
    return [("slice", "model", *names), *rows]
