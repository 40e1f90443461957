"""Answers ``__schema`` and ``__type`` by projecting the schema's data onto a selection."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rondel.engine.api.document import FieldNode
from rondel.engine.api.schema import ArgumentDefinition, FieldDefinition, Schema, TypeDefinition
from rondel.errors import EngineError

MAX_DEPTH = 40
MAX_SIZE = 250_000
"""How many fields an answer may have: a type that is asked for through another comes as often as that one."""
_KINDS = ["SCALAR", "OBJECT", "INTERFACE", "UNION", "ENUM", "INPUT_OBJECT", "LIST", "NON_NULL"]
Flatten = Callable[[list[Any], str], dict[str, list[FieldNode]]]


class Introspection:
    """The answers to one request; equal type references are projected once."""

    def __init__(self, schema: Schema, flatten: Flatten) -> None:
        self.schema = schema
        self.flatten = flatten
        # With the selections, so that no others get their id.
        self._fields: dict[tuple[int, str], tuple[list[Any], list[tuple[str, FieldNode, list[Any]]]]] = {}
        self._references: dict[tuple[str, int], tuple[dict[str, Any], int]] = {}
        self._size = 0

    def answer_schema(self, selections: list[Any]) -> dict[str, Any]:
        """The value of ``__schema``."""
        types = self.schema.types.values()
        values: dict[str, Callable[[FieldNode, list[Any]], Any]] = {
            "types": lambda _node, below: [self.type(t.name, below, 1) for t in types],
            "queryType": lambda _node, below: self.type("Query", below, 1),
            "mutationType": lambda _node, _below: None,
            "subscriptionType": lambda _node, _below: None,
            "directives": lambda _node, below: [
                self.directive(name, spec, below) for name, spec in self.schema.directives.items()
            ],
            "description": lambda _node, _below: None,
        }
        return self._project("__Schema", selections, values)

    def answer_type(self, name: str, selections: list[Any]) -> dict[str, Any] | None:
        """The value of ``__type(name:)``."""
        return self.type(name, selections, 1) if name in self.schema.types else None

    def type(self, text: str, selections: list[Any], depth: int) -> dict[str, Any]:
        """A type reference such as ``[String!]!`` as a ``__Type``."""
        if depth > MAX_DEPTH:
            raise EngineError(f"introspection nested more than {MAX_DEPTH} levels deep")
        known = self._references.get((text, id(selections)))
        if known is not None:
            self._grow(known[1])
            return known[0]
        before = self._size
        if text.endswith("!") or text.startswith("["):
            kind = "NON_NULL" if text.endswith("!") else "LIST"
            inner = text[:-1] if kind == "NON_NULL" else text[1:-1]
            values = _wrapper(kind) | {"ofType": lambda _node, below: self.type(inner, below, depth + 1)}
        else:
            values = self._named(self.schema.types[text], depth)
        answer = self._project("__Type", selections, values)
        self._references[text, id(selections)] = answer, self._size - before
        return answer

    def _named(self, definition: TypeDefinition, depth: int) -> dict[str, Any]:
        def references(names: tuple[str, ...]) -> Any:
            return lambda _node, below: [self.type(name, below, depth + 1) for name in names]

        composite = definition.composite
        return _wrapper(definition.kind) | {
            "name": lambda _node, _below: definition.name,
            "fields": lambda node, below: (
                [
                    self.field(f, below, depth + 1)
                    for f in definition.fields.values()
                    if not f.name.startswith("__") and _wanted(node, f.deprecated)
                ]
                if composite
                else None
            ),
            "interfaces": references(definition.interfaces) if composite else _none,
            "possibleTypes": references(definition.possible) if definition.kind == "INTERFACE" else _none,
            "enumValues": lambda node, below: (
                [
                    self.enum_value(name, reason, below)
                    for name, reason in definition.values.items()
                    if _wanted(node, reason)
                ]
                if definition.kind == "ENUM"
                else None
            ),
            "inputFields": lambda _node, below: (
                [self.argument(a, below, depth + 1) for a in definition.inputs.values()]
                if definition.kind == "INPUT_OBJECT"
                else None
            ),
        }

    def field(self, definition: FieldDefinition, selections: list[Any], depth: int) -> dict[str, Any]:
        """A ``__Field``."""
        return self._project(
            "__Field",
            selections,
            {
                "name": lambda _node, _below: definition.name,
                "description": _none,
                "args": lambda _node, below: [
                    self.argument(a, below, depth + 1) for a in definition.args.values()
                ],
                "type": lambda _node, below: self.type(definition.type, below, depth + 1),
                "isDeprecated": lambda _node, _below: definition.deprecated is not None,
                "deprecationReason": lambda _node, _below: definition.deprecated,
            },
        )

    def argument(self, argument: ArgumentDefinition, selections: list[Any], depth: int) -> dict[str, Any]:
        """An ``__InputValue``."""
        return self._project(
            "__InputValue",
            selections,
            {
                "name": lambda _node, _below: argument.name,
                "description": _none,
                "type": lambda _node, below: self.type(argument.type, below, depth + 1),
                "defaultValue": lambda _node, _below: argument.default_text,
                "isDeprecated": lambda _node, _below: argument.deprecated is not None,
                "deprecationReason": lambda _node, _below: argument.deprecated,
            },
        )

    def enum_value(self, name: str, reason: str | None, selections: list[Any]) -> dict[str, Any]:
        """An ``__EnumValue``."""
        return self._project(
            "__EnumValue",
            selections,
            {
                "name": lambda _node, _below: name,
                "description": _none,
                "isDeprecated": lambda _node, _below: reason is not None,
                "deprecationReason": lambda _node, _below: reason,
            },
        )

    def directive(self, name: str, spec: dict[str, Any], selections: list[Any]) -> dict[str, Any]:
        """A ``__Directive``."""
        return self._project(
            "__Directive",
            selections,
            {
                "name": lambda _node, _below: name,
                "description": _none,
                "isRepeatable": lambda _node, _below: False,
                "locations": lambda _node, _below: spec["locations"],
                "args": lambda _node, below: [
                    self.argument(ArgumentDefinition(key, a["type"], None, a.get("default")), below, 2)
                    for key, a in spec["args"].items()
                ],
            },
        )

    def _grow(self, fields: int) -> None:
        self._size += fields
        if self._size > MAX_SIZE:
            raise EngineError(f"introspection of more than {MAX_SIZE} fields")

    def _project(self, type_name: str, selections: list[Any], values: dict[str, Any]) -> dict[str, Any]:
        if (id(selections), type_name) not in self._fields:
            self._fields[id(selections), type_name] = (
                selections,
                [
                    (key, nodes[0], [s for node in nodes for s in node.selections or ()])
                    for key, nodes in self.flatten(selections, type_name).items()
                ],
            )
        _, plan = self._fields[id(selections), type_name]
        answer = {}
        self._grow(len(plan))
        for key, node, below in plan:
            if node.name == "__typename":
                answer[key] = type_name
                continue
            value = values.get(node.name)
            if value is None:
                raise EngineError(f'Cannot query field "{node.name}" on type "{type_name}".')
            answer[key] = value(node, below)
        return answer


def _none(node: FieldNode, below: list[Any]) -> None:
    return None


def _wrapper(kind: str) -> dict[str, Any]:
    """The fields that every kind of type has."""
    others = ("name", "description", "specifiedByURL", "specifiedByUrl", "fields", "interfaces")
    more = ("possibleTypes", "enumValues", "inputFields", "ofType")
    values: dict[str, Any] = dict.fromkeys((*others, *more), _none)
    values["kind"] = lambda _node, _below: kind
    values["isOneOf"] = lambda _node, _below: False if kind == "INPUT_OBJECT" else None
    return values


def _wanted(node: FieldNode, reason: str | None) -> bool:
    return reason is None or node.arguments.get("includeDeprecated") is True
