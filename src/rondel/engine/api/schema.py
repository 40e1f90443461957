"""The schema: view v0.21.8 of the Dagger API, as compact data.

``schema.json`` holds for each type its fields with arguments and defaults, enum values and
input fields; types are written as in the schema language (``[String!]!``).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from rondel.engine.api.document import parse


@dataclass(frozen=True, slots=True)
class ArgumentDefinition:
    """An argument or input field; ``default`` is the parsed value, ``default_text`` as written."""

    name: str
    type: str
    default: Any = None
    default_text: str | None = None
    deprecated: str | None = None

    @property
    def required(self) -> bool:
        """Whether it is mandatory."""
        return self.type.endswith("!") and self.default_text is None


@dataclass(frozen=True, slots=True)
class FieldDefinition:
    """A field of an object type; ``base`` is its type without list and non-null marks."""

    name: str
    type: str
    base: str
    args: dict[str, ArgumentDefinition]
    deprecated: str | None = None


@dataclass(frozen=True, slots=True)
class TypeDefinition:
    """A named type."""

    name: str
    kind: str
    fields: dict[str, FieldDefinition] = field(default_factory=dict)
    interfaces: tuple[str, ...] = ()
    possible: tuple[str, ...] = ()
    values: dict[str, str | None] = field(default_factory=dict)
    inputs: dict[str, ArgumentDefinition] = field(default_factory=dict)

    @property
    def composite(self) -> bool:
        """Whether a query must select subfields of it."""
        return self.kind in {"OBJECT", "INTERFACE"}


@dataclass(frozen=True, slots=True)
class Schema:
    """All types by name, and the directives as data."""

    types: dict[str, TypeDefinition]
    directives: dict[str, Any]

    def applies(self, condition: str | None, type_name: str) -> bool:
        """Whether a fragment on a type applies to an object of another type."""
        return condition is None or condition == type_name or condition in self.types[type_name].interfaces


def base_type(text: str) -> str:
    """The named type inside list and non-null marks."""
    return text.strip("[]!")


@cache
def load() -> Schema:
    """The schema, read once."""
    data = json.loads(Path(__file__).with_name("schema.json").read_text("utf-8"))
    types = {name: _type(name, spec) for name, spec in data["types"].items()}
    query = types["Query"].fields
    query["__schema"] = FieldDefinition("__schema", "__Schema!", "__Schema", {})
    query["__type"] = FieldDefinition(
        "__type", "__Type", "__Type", {"name": ArgumentDefinition("name", "String!")}
    )
    return Schema(types, data["directives"] | _STANDARD_DIRECTIVES)


_IF = {"args": {"if": {"type": "Boolean!"}}, "locations": ["FIELD", "FRAGMENT_SPREAD", "INLINE_FRAGMENT"]}
_STANDARD_DIRECTIVES = {"include": _IF, "skip": _IF}


def _type(name: str, spec: dict[str, Any]) -> TypeDefinition:
    fields = {
        key: FieldDefinition(
            key,
            value["type"],
            base_type(value["type"]),
            _arguments(value.get("args", {})),
            value.get("deprecated"),
        )
        for key, value in spec.get("fields", {}).items()
    }
    return TypeDefinition(
        name,
        spec["kind"],
        fields,
        tuple(spec.get("interfaces", ())),
        tuple(spec.get("possible", ())),
        {key: value.get("deprecated") for key, value in spec.get("values", {}).items()},
        _arguments(spec.get("inputs", {})),
    )


def _arguments(specs: dict[str, Any]) -> dict[str, ArgumentDefinition]:
    return {
        key: ArgumentDefinition(
            key, value["type"], _default(value.get("default")), value.get("default"), value.get("deprecated")
        )
        for key, value in specs.items()
    }


@cache
def _default(text: str | None) -> Any:
    """The value of a default as the schema writes it: a GraphQL literal."""
    if text is None:
        return None
    node = parse(f"{{a(b:{text})}}").operations[0].selections[0]
    return node.arguments["b"]  # type: ignore[union-attr]
