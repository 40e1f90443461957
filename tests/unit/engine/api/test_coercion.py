from __future__ import annotations

from typing import Any

import pytest

from rondel.engine.api.coercion import BadArgument, IdText, arguments, coerce, platform
from rondel.engine.api.document import EnumValue, Variable
from rondel.engine.api.schema import load

SCHEMA = load()


def given(field: str, **values: Any) -> dict[str, Any]:
    definition = SCHEMA.types["Container"].fields[field]
    return arguments(SCHEMA, definition.args, values, {"x": "from variable"})


def test_missing_arguments_get_the_schemas_defaults() -> None:
    values = given("withExec", args=["true"])
    assert values["expect"] == "SUCCESS"
    assert values["stdin"] == ""
    assert values["useEntrypoint"] is False
    assert not isinstance(values["expect"], EnumValue)


def test_variables_stand_for_values_and_absent_ones_for_defaults() -> None:
    assert given("withExec", args=[Variable("x")])["args"] == ["from variable"]
    assert given("withExec", args=["a"], stdin=Variable("absent"))["stdin"] == ""
    with pytest.raises(BadArgument, match="required"):
        given("withUser", name=Variable("absent"))


@pytest.mark.parametrize(
    ("type_text", "value"),
    [
        ("Int", "80"),
        ("Int", True),
        ("Int", 2**70),
        ("Int", 1.5),
        ("String", 1),
        ("String", EnumValue("WORD")),
        ("Boolean", 0),
        ("[String!]!", "single"),
        ("[String!]!", ["a", None]),
        ("ReturnType", EnumValue("SOMETIMES")),
        ("ReturnType", 3),
        ("PortForward", "80"),
        ("PortForward", {"backend": 1, "nope": 2}),
        ("PortForward", {}),
        ("Float", True),
        ("String!", None),
    ],
)
def test_refuses_what_is_not_of_the_type(type_text: str, value: Any) -> None:
    with pytest.raises(BadArgument):
        coerce(SCHEMA, type_text, value, {}, "arg")


def test_a_refused_text_is_not_repeated() -> None:
    with pytest.raises(BadArgument) as raised:
        coerce(SCHEMA, "Int", "hush-hush", {}, "plaintext")
    assert "hush" not in str(raised.value)


def test_ids_are_marked_for_loading() -> None:
    assert isinstance(coerce(SCHEMA, "ID!", "Container@1", {}, "id"), IdText)
    assert isinstance(coerce(SCHEMA, "ContainerID!", "Container@1", {}, "id"), IdText)
    assert not isinstance(coerce(SCHEMA, "String!", "Container@1", {}, "id"), IdText)


def test_input_objects_get_their_defaults() -> None:
    value = coerce(SCHEMA, "PortForward!", {"backend": 80}, {}, "ports")
    assert value == {"backend": 80, "frontend": None, "protocol": "TCP"}


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("linux/amd64", "linux/amd64"),
        ("Linux/x86_64", "linux/amd64"),
        ("linux/aarch64", "linux/arm64"),
        ("linux/arm64/v8", "linux/arm64/v8"),
        ("linux/arm/v7", "linux/arm/v7"),
        ("arm64", "linux/arm64"),
        ("windows/amd64", "windows/amd64"),
    ],
)
def test_platforms_have_one_spelling(text: str, normal: str) -> None:
    assert platform(text) == normal


@pytest.mark.parametrize("text", ["nonsense!", "nonsense", "a/b/c/d", "linux/am d64", ""])
def test_refuses_what_is_no_platform(text: str) -> None:
    with pytest.raises(BadArgument, match="invalid"):
        platform(text)


def test_an_empty_id_is_none() -> None:
    assert coerce(SCHEMA, "ID", "", {}, "source") is None


def test_a_whole_number_may_have_a_point() -> None:
    assert coerce(SCHEMA, "Int", 80.0, {}, "port") == 80
