from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rondel.engine.evaluate.imageconfig import from_image, to_image
from rondel.engine.images.durations import duration, nanoseconds
from rondel.engine.images.model import ImageConfig
from rondel.errors import EngineError


@pytest.mark.parametrize(
    ("given_text", "normal"),
    [
        ("0", "0s"),
        ("0s", "0s"),
        ("90s", "1m30s"),
        ("1m", "1m0s"),
        ("2h", "2h0m0s"),
        ("1h1.5s", "1h0m1.5s"),
        ("1500ms", "1.5s"),
        ("1.5ms", "1.5ms"),
        ("1.5us", "1.5µs"),
        ("100ns", "100ns"),
        ("-3s", "-3s"),
        ("+.5s", "500ms"),
    ],
)
def test_a_duration_has_one_way_to_be_written(given_text: str, normal: str) -> None:
    assert duration(nanoseconds(given_text)) == normal
    assert nanoseconds(normal) == nanoseconds(given_text)


@given(st.integers(min_value=-(2**52), max_value=2**52))
def test_durations_survive_being_written(value: int) -> None:
    assert abs(nanoseconds(duration(value)) - value) <= 1  # whole ones exactly, but for a float's last bit


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("soon", 'invalid duration "soon"'),
        ("", 'invalid duration ""'),
        ("5", 'missing unit in duration "5"'),
        ("5x", 'unknown unit "x" in duration "5x"'),
        (" 1s", 'invalid duration " 1s"'),
    ],
)
def test_what_is_no_duration_is_refused(text: str, problem: str) -> None:
    with pytest.raises(EngineError, match=problem):
        nanoseconds(text)


@pytest.mark.parametrize(
    "check",
    [
        {},
        {"Test": ["NONE"]},
        {"Test": ["CMD", "a", "b"], "Interval": 5 * 10**9, "Retries": 3},
        {"Test": ["CMD-SHELL", "a"], "StartInterval": 1_500_000},
    ],
)
def test_a_health_check_comes_back_as_it_was(check: dict[str, object]) -> None:
    config = ImageConfig(healthcheck=check, on_build=("RUN x",))
    back = to_image(from_image(config), "linux/amd64")
    assert back.healthcheck == check
    assert back.on_build == ("RUN x",)
