from __future__ import annotations

from typing import Any

import pytest

from rondel.engine.api.document import parse
from rondel.engine.api.schema import load
from rondel.engine.api.variables import BadVariable, variables_of


def values(declared: str, **given: Any) -> dict[str, Any]:
    return variables_of(load(), parse(f"query({declared}) {{ version }}").operations[0], given)


def test_variables_are_given_or_have_defaults_or_are_absent() -> None:
    assert values("$a:Int=3,$b:ReturnType,$c:String!,$d:Int", b="ANY", c="x") == {
        "a": 3,
        "b": "ANY",
        "c": "x",
    }


@pytest.mark.parametrize(
    ("declared", "value", "message", "path"),
    [
        ("$x:Int!", None, "cannot be null", ("x",)),
        ("$x:Int", "one", "cannot use string as Int", ("x",)),
        ("$x:Int", 1.5, "cannot use value 0 as Int", ("x",)),
        ("$x:Int", True, "cannot use bool as Int", ("x",)),
        ("$x:Boolean", "true", "cannot use string as Boolean", ("x",)),
        ("$x:String", ["a"], "cannot use slice as String", ("x",)),
        ("$x:ReturnType", "NOPE", "NOPE is not a valid ReturnType", ("x",)),
        ("$x:ReturnType", True, "enums must be ints or strings", ("x",)),
        ("$x:[String!]!", ["a", None], "cannot be null", ("x", 1)),
        ("$x:[PortForward!]", [{"frontend": 1}], "must be defined", ("x", 0, "backend")),
        ("$x:[PortForward!]", [{"backend": 1, "z": 1}], "unknown field", ("x", 0, "z")),
        ("$x:PortForward", "z", "must be a PortForward, not a string", ("x",)),
    ],
)
def test_says_where_a_variable_is_not_of_its_type(
    declared: str, value: Any, message: str, path: tuple[str | int, ...]
) -> None:
    with pytest.raises(BadVariable) as raised:
        values(declared, x=value)
    assert (raised.value.what, raised.value.path) == (message, path)


def test_a_variable_that_is_missing_must_be_defined() -> None:
    with pytest.raises(BadVariable, match="must be defined"):
        values("$x:String!")
