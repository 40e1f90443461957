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
from rondel.reports.markdown import render_markdown

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from rondel.record import StageRecord

_LARGEST = 2_000_000
"""Bytes of a picture or table that is still shown."""

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --one: #1f6fb2; --other: #c2571a; }
@media (prefers-color-scheme: dark) { :root { --one: #6cb4f0; --other: #f0a060; } }
body { font: 14px/1.45 system-ui, sans-serif; margin: 1.5rem auto; max-width: 76rem; padding: 0 1rem; }
h1 { font-size: 1.3rem } h2 { font-size: 1.05rem; margin-top: 2rem }
table { border-collapse: collapse; margin: .6rem 0 } th { text-align: left }
td, th { padding: .25rem .8rem .25rem 0; border-bottom: 1px solid var(--line); vertical-align: top }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums }
.good { color: #1a7f37 } .bad { color: #cf222e; font-weight: 600 } .wide { overflow-x: auto }
figure { margin: 0 } figcaption { font-weight: 600; margin: .4rem 0 }
.side { display: flex; flex-wrap: wrap; gap: 1.2rem } .side figure { flex: 1 1 20rem; max-width: 30rem }
img, svg { width: 100%; height: auto } svg text { font: 10px system-ui; fill: currentColor }
.grid { stroke: var(--line); stroke-width: .6 } polyline { fill: none; stroke-width: 1.8 }
.challenger { stroke: var(--one) } .champion { stroke: var(--other); stroke-dasharray: 5 4 }
.key { display: inline-block; width: 1.6rem; border-top: 3px solid var(--one); vertical-align: middle }
.key.other { border-top: 3px dashed var(--other) }
@media (prefers-color-scheme: dark) { .good { color: #57ab5a } .bad { color: #ff7b72 } }
"""


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
    body = "".join(_stage(record, folder) for record in records if record.verdicts)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Gate</title>'
        f"<style>{_STYLE}</style></head><body>{body}</body></html>\n"
    )


def _stage(record: StageRecord, folder: Path) -> str:
    verdicts = [Verdict.from_dict(asdict(each)) for each in record.verdicts]
    return "".join(_verdict(record.name, each) for each in verdicts) + _drawings(record.name, folder)


def _verdict(stage: str, verdict: Verdict) -> str:
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
        f"<h1>Gate in {escape(stage)}{of}: {state}</h1><p>{escape(said[:1].upper() + said[1:])}.</p>",
        _table(("", "rule", "challenger", "bound", ""), rows, numbers=(2, 3)),
    ]
    whole = [row for row in _comparison(verdict) if "[" not in row[0]]
    if whole:
        heads = _heads(verdict)
        cells = [tuple(map(escape, row)) for row in whole]
        parts += ["<h2>Champion beside challenger</h2>" if len(heads) > 2 else "<h2>Metrics</h2>"]
        parts.append(_table(heads, cells, numbers=range(1, len(heads))))
    slices = _slices(verdict)
    if slices:
        cells = [tuple(map(escape, row)) for row in slices[1:]]
        parts += ["<h2>Slices</h2>", _table(slices[0], cells, numbers=range(2, len(slices[0])))]
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
    parts = [f'<h2>Curves</h2>{key}<div class="side">{"".join(curves)}</div>'] if curves else []
    if pictures:
        parts.append("<h2>Pictures</h2>" + "".join(f'<div class="side">{each}</div>' for each in pictures))
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
    table: dict[tuple[str, str], dict[str, float]] = {}
    both: Sequence[tuple[str, Mapping[str, float]]] = (
        ("challenger", verdict.metrics),
        ("champion", verdict.champion_metrics),
    )
    for who, metrics in both:
        for name, value in metrics.items():
            metric, bracket, part = name.partition("[")
            if bracket:
                names[metric] = None
                table.setdefault((part.rstrip("]"), who), {})[metric] = value
    if not table:
        return []
    rows = [
        (part, who, *(_number(values.get(name)) for name in names))
        for (part, who), values in sorted(
            table.items(), key=lambda item: (item[0][0], item[0][1] == "champion")
        )
    ]
    return [("slice", "model", *names), *rows]


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: Iterable[int]) -> str:
    right = set(numbers)

    def row(cells: Sequence[str], tag: str) -> str:
        inner = "".join(
            f'<{tag} class="n">{cell}</{tag}>' if place in right else f"<{tag}>{cell}</{tag}>"
            for place, cell in enumerate(cells)
        )
        return f"<tr>{inner}</tr>"

    head = row([escape(text) for text in heads], "th")
    return f'<div class="wide"><table>{head}{"".join(row(each, "td") for each in rows)}</table></div>'


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


def _csv(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(heads)
    writer.writerows(rows)
    return text.getvalue().encode()
