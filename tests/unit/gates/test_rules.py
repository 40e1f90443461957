"""The rule language: what it reads, and how it points at what it cannot read."""

from __future__ import annotations

import pytest

from rondel.errors import ConfigurationError
from rondel.gates import check_rules, parse_rule, parse_rules
from rondel.gates.rules import Bound, MetricName


@pytest.mark.parametrize(
    ("text", "metric", "operator", "bound"),
    [
        ("roc_auc >= 0.68", MetricName(name="roc_auc"), ">=", Bound(offset=0.68)),
        ("log_loss<1e-3", MetricName(name="log_loss"), "<", Bound(offset=0.001)),
        ("model_mb ≤ 50", MetricName(name="model_mb"), "<=", Bound(offset=50)),
        ("bias == -0.5", MetricName(name="bias"), "==", Bound(offset=-0.5)),
        ("val/f1 != .5", MetricName(name="val/f1"), "!=", Bound(offset=0.5)),
        ('"f1-score" > 0.5', MetricName(name="f1-score"), ">", Bound(offset=0.5)),
        ("latency.p95_ms <= 12", MetricName(name="latency.p95_ms"), "<=", Bound(offset=12)),
        (
            "roc_auc >= champion.roc_auc - 0.005",
            MetricName(name="roc_auc"),
            ">=",
            Bound(offset=-0.005, champion=MetricName(name="roc_auc")),
        ),
        (
            "latency_ms <= 1.1 * champion.latency_ms + 2",
            MetricName(name="latency_ms"),
            "<=",
            Bound(offset=2, factor=1.1, champion=MetricName(name="latency_ms")),
        ),
        (
            "a <= 3 - champion.b × 2",
            MetricName(name="a"),
            "<=",
            Bound(offset=3, factor=-2, champion=MetricName(name="b")),
        ),
        (
            'roc_auc[origin=JFK, carrier="B6 x"] >= champion.roc_auc[origin=JFK]',
            MetricName(name="roc_auc", slice=(("origin", "JFK"), ("carrier", "B6 x"))),
            ">=",
            Bound(champion=MetricName(name="roc_auc", slice=(("origin", "JFK"),))),
        ),
        ("champion_like >= 1", MetricName(name="champion_like"), ">=", Bound(offset=1)),
        ("no_show_rate <= 1", MetricName(name="no_show_rate"), "<=", Bound(offset=1)),
    ],
)
def test_a_rule_is_read(text: str, metric: MetricName, operator: str, bound: Bound) -> None:
    rule = parse_rule(text)
    assert (rule.metric, rule.operator, rule.bound) == (metric, operator, bound)
    assert rule.text == text


def test_the_policy_for_no_champion_is_a_rule() -> None:
    assert parse_rule("no champion: fail").no_champion == "fail"
    assert parse_rule("no champion : pass").no_champion == "pass"


@pytest.mark.parametrize(
    ("text", "column", "hint"),
    [
        ("roc_auc >= chmpion.roc_auc", 11, "'champion'"),
        ("roc_auc => 1", 8, ">="),
        ("roc_auc = 1", 8, "=="),
        ("roc_auc", 7, None),
        ("roc_auc >=  ", 10, None),
        ("roc_auc >= 0,68", 12, "decimal point"),
        ("f1-score > 0.5", 2, "double quotes"),
        ("champion.x > 1", 0, "champion.roc_auc"),
        ("a > b", 4, "champion.b"),
        ("a[b] > 1", 3, None),
        ("a > champion", 12, None),
        ("a > champion.x + champion.y", 17, None),
        ("a == 1 and b > 2", 7, None),
        ("__import__('os')", 10, None),
        ("no champion: maybe", 13, None),
        ("", 0, None),
    ],
)
def test_a_mistake_is_pointed_at(text: str, column: int, hint: str | None) -> None:
    (mistake,) = check_rules([text])
    assert mistake.column == column
    assert mistake.show().splitlines()[1].index("^") == column
    if hint is not None:
        assert hint in (mistake.hint or "")


def test_all_mistakes_are_reported_at_once_with_their_place() -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_rules(["a > 1", "b >", "c ! 2"], place="ci/main.py:12")
    text = caught.value.render()
    assert text.startswith("ci/main.py:12: 2 gate rules are wrong")
    assert "rule 2, character 4" in text
    assert "rule 3, character 3" in text


@pytest.mark.parametrize("policy", ["fail", "compare"])
def test_a_policy_for_stale_champions_is_a_rule(policy: str) -> None:
    rule = parse_rule(f"stale champion: {policy}")
    assert (rule.metric, rule.no_champion, rule.stale_champion) == (None, None, policy)


def test_a_policy_that_does_not_exist_is_shown_with_those_that_do() -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_rule("stale champion: pass")
    assert "expected fail or compare" in (caught.value.why or "")
