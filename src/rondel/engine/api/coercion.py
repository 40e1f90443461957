"""Converts the arguments of a query to the schema's types.

Messages contain the argument's name and the expected type, but never a free text: the
plaintext of a secret is an argument, too.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from rondel.engine.api.document import EnumValue, Variable
from rondel.engine.images.platforms import default as default_platform
from rondel.errors import EngineError
from rondel.files.text import whole

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rondel.engine.api.schema import ArgumentDefinition, Schema

_INT = 2**63
_OS = re.compile(r"[A-Za-z0-9_-]+(?:\([A-Za-z0-9_.-]*\))?")
_PART = re.compile(r"[A-Za-z0-9_-]+")


class BadArgument(EngineError):
    """An argument has the wrong type; reported without a path, like an invalid query."""


class IdText(str):
    """The text of an ID; its object is loaded before the resolver runs."""

    __slots__ = ()


def arguments(
    schema: Schema,
    definitions: Mapping[str, ArgumentDefinition],
    given: Mapping[str, Any],
    variables: Mapping[str, Any],
) -> dict[str, Any]:
    """Every argument of a field by its schema name: the given value, the default, or None."""
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
    """A schema default in the form that resolvers receive."""
    return str(default) if isinstance(default, EnumValue) else default


def coerce(schema: Schema, type_text: str, value: Any, variables: Mapping[str, Any], name: str) -> Any:
    """Convert one value to a type such as ``[String!]!``. Raises BadArgument."""
    if isinstance(value, Variable):
        value = variables.get(value.name)
    if type_text == "ID" and value == "":
        return None  # an empty ID counts as missing
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
        raise BadArgument(f'"{parts[0]}" is an invalid OS component of "{text}": invalid argument')
    if len(parts) > 3 or not all(_PART.fullmatch(part) for part in parts[1:]):
        raise BadArgument(f'"{text}": cannot parse platform specifier: invalid argument')
    parts = [part.lower() for part in parts]
    if len(parts) == 1:
        parts = _whole_platform(parts[0])
    return "/".join([parts[0], _ARCHITECTURES.get(parts[1], parts[1]), *parts[2:]])


_SYSTEMS = frozenset(("darwin", "freebsd", "linux", "netbsd", "openbsd", "windows"))
_KNOWN_ARCHITECTURES = frozenset(
    ("386", "amd64", "arm", "arm64", "loong64", "mips64le", "ppc64le", "riscv64", "s390x")
)
_ARCHITECTURES = {"x86_64": "amd64", "x86-64": "amd64", "aarch64": "arm64", "armhf": "arm", "i386": "386"}


def _whole_platform(word: str) -> list[str]:
    """The platform for an operating system or an architecture alone. Raises BadArgument."""
    if word in _SYSTEMS:
        return [word, default_platform().architecture]
    if _ARCHITECTURES.get(word, word) in _KNOWN_ARCHITECTURES:
        return ["linux", word]
    raise BadArgument(f'"{word}": unknown operating system or architecture: invalid argument')


def _kind(value: Any) -> str:
    names = {bool: "a boolean", int: "an integer", float: "a float", str: "a string", list: "a list"}
    return "a bare word" if isinstance(value, EnumValue) else names.get(type(value), "an object")
