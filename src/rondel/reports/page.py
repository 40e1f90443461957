"""Gates as a page and as tables: for MLflow's artifacts, a browser and a CI job's artifacts.

The page is one file without scripts: MLflow shows it in a closed frame, and a
CI job serves it as it is. Curves and pictures are those that the evaluation
made; the champion's stand beside them when it was evaluated again.
"""

from __future__ import annotations

import base64
import csv
import io
from dataclasses import asdict
from html import escape
from typing import TYPE_CHECKING

from rondel.gates import Verdict
from rondel.reports.curves import draw, read_curve
from rondel.reports.html import page, table
from rondel.reports.markdown import render_markdown

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from rondel.record import StageRecord

_MOST_SLICES = 24
"""Rows of the table of slices that are shown unasked."""

_LARGEST = 2_000_000
"""Bytes of a picture or table that is still shown."""


def gate_files(record: StageRecord, folder: Path) -> dict[str, bytes]:
    """What MLflow keeps of a stage's gates: the page, the same as Markdown, and tables; by path.

    ``folder`` is the run's. Empty for a stage without a gate.
    """
    if not record.verdicts:
        return {}
    found: dict[str, bytes] = {"gate/report.html": render_page([record], folder).encode()}
    for number, each in enumerate(record.verdicts, start=1):
        verdict = Verdict.from_dict(asdict(each))
        place = "gate" if number == 1 else f"gate/{number}"
        found[f"{place}/gate.md"] = render_markdown({record.name: verdict}).encode()
        found[f"{place}/rules.csv"] = _csv(("rule", "holds", "value", "bound", "reason"), _rules(verdict))
        found[f"{place}/comparison.csv"] = _csv(_heads(verdict), _comparison(verdict))
        slices = _slices(verdict)
        if slices:
            found[f"{place}/slices.csv"] = _csv(slices[0], slices[1:])
    return found


def render_page(records: Iterable[StageRecord], folder: Path) -> str:
    """The gates of these stages as one HTML page."""
    return page("Gate", "".join(render_gates(record, folder) for record in records if record.verdicts))


def render_gates(record: StageRecord, folder: Path, *, head: str = "h1") -> str:
    """A stage's gates, curves and pictures, as a part of a page; ``head`` is the tag of their titles."""
    verdicts = [Verdict.from_dict(asdict(each)) for each in record.verdicts]
    return "".join(_verdict(record.name, each, head) for each in verdicts) + _drawings(record.name, folder)


def _verdict(stage: str, verdict: Verdict, head: str) -> str:
    state = '<span class="good">passed</span>' if verdict.passed else '<span class="bad">not passed</span>'
    of = f" of {escape(verdict.model)}" if verdict.model else ""
    said = verdict.champion()
    rows = [
        (
            '<span class="good">✓</span>' if result.passed else '<span class="bad">✗</span>',
            f"<code>{escape(result.rule)}</code>",
            _number(result.value),
            _number(result.bound),
            escape(result.reason),
        )
        for result in verdict.results
    ]
    parts = [
        f"<{head}>Gate in {escape(stage)}{of}: {state}</{head}><p>{escape(said[:1].upper() + said[1:])}.</p>",
        table(("", "rule", "challenger", "bound", ""), rows, numbers=(2, 3)),
    ]
    whole = [row for row in _comparison(verdict) if "[" not in row[0]]
    if whole:
        heads = _heads(verdict)
        cells = [tuple(map(escape, row)) for row in whole]
        parts += ["<h3>Champion beside challenger</h3>" if len(heads) > 2 else "<h3>Metrics</h3>"]
        parts.append(table(heads, cells, numbers=range(1, len(heads))))
    slices = _slices(verdict)
    if slices:
        cells = [tuple(map(escape, row)) for row in slices[1:]]
        shown = table(slices[0], cells, numbers=range(2, len(slices[0])))
        if len(cells) > _MOST_SLICES:
            shown = f"<details><summary>{len(cells)} rows</summary>{shown}</details>"
        parts += ["<h3>Slices</h3>", shown]
    return "".join(parts)


def _drawings(stage: str, folder: Path) -> str:
    """Curves with both models in one drawing, and pictures side by side."""
    mine, theirs = _made(folder / "results" / stage), _made_by_champion(folder, stage)
    curves, pictures = [], []
    for name, path in sorted(mine.items()):
        if path.stat().st_size > _LARGEST:
            continue
        other = theirs.get(name)
        if path.suffix == ".csv":
            curve = read_curve(path.read_text(encoding="utf-8", errors="replace"))
            second = read_curve(other.read_text(encoding="utf-8", errors="replace")) if other else None
            if curve:
                title = path.stem.replace("_", " ")
                drawn = draw(title, curve, second)
                curves.append(f"<figure><figcaption>{escape(title)}</figcaption>{drawn}</figure>")
        elif path.suffix == ".png":
            title = path.stem.replace("_", " ")
            pictures.append(
                _picture(path, f"{title}: challenger")
                + (_picture(other, f"{title}: champion") if other else "")
            )
    key = '<p><span class="key"></span> challenger'
    key += ' &nbsp; <span class="key other"></span> champion</p>' if theirs else "</p>"
    parts = [f'<h3>Curves</h3>{key}<div class="side">{"".join(curves)}</div>'] if curves else []
    if pictures:
        # With a champion a row has both of a kind; else as many as fit.
        rows = pictures if theirs else ["".join(pictures)]
        parts.append("<h3>Pictures</h3>" + "".join(f'<div class="side">{each}</div>' for each in rows))
    return "".join(parts)


def _made(folder: Path) -> dict[str, Path]:
    """Tables and pictures by their path in the project; of several attempts the last."""
    found: dict[str, Path] = {}
    for files in sorted(folder.glob("*/files"), key=lambda path: path.stat().st_mtime):
        found |= _files(files)
    return found


def _made_by_champion(folder: Path, stage: str) -> dict[str, Path]:
    found: dict[str, Path] = {}
    places = [folder / "champion" / stage, *folder.glob(f"champion/{stage}.*")]
    for place in sorted((each for each in places if each.is_dir()), key=lambda path: path.stat().st_mtime):
        found |= _files(place / "files")
    return found


def _files(folder: Path) -> dict[str, Path]:
    return {
        path.relative_to(folder).as_posix(): path
        for path in sorted(folder.rglob("*"))
        if path.suffix in {".csv", ".png"} and path.is_file() and not path.is_symlink()
    }


def _picture(path: Path, title: str) -> str:
    data = base64.b64encode(path.read_bytes()).decode()
    shown = escape(title)
    image = f'<img alt="{shown}" src="data:image/png;base64,{data}">'
    return f"<figure><figcaption>{shown}</figcaption>{image}</figure>"


def _rules(verdict: Verdict) -> list[tuple[str, ...]]:
    return [
        (each.rule, "yes" if each.passed else "no", _number(each.value), _number(each.bound), each.reason)
        for each in verdict.results
    ]


def _heads(verdict: Verdict) -> tuple[str, ...]:
    if verdict.champion_version is None:
        return ("metric", "challenger")
    return ("metric", "challenger", f"champion (version {verdict.champion_version})", "difference")


def _comparison(verdict: Verdict) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for name in sorted(verdict.metrics, key=lambda name: ("[" in name, name)):
        value, theirs = verdict.metrics[name], verdict.champion_metrics.get(name)
        row: tuple[str, ...] = (name, _number(value))
        if verdict.champion_version is not None:
            difference = "" if theirs is None else f"{value - theirs:+.4g}"
            row = (*row, _number(theirs), difference)
        rows.append(row)
    return rows


def _slices(verdict: Verdict) -> list[tuple[str, ...]]:
    """A row for each slice and model, a column for each metric; the first row is the head."""
    names: dict[str, None] = {}
    cells: dict[tuple[str, str], dict[str, float]] = {}
    both: Sequence[tuple[str, Mapping[str, float]]] = (
        ("challenger", verdict.metrics),
        ("champion", verdict.champion_metrics),
    )
    for who, metrics in both:
        for name, value in metrics.items():
            metric, bracket, part = name.partition("[")
            if bracket:
                names[metric] = None
                cells.setdefault((part.rstrip("]"), who), {})[metric] = value
    if not cells:
        return []
    rows = [
        (part, who, *(_number(values.get(name)) for name in names))
        for (part, who), values in sorted(
            cells.items(), key=lambda item: (item[0][0], item[0][1] == "champion")
        )
    ]
    return [("slice", "model", *names), *rows]


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


def _csv(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(heads)
    writer.writerows(rows)
    return text.getvalue().encode()
