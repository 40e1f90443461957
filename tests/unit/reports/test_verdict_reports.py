"""The three texts that a verdict becomes: JUnit XML, OpenMetrics and Markdown."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

from rondel.gates import ChampionMetrics, Metrics, Verdict, evaluate, metrics_from_mapping, parse_rules
from rondel.reports.junit import render_junit
from rondel.reports.markdown import cell, render_comparison, render_gates
from rondel.reports.openmetrics import render_openmetrics

METRICS = metrics_from_mapping({"roc_auc": 0.7, "f1[o=a|b]": 0.5}, source="metrics.json")
CHAMPION = ChampionMetrics(version="3", metrics={"roc_auc": 0.68})


def verdicts(champion: ChampionMetrics | None = CHAMPION) -> dict[str, Verdict]:
    rules = parse_rules(["roc_auc >= champion.roc_auc", "roc_auc < 0.5", '"<b>\\"x" > 1'])
    return {"evaluate": evaluate(rules, METRICS, champion, model="flight-delay")}


def test_junit_has_one_case_a_rule_and_a_failure_with_the_reason() -> None:
    root = ET.fromstring(render_junit(verdicts()))
    suite = root.find("testsuite")
    assert suite is not None
    assert (suite.get("tests"), suite.get("failures")) == ("3", "2")
    cases = suite.findall("testcase")
    assert [case.get("name") for case in cases] == [
        "roc_auc >= champion.roc_auc",
        "roc_auc < 0.5",
        '"<b>\\"x" > 1',
    ]
    failure = cases[1].find("failure")
    assert failure is not None
    assert failure.get("message") == "0.7 is not < 0.5"


def test_junit_shows_a_gate_that_failed_without_a_rule() -> None:
    broken = evaluate((), Metrics(source="m\x01.json", problem="m.json: there is no such file"))
    suite = ET.fromstring(render_junit({"evaluate": broken})).find("testsuite")
    assert suite is not None
    assert suite.get("failures") == "1"


def test_openmetrics_is_well_formed() -> None:
    text = render_openmetrics(verdicts())
    assert text.endswith("# EOF\n")
    sample = re.compile(r'^[a-z_]+\{([a-z]+="(\\.|[^"\\])*",?)+\} -?[0-9.e+-]+$')
    samples = [line for line in text.splitlines() if not line.startswith("#")]
    assert samples
    assert all(sample.match(line) for line in samples)
    assert len({line.rpartition(" ")[0] for line in samples}) == len(samples)
    assert 'rondel_gate_passed{stage="evaluate",model="flight-delay"} 0' in samples
    assert any(line.startswith("rondel_champion_metric") and 'version="3"' in line for line in samples)


def test_markdown_compares_with_the_champion_and_escapes_cells() -> None:
    text = render_gates(verdicts())
    assert "## Gate in evaluate of flight-delay: not passed" in text
    assert "| roc\\_auc | 0.7 | 0.68 | +0.02 |" in text
    rows = [line for line in text.splitlines() if line.startswith("| ") and "o=a" in line]
    assert rows
    assert all(r"a\|b" in row for row in rows)


def test_text_in_markdown_is_neither_markup_nor_a_mention() -> None:
    told = cell("a\\|b <i> @all !7\nx")
    assert told == "a\\\\\\|b \\<i\\> \\@all \\!7 x"


def test_markdown_says_when_there_is_no_champion() -> None:
    text = render_gates(verdicts(champion=None))
    assert "There is no champion yet." in text
    assert render_comparison(verdicts(champion=None)["evaluate"]).startswith("| metric | challenger |\n")
