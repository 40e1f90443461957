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
        "# comment": "",  # so has Dagger
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


def test_setting_a_variable_again_replaces_it_in_its_place() -> None:
    file = EnvFile().with_variable("A", "1").with_variable("B", "2").with_variable("A", "3")
    assert file.raw == (("A", "3"), ("B", "2"))
    assert file.without_variable("B").raw == (("A", "3"),)


def evaluated(text: str, **environ: str) -> dict[str, str]:
    return dict(EnvFile.parse(text).evaluated(environ))


def test_a_comment_after_a_quoted_value_is_none_of_it() -> None:
    assert evaluated('A="x y" # why\nB=\'1\' # 2\nC="#"\nD="a"#b\n') == {
        "A": "x y",
        "B": "1",
        "C": "#",
        "D": "a#b",
    }


def test_references_may_point_forwards_and_to_the_clients_environment() -> None:
    assert evaluated("A=$B/x\nB=${HOME}\n", HOME="/h") == {"A": "/h/x", "B": "/h"}


def test_references_have_defaults_and_alternatives() -> None:
    text = "E=\nA=${X:-d}\nB=${E-d}\nC=${E:-d}\nD=${Y:+set}\nF=a\\ b\n"
    assert evaluated(text, Y="1") == {"E": "", "A": "d", "B": "d", "C": "d", "D": "set", "F": "a b"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("A=$NOPE", "A: NOPE: unbound variable"),
        ("A=$B\nB=$A", "A: B: unbound variable"),
        ("A=$A", "A: A: unbound variable"),
        ("A=\nB=$A", "B: A: unbound variable"),
        ("A=${NOPE:?is needed}", "A: NOPE: is needed"),
    ],
)
def test_a_reference_that_means_nothing_is_an_error(text: str, message: str) -> None:
    with pytest.raises(EngineError) as raised:
        EnvFile.parse(text).evaluated({})
    assert raised.value.what == message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('A="x', 'parse error: "A=\\"x": 1:3: reached EOF without closing quote `"`'),
        ("A: 1", 'parse error: "A: 1=": not a bare assignment'),
        ("AB=$(ls)", "AB: unexpected command substitution at 1:4"),
        ("A=x`ls`", "A: unexpected command substitution at 1:4"),
        ('A="$(ls)"', "A: unexpected command substitution at 1:4"),
    ],
)
def test_a_line_that_no_shell_would_read_is_refused_at_once(text: str, message: str) -> None:
    with pytest.raises(EngineError) as raised:
        EnvFile.parse(text)
    assert raised.value.what == message


def test_what_only_looks_like_a_command_is_text() -> None:
    assert evaluated("A='$(ls) `ls`'\nB=\\`ls\\`\n") == {"A": "$(ls) `ls`", "B": "`ls`"}


def test_a_name_without_a_value_and_a_comment_are_variables_with_nothing_in_them() -> None:
    assert evaluated("A\n# note\nB=1\n") == {"# note": "", "A": "", "B": "1"}


def test_a_namespace_strips_its_prefix() -> None:
    file = EnvFile((("APP_X", "1"), ("OTHER", "2"), ("app_y", "3")))
    assert file.namespace("app").raw == (("X", "1"), ("y", "3"))
    assert file.namespace("app").context == (("OTHER", "2"),)
    assert EnvFile((("MY_APP_X", "$Y"), ("Y", "2"))).namespace("myApp").evaluated() == (("X", "2"),)
