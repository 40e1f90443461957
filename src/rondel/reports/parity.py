"""Text and JSON for ``rondel parity``, and text for ``rondel why``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rondel.parity import PARTS, Difference, Parity, Why
from rondel.parity.compare import CIRCUMSTANCES
from rondel.reports.terminal import columns

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rondel.cache import Change

_MAX_ROWS = 12
_MAX_WIDTH = 44


def parity_table(parity: Parity) -> list[str]:
    """Tables of the inputs and the results that differ, and a summary."""
    rows: list[tuple[str, ...]] = []
    for part in PARTS:
        found = [each for each in parity.inputs if each.part == part]
        if not found:
            rows.append((part, "not recorded" if part in parity.unknown else "same", "", "", ""))
        for number, each in enumerate(found[:_MAX_ROWS]):
            word = "differs" if number == 0 else ""
            rows.append((part if number == 0 else "", word, each.entry, *_values(each)))
        if len(found) > _MAX_ROWS:
            rows.append(("", "", f"and {len(found) - _MAX_ROWS} more", "", ""))
    lines = columns(("part", "", "entry", f"A {parity.a}", f"B {parity.b}"), rows)
    if parity.results:
        lines += ["", *_results(parity.results, parity)]
    lines += ["", _sentence(parity)]
    if parity.only_in_one:
        lines.append(f"in only one of the runs, and not compared: {', '.join(parity.only_in_one)}")
    return lines


def _results(results: Iterable[Difference], parity: Parity) -> list[str]:
    rows = [(each.stage or "", each.part, each.entry, *_values(each)) for each in results]
    more = [f"and {len(rows) - _MAX_ROWS * 2} more"] if len(rows) > _MAX_ROWS * 2 else []
    head = ("stage", "result", "entry", f"A {parity.a}", f"B {parity.b}")
    return columns(head, rows[: _MAX_ROWS * 2]) + more


def _values(each: Difference) -> tuple[str, str]:
    return _shown_apart(each.a, each.b)


def _shown_apart(a: Any, b: Any) -> tuple[str, str]:
    """Two values as texts. Of two lists, such as the rules of a gate, only the items that differ."""
    if isinstance(a, list) and isinstance(b, list):
        only_a, only_b = [each for each in a if each not in b], [each for each in b if each not in a]
        if only_a or only_b:  # otherwise only their order differs
            return _shown("; ".join(map(str, only_a)) or None), _shown("; ".join(map(str, only_b)) or None)
    return _shown(a), _shown(b)


def _shown(value: Any) -> str:
    text = "-" if value is None else str(value).replace("\n", " ⏎ ")
    return text if len(text) <= _MAX_WIDTH else text[: _MAX_WIDTH - 1] + "…"


def _sentence(parity: Parity) -> str:
    first = parity.first
    if first is not None:
        where = f" (stage {first.stage})" if first.stage else ""
        followed = (
            f"; {len(parity.results)} results differ" if parity.results else "; the results are the same"
        )
        return f"the first input that differs: {first.part} {first.entry}{where}{followed}"
    if parity.results:
        return f"the inputs are the same, but {len(parity.results)} results differ"
    other = sorted({each.part for each in parity.inputs if each.part in CIRCUMSTANCES})
    although = f", on another {' and '.join(other)}" if other else ""
    return f"the same: {', '.join(parity.compared) or 'no stage'}{although}"


def parity_json(parity: Parity) -> dict[str, Any]:
    """The comparison as JSON values."""
    return {
        "a": parity.a,
        "b": parity.b,
        "verdict": parity.verdict,
        "first": _json(parity.first) if parity.first else None,
        "inputs": [_json(each) for each in parity.inputs],
        "results": [_json(each) for each in parity.results],
        "unknown": list(parity.unknown),
        "compared": list(parity.compared),
        "only_in_one": list(parity.only_in_one),
    }


def _json(each: Difference) -> dict[str, Any]:
    return {"part": each.part, "entry": each.entry, "stage": each.stage, "a": each.a, "b": each.b}


def why_lines(why: Why) -> list[str]:
    """The reason in a sentence, a table of what changed, and the inputs that the stage does not declare."""
    return [*_why(why), *(["", _undeclared(why.undeclared)] if why.undeclared else [])]


def _undeclared(paths: tuple[str, ...]) -> str:
    more = f" and {len(paths) - _MAX_ROWS} more" if len(paths) > _MAX_ROWS else ""
    return f"read but not declared in dvc.yaml: {', '.join(paths[:_MAX_ROWS])}{more}"


def _why(why: Why) -> list[str]:
    head = f"{why.stage} {why.state} in run {why.run}"
    lines = [f"{head}: {why.reason}" if why.reason else head]
    if why.since is None:
        return lines
    if not why.changes:
        return [*lines, f"its key is the same as in run {why.since}"]
    rows = [_change(change) for change in (*why.changes, *why.packages)]
    return [*lines, "", *columns(("part", "entry", f"in {why.since}", "now"), rows)]


def _change(change: Change) -> tuple[str, str, str, str]:
    return (change.part, change.entry, *_shown_apart(change.before, change.after))
