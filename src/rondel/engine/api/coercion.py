"""Turns the arguments of a query into values of the schema's types.

Messages name the argument and what was expected, never the value when it is a free text:
a secret's plaintext is an argument like any other.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from rondel.engine.api.document import EnumValue, Variable, whole
from rondel.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rondel.engine.api.schema import Argument, Schema

_INT = 2**63
_OS = re.compile(r"[A-Za-z0-9_-]+(?:\([A-Za-z0-9_.-]*\))?")
_PART = re.compile(r"[A-Za-z0-9_-]+")


class BadArgument(EngineError):
    """An argument is not of its type; answered without a path, like a bad query."""


class IdText(str):
    """The text of an ID, to be loaded before the resolver sees it."""

    __slots__ = ()


def arguments(
    schema: Schema,
    definitions: Mapping[str, Argument],
    given: Mapping[str, Any],
    variables: Mapping[str, Any],
) -> dict[str, Any]:
    """Every argument of a field by its schema name: as given, or its default, or None."""
    values: dict[str, Any] = {}
    for name, definition in definitions.items():
        value = given.get(name)
        absent = name not in given
        if isinstance(value, Variable):
            absent = value.name not in variables
            value = variables.get(value.name)
        if absent and definition.required:
            raise BadArgument(f'argument "{name}" of type "{definition.type}" is required')
        if absent:
            values[name] = plain(definition.default)
        else:
            values[name] = coerce(schema, definition.type, value, variables, name)
            if value is None and definition.default_text is not None:
                values[name] = plain(definition.default)
    return values


def plain(default: Any) -> Any:
    """A schema default as resolvers get it."""
    return str(default) if isinstance(default, EnumValue) else default


def coerce(schema: Schema, type_text: str, value: Any, variables: Mapping[str, Any], name: str) -> Any:
    """One value as a type such as ``[String!]!``. Raises BadArgument."""
    if isinstance(value, Variable):
        value = variables.get(value.name)
    if type_text == "ID" and value == "":
        return None  # an empty ID is none
    if value is None:
        if type_text.endswith("!"):
            raise BadArgument(f'argument "{name}" of type "{type_text}" must not be null')
        return None
    bare = type_text.removesuffix("!")
    if bare.startswith("["):
        if not isinstance(value, list):
            raise BadArgument(f'argument "{name}" of type "{type_text}" takes a list, not {_kind(value)}')
        return [coerce(schema, bare[1:-1], item, variables, name) for item in value]
    definition = schema.types[bare]
    if definition.kind == "ENUM":
        if not isinstance(value, str) or value not in definition.values:
            shown = value if isinstance(value, EnumValue) else _kind(value)
            known = ", ".join(definition.values)
            raise BadArgument(f'invalid enum member "{shown}" for argument "{name}" ({bare}); known: {known}')
        return str(value)
    if definition.kind == "INPUT_OBJECT":
        return _input(schema, bare, value, variables, name)
    return _scalar(bare, value, name)


def _input(schema: Schema, bare: str, value: Any, variables: Mapping[str, Any], name: str) -> dict[str, Any]:
    fields = schema.types[bare].inputs
    if not isinstance(value, dict):
        raise BadArgument(f'argument "{name}" takes an object of type {bare}, not {_kind(value)}')
    unknown = sorted(set(value) - set(fields))
    if unknown:
        raise BadArgument(f'argument "{name}": {bare} has no field "{unknown[0]}"')
    return arguments(schema, fields, value, variables)


def _scalar(bare: str, value: Any, name: str) -> Any:
    bad = BadArgument(f'argument "{name}" is of type {bare}, not {_kind(value)}')
    if isinstance(value, EnumValue):
        raise bad
    if bare == "Int":
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not -_INT <= value < _INT:
            raise bad
        return value
    if bare == "Float":
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise bad
        return float(value)
    if bare == "Boolean":
        if not isinstance(value, bool):
            raise bad
        return value
    if not isinstance(value, str):
        raise bad
    text = whole(value)
    if bare == "Platform":
        return platform(text)
    return IdText(text) if bare == "ID" or bare.endswith("ID") else text


def platform(text: str) -> str:
    """A platform specifier in its normal form: lower case, the usual names. Raises BadArgument."""
    parts = text.split("/")
    if not _OS.fullmatch(parts[0]):
        raise BadArgument(f'"{parts[0]}" is an invalid OS component of "{text}": invalid platform')
    if len(parts) > 3 or not all(_PART.fullmatch(part) for part in parts[1:]):
        raise BadArgument(f'"{text}" is an invalid platform specifier: os/architecture[/variant]')
    return normal_platform([part.lower() for part in parts])


_ARCHITECTURES = {"x86_64": "amd64", "x86-64": "amd64", "aarch64": "arm64", "armhf": "arm", "i386": "386"}


def normal_platform(parts: list[str]) -> str:
    """Join the parts of a platform under the names that images use."""
    if len(parts) == 1:
        known = {"linux", "windows", "darwin", "freebsd"}
        parts = [*parts, "amd64"] if parts[0] in known else ["linux", *parts]
    architecture = _ARCHITECTURES.get(parts[1], parts[1])
    variant = parts[2:]
    if architecture == "arm64" and variant == ["v8"]:
        variant = []
    return "/".join([parts[0], architecture, *variant])


def _kind(value: Any) -> str:
    names = {bool: "a boolean", int: "an integer", float: "a float", str: "a string", list: "a list"}
    return "a bare word" if isinstance(value, EnumValue) else names.get(type(value), "an object")
