"""Laws of rules: what is written is what is read, and no text crashes the parser."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from rondel.gates import ChampionMetrics, check_rules, evaluate, metrics_from_mapping, parse_rule

names = st.from_regex(r"[a-z_][a-z0-9_]{0,12}", fullmatch=True).filter(lambda n: n not in {"champion", "no"})
numbers = st.floats(allow_nan=False, allow_infinity=False, min_value=-1e12, max_value=1e12)
operators = st.sampled_from([">=", "<=", ">", "<", "==", "!="])
anything = st.one_of(
    st.none(),
    st.booleans(),
    st.floats(),
    st.integers(),
    st.text(max_size=5),
    st.lists(st.floats(), max_size=2),
)


@given(names, operators, numbers)
def test_a_number_that_is_written_is_the_number_that_is_read(name: str, operator: str, number: float) -> None:
    rule = parse_rule(f"{name} {operator} {number!r}")
    assert rule.metric is not None
    assert (rule.metric.name, rule.operator) == (name, operator)
    assert rule.bound.value(None) == number


@given(names, numbers, numbers, numbers)
def test_a_bound_is_factor_times_champion_plus_offset(
    name: str, factor: float, offset: float, champion: float
) -> None:
    sign = "-" if factor < 0 or math.copysign(1, factor) < 0 else ""
    rule = parse_rule(f"{name} >= {sign}{abs(factor)!r} * champion.{name} + {abs(offset)!r}")
    assert rule.bound.value(champion) == factor * champion + abs(offset)


@given(st.text(max_size=40))
def test_any_text_is_a_rule_or_a_mistake_within_it(text: str) -> None:
    mistakes = check_rules([text])
    for mistake in mistakes:
        assert 0 <= mistake.column <= len(text)
        assert mistake.what
    if not mistakes:
        assert parse_rule(text)


@given(st.dictionaries(st.sampled_from(["a", "b", "slices", "b[x=y]"]), anything), st.floats())
def test_no_metrics_make_the_gate_raise(values: dict[str, object], champion: float) -> None:
    rules = [parse_rule("a >= champion.a"), parse_rule("b[x=y] != 0.5")]
    found = evaluate(
        rules, metrics_from_mapping(values, source="m"), ChampionMetrics(version="1", metrics={"a": champion})
    )
    assert found.passed == all(result.passed for result in found.results)
    assert all(result.reason for result in found.results)
    assert all(result.value is not None for result in found.results if result.passed)
