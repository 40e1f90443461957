"""Parity and its table, and the answer to why a stage ran, as people and programs read them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rondel.parity import PARTS, Difference, Parity, Why
from rondel.parity.compare import CIRCUMSTANCES
from rondel.reports.table import columns

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rondel.cache import Change

SHOWN = 12
_WIDTH = 44


def parity_table(parity: Parity) -> list[str]:
    """Each part with what differs in it, then the first input, then what followed."""
    rows: list[tuple[str, ...]] = []
    for part in PARTS:
        found = [each for each in parity.inputs if each.part == part]
        if not found:
            rows.append((part, "not recorded" if part in parity.unknown else "same", "", "", ""))
        for number, each in enumerate(found[:SHOWN]):
            word = "differs" if number == 0 else ""
            rows.append((part if number == 0 else "", word, each.entry, *_values(each)))
        if len(found) > SHOWN:
            rows.append(("", "", f"and {len(found) - SHOWN} more", "", ""))
    lines = columns(("part", "", "entry", f"A {parity.a}", f"B {parity.b}"), rows)
    if parity.results:
        lines += ["", *_results(parity.results, parity)]
    lines += ["", _sentence(parity)]
    if parity.only_in_one:
        lines.append(f"only in one of the two, and not compared: {', '.join(parity.only_in_one)}")
    return lines


def _results(results: Iterable[Difference], parity: Parity) -> list[str]:
    rows = [(each.stage or "", each.part, each.entry, *_values(each)) for each in results]
    more = [f"and {len(rows) - SHOWN * 2} more"] if len(rows) > SHOWN * 2 else []
    head = ("stage", "result", "entry", f"A {parity.a}", f"B {parity.b}")
    return columns(head, rows[: SHOWN * 2]) + more


def _values(each: Difference) -> tuple[str, str]:
    return _shown_apart(each.a, each.b)


def _shown_apart(a: Any, b: Any) -> tuple[str, str]:
    """Two values as texts; of two lists, such as the rules of a gate, what only one of them has."""
    if isinstance(a, list) and isinstance(b, list):
        only_a, only_b = [each for each in a if each not in b], [each for each in b if each not in a]
        if only_a or only_b:  # else only their order differs
            return _shown("; ".join(map(str, only_a)) or None), _shown("; ".join(map(str, only_b)) or None)
    return _shown(a), _shown(b)


def _shown(value: Any) -> str:
    text = "-" if value is None else str(value).replace("\n", " ⏎ ")
    return text if len(text) <= _WIDTH else text[: _WIDTH - 1] + "…"


def _sentence(parity: Parity) -> str:
    first = parity.first
    if first is not None:
        where = f" (stage {first.stage})" if first.stage else ""
        followed = (
            f"; {len(parity.results)} results differ" if parity.results else "; the results are the same"
        )
        return f"the first input that differs: {first.part} {first.entry}{where}{followed}"
    if parity.results:
        return f"the inputs are the same, and yet {len(parity.results)} results differ"
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
    """The answer in a sentence, what changed as a table, and what its commands read without declaring it."""
    return [*_why(why), *(["", _undeclared(why.undeclared)] if why.undeclared else [])]


def _undeclared(paths: tuple[str, ...]) -> str:
    more = f" and {len(paths) - SHOWN} more" if len(paths) > SHOWN else ""
    return f"read and not declared in dvc.yaml: {', '.join(paths[:SHOWN])}{more}"


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
