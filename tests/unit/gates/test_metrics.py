"""Metrics files: nesting, slices, and each bad value with its place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rondel.gates import metrics_from_mapping, read_metrics
from rondel.gates.metrics import parse_metrics

if TYPE_CHECKING:
    from pathlib import Path


def test_nested_names_are_joined_by_dots() -> None:
    found = parse_metrics('{"roc_auc": 0.7, "latency": {"p95_ms": 12}}', source="m.json", is_json=True)
    assert found.values == {"roc_auc": 0.7, "latency.p95_ms": 12.0}
    assert not found.problems


def test_the_three_ways_to_write_a_slice_mean_the_same() -> None:
    for text in (
        '{"slices": {"origin": {"JFK": {"roc_auc": 0.61}}}}',
        '{"slices": {"origin=JFK": {"roc_auc": 0.61}}}',
        '{"roc_auc[origin=JFK]": 0.61}',
    ):
        found = parse_metrics(text, source="m.json", is_json=True)
        assert found.values == {"roc_auc[origin=JFK]": 0.61}


def test_the_order_of_a_slices_columns_does_not_matter() -> None:
    found = metrics_from_mapping({"slices": {"b=2,a=1": {"f1": 0.5}}}, source="m")
    assert found.values == {"f1[a=1,b=2]": 0.5}


def test_bad_values_are_reported_with_line_and_kind() -> None:
    text = (
        '{\n\t"a": NaN,\n\t"b": "0.7",\n\t"c": true,\n\t"d": null,\n\t"e": [1],\n\t"f": 1e999,\n\t"g": 1e-3}'
    )
    found = parse_metrics(text, source="metrics.json", is_json=True)
    assert found.values == {"g": 0.001}
    assert found.problems == {
        "a": "metrics.json:2: a is NaN, not a number",
        "b": "metrics.json:3: b is the text '0.7', not a number",
        "c": "metrics.json:4: c is true, a boolean, not a number",
        "d": "metrics.json:5: d is empty, not a number",
        "e": "metrics.json:6: e is a list, not a number",
        "f": "metrics.json:7: f is infinite, not a number",
    }


def test_a_name_that_is_there_twice_is_no_number() -> None:
    found = parse_metrics("a: 1\nb: 2\na: 3\n", source="m.yaml", is_json=False)
    assert found.values == {"b": 2.0}
    assert found.problems == {"a": "m.yaml:3: a appears twice; first at m.yaml:1"}


def test_a_file_that_cannot_be_read_is_a_problem_not_an_exception(tmp_path: Path) -> None:
    assert "does not exist" in (read_metrics(tmp_path / "m.json", shown="m.json").problem or "")
    (tmp_path / "bad.json").write_text('{"a": 1,}')
    assert "line 1" in (read_metrics(tmp_path / "bad.json", shown="bad.json").problem or "")
    (tmp_path / "list.json").write_text("[1]")
    assert "names to numbers" in (read_metrics(tmp_path / "list.json").problem or "")
    (tmp_path / "latin.yaml").write_bytes(b"a: \xff")
    assert read_metrics(tmp_path / "latin.yaml").problem
    (tmp_path / "empty.yaml").write_text("")
    assert read_metrics(tmp_path / "empty.yaml").problem


def test_values_in_memory_are_checked_alike() -> None:
    found = metrics_from_mapping({"a": 1, "b": float("nan"), "c": None, "d": False}, source="given")
    assert found.values == {"a": 1.0}
    assert set(found.problems) == {"b", "c", "d"}
