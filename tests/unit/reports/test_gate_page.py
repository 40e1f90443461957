"""The gate's page and tables, from the files that a run leaves."""

from __future__ import annotations

import csv
import io
import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from rondel.record import StageRecord, VerdictRecord
from rondel.reports.curve_chart import HEIGHT, WIDTH, Curve, chart, read_curve
from rondel.reports.gate_page import render_gate_page
from rondel.reports.report_files import gate_files

if TYPE_CHECKING:
    from pathlib import Path

VERDICT = VerdictRecord(
    passed=False,
    model="flights",
    champion_version="3",
    champion_measured="again",
    champion_note="changed since its evaluation: data test.parquet",
    rules=[
        {
            "rule": "roc_auc >= champion.roc_auc",
            "passed": False,
            "outcome": "failed",
            "metric": "roc_auc",
            "value": 0.7,
            "bound": 0.72,
            "champion": 0.72,
            "reason": "0.7 is not >= 0.72 <script>",
        }
    ],
    metrics={"roc_auc": 0.7, "roc_auc[origin=JFK]": 0.6, "model_mb": 0.5},
    champion_metrics={"roc_auc": 0.72, "roc_auc[origin=JFK]": 0.61},
)
EVALUATE = StageRecord(name="evaluate", kind="pure", state="failed", verdicts=[VERDICT])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run's folder with a curve and a picture of challenger and champion."""
    for place, value in (("results/evaluate/evaluate-1/files", 0.8), ("champion/evaluate/files", 0.9)):
        files = tmp_path / place / "reports"
        files.mkdir(parents=True)
        (files / "roc.csv").write_text(f"false_positive_rate,true_positive_rate\n0,0\n0.5,{value}\n1,1\n")
        (files / "confusion.png").write_bytes(b"\x89PNG" + place.encode())
    return tmp_path


def table(content: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(content.decode())))


def test_mlflow_gets_tables_of_rules_comparison_and_slices(folder: Path) -> None:
    found = gate_files(EVALUATE, folder)
    assert set(found) == {
        f"gate/{name}" for name in ("report.html", "gate.md", "rules.csv", "comparison.csv", "slices.csv")
    }
    assert table(found["gate/rules.csv"])[1][:4] == ["roc_auc >= champion.roc_auc", "no", "0.7", "0.72"]
    assert table(found["gate/comparison.csv"]) == [
        ["metric", "challenger", "champion (version 3)", "difference"],
        ["model_mb", "0.5", "", ""],
        ["roc_auc", "0.7", "0.72", "-0.02"],
        ["roc_auc[origin=JFK]", "0.6", "0.61", "-0.01"],
    ]
    assert table(found["gate/slices.csv"])[1:] == [
        ["origin=JFK", "challenger", "0.6"],
        ["origin=JFK", "champion", "0.61"],
    ]


def test_the_page_shows_both_models(folder: Path) -> None:
    page = render_gate_page([EVALUATE], folder)
    assert "not passed" in page
    assert "evaluated again together with the challenger; changed since its evaluation" in page
    assert page.count("data:image/png;base64,") == 2
    assert page.count('<polyline class="challenger"') == page.count('<polyline class="champion"') == 1


def test_without_a_champions_evaluation_the_challenger_stands_alone(folder: Path) -> None:
    (folder / "champion").rename(folder / "elsewhere")
    page = render_gate_page([EVALUATE], folder)
    assert page.count("<polyline") == 1
    assert page.count("data:image/png;base64,") == 1


def test_a_stage_without_a_gate_has_no_files(folder: Path) -> None:
    assert gate_files(StageRecord(name="evaluate", kind="pure"), folder) == {}


@pytest.mark.parametrize("text", ["", "x,y\n", "x,y\n1,2\n", "x\n1\n2\n", "name,y\na,1\nb,2\n"])
def test_a_table_that_is_no_curve_is_none(text: str) -> None:
    assert read_curve(text) is None


def test_a_chart_is_inside_of_its_box() -> None:
    curve = Curve(x="a_b", y="share", points=((0.0, 0.0), (0.4, 0.9), (1.0, 1.0)))
    drawn = chart("roc", curve, curve)
    assert (drawn.x, drawn.y) == ("a b", "share")
    assert drawn.challenger == drawn.champion
    for corner in drawn.challenger.split():
        x, y = map(float, corner.split(","))
        assert 0 <= x <= WIDTH
        assert 0 <= y <= HEIGHT
    assert [tick.label for tick in drawn.x_ticks] == ["0", "0.2", "0.4", "0.6", "0.8", "1"]


def test_files_of_a_variant_are_found_by_its_name(folder: Path) -> None:
    name = "evaluate[rate=0.1]"
    (folder / "results/evaluate").rename(folder / "results" / name)
    (folder / "champion/evaluate").rename(folder / "champion" / name)
    page = render_gate_page([replace(EVALUATE, name=name)], folder)
    assert page.count("data:image/png;base64,") == 2


def test_the_newest_file_counts_and_a_large_one_is_left_out(folder: Path) -> None:
    later = folder / "results/evaluate/evaluate-2/files/reports"
    later.mkdir(parents=True)
    (later / "roc.csv").write_text("x,y\n0,0\n1,0.5\n")
    (later / "large.png").write_bytes(b"x" * 2_000_001)
    os.utime(later.parent, (2**32, 2**32))
    page = render_gate_page([EVALUATE], folder)
    assert "false positive rate" not in page
    assert "large" not in page
