from __future__ import annotations

import pytest

from rondel.engine.api.expansion import expanded
from rondel.engine.values import Container, ContainerConfig, Secret
from rondel.errors import EngineError

CONTAINER = Container(
    platform="linux/amd64",
    config=ContainerConfig(env=(("A", "alpha"), ("_B1", "beta"))),
    secret_env=(("TOKEN", Secret("session://t")),),
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("${A}/$A/${NOPE}x", "alpha/alpha/x"),
        ("$_B1-$_B1x", "beta-"),
        ("${NOPE:-dflt}", ""),
        (r"\$A", r"\alpha"),
        ("$$A $", "A $"),
        ("${A", "A"),
        ("${}x", "x"),
        ("$-x $", "x $"),
        ("a$/b", "a$/b"),
        ("no dollar", "no dollar"),
        ("", ""),
    ],
)
def test_expands_as_go_does(text: str, value: str) -> None:
    assert expanded(CONTAINER, text) == value


def test_never_expands_a_secret() -> None:
    with pytest.raises(EngineError, match='secret env variable "TOKEN"'):
        expanded(CONTAINER, "x${TOKEN}")
