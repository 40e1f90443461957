"""Verdicts: each rule with its numbers and reasons, and no exception for bad metrics."""

from __future__ import annotations

import json

from rondel.gates import ChampionMetrics, Metrics, Verdict, evaluate, metrics_from_mapping, parse_rules

METRICS = metrics_from_mapping(
    {"roc_auc": 0.70, "log_loss": 0.4, "slices": {"origin=JFK": {"roc_auc": 0.65}}, "bad": float("nan")},
    source="metrics.json",
)
CHAMPION = ChampionMetrics(version="3", metrics={"roc_auc": 0.71, "roc_auc[origin=JFK]": 0.6})


def verdict(*rules: str, champion: ChampionMetrics | None = CHAMPION, metrics: Metrics = METRICS) -> Verdict:
    return evaluate(parse_rules(rules), metrics, champion, model="m")


def test_numbers_champion_and_slices_are_compared() -> None:
    found = verdict(
        "roc_auc >= 0.68",
        "roc_auc >= champion.roc_auc - 0.02",
        "roc_auc[origin=JFK] >= 1.05 * champion.roc_auc[origin=JFK]",
        "log_loss <= 0.45",
    )
    assert found.passed
    assert [result.outcome for result in found.results] == ["passed"] * 4
    assert found.results[1].champion == 0.71
    assert abs((found.results[1].bound or 0) - 0.69) < 1e-12


def test_one_rule_that_does_not_hold_fails_the_gate_and_says_by_how_much() -> None:
    found = verdict("roc_auc >= 0.68", "roc_auc >= champion.roc_auc")
    assert not found.passed
    (failure,) = found.failures
    assert failure.reason == "0.7 is not >= 0.71"
    assert "1 of 2 rules hold" in found.summary()


def test_without_a_champion_its_rules_pass_or_fail_by_policy() -> None:
    assert verdict("roc_auc >= champion.roc_auc", champion=None).passed
    strict = verdict("roc_auc >= champion.roc_auc", "no champion: fail", champion=None)
    assert not strict.passed
    assert strict.results[0].outcome == "no champion"
    assert "no champion yet" in strict.results[0].reason
    rules = parse_rules(["roc_auc >= champion.roc_auc"])
    assert not evaluate(rules, METRICS, None, no_champion="fail").passed


def test_a_missing_metric_fails_its_rule_even_without_a_champion() -> None:
    found = verdict("roc_acu >= champion.roc_auc", champion=None)
    assert not found.passed
    assert "did you mean 'roc_auc'?" in found.results[0].reason


def test_a_champion_without_the_metric_fails_the_rule() -> None:
    found = verdict("log_loss <= champion.log_loss")
    assert "champion (version 3) has no metric 'log_loss'" in found.results[0].reason
    assert not found.passed


def test_nan_fails_even_a_rule_that_says_not_equal() -> None:
    found = verdict("bad != 3")
    assert not found.passed
    assert "NaN" in found.results[0].reason


def test_a_champion_metric_that_is_nan_fails_the_rule() -> None:
    champion = ChampionMetrics(version="3", metrics={"roc_auc": float("nan")})
    assert "NaN" in verdict("roc_auc >= champion.roc_auc", champion=champion).results[0].reason


def test_an_unreadable_file_fails_every_rule_with_the_reason() -> None:
    broken = Metrics(source="m.json", problem="m.json: there is no such file")
    found = verdict("a > 1", "b > 2", metrics=broken)
    assert [result.reason for result in found.results] == ["m.json: there is no such file"] * 2
    assert not verdict("no champion: pass", metrics=broken).passed


def test_measured_values_join_the_files_own() -> None:
    measured = metrics_from_mapping(
        {"model_mb": 12.0, "roc_auc": 0.1, "latency_ms": "slow"}, source="measure"
    )
    merged = METRICS.merged(measured)
    assert evaluate(parse_rules(["model_mb <= 50", "roc_auc >= 0.68"]), merged).passed
    failed = evaluate(parse_rules(["latency_ms <= 50"]), merged)
    assert "'slow'" in failed.results[0].reason


STALE = ChampionMetrics(
    version="3", metrics={"roc_auc": 0.5}, measured="stale", note="changed: data test.parquet"
)


def test_a_champion_of_another_evaluation_fails_the_rules_that_need_it() -> None:
    found = verdict("roc_auc >= champion.roc_auc", "roc_auc >= 0.1", champion=STALE)
    assert [result.passed for result in found.results] == [False, True]
    assert (
        "not comparable with the champion (version 3): changed: data test.parquet" in found.results[0].reason
    )
    assert found.champion() == (
        "champion: version 3 (metrics of another evaluation; changed: data test.parquet)"
    )
    assert found.tags()["rondel.gate.champion.measured"] == "stale"


def test_a_policy_compares_with_a_stale_champion_all_the_same() -> None:
    found = verdict("roc_auc >= champion.roc_auc", "stale champion: compare", champion=STALE)
    assert found.passed
    assert not verdict("roc_auc >= champion.roc_auc", "stale champion: fail", champion=STALE).passed


def test_a_verdict_survives_json() -> None:
    found = verdict("roc_auc >= champion.roc_auc", "bad > 1", "log_loss <= 0.45")
    assert Verdict.from_dict(json.loads(json.dumps(found.to_dict()))) == found


def test_tags_tell_the_verdict() -> None:
    tags = verdict("roc_auc >= 0.9").tags()
    assert tags["rondel.gate"] == "failed"
    assert tags["rondel.gate.champion"] == "3"
    assert tags["rondel.gate.rule.1"] == "failed: roc_auc >= 0.9 (0.7 is not >= 0.9)"
