from __future__ import annotations

import pytest

from rondel.engine.values.envfile import EnvFile
from rondel.errors import EngineError

TEXT = """A=1
# comment
B="two words"
C='single $A'
D=$A-x
export E=5

F=
G=a#b
H=x # tail
I=${NOPE:-fallback}
J="quoted $A and \\$A"
"""


def test_evaluates_quotes_and_references() -> None:
    assert dict(EnvFile.parse(TEXT).evaluated()) == {
        "A": "1",
        "B": "two words",
        "C": "single $A",
        "D": "1-x",
        "E": "5",
        "F": "",
        "G": "a#b",
        "H": "x # tail",
        "I": "fallback",
        "J": "quoted 1 and $A",
    }


def test_keeps_the_raw_text() -> None:
    assert dict(EnvFile.parse(TEXT).raw)["B"] == '"two words"'


def test_a_line_that_is_no_assignment_is_named() -> None:
    with pytest.raises(EngineError, match="1A=x"):
        EnvFile.parse("novalue\n1A=x\n")


def test_setting_a_variable_again_replaces_it() -> None:
    file = EnvFile().with_variable("A", "1").with_variable("B", "2").with_variable("A", "3")
    assert file.raw == (("B", "2"), ("A", "3"))
    assert file.without_variable("B").raw == (("A", "3"),)


def test_a_namespace_strips_its_prefix() -> None:
    file = EnvFile((("APP_X", "1"), ("OTHER", "2"), ("app_y", "3")))
    assert file.namespace("app").raw == (("X", "1"), ("y", "3"))
