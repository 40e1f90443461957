"""Checks a document against the schema before anything runs.

The rules are those that the recorded engine answers with: unknown fields, arguments, types,
fragments, directives and variables, missing arguments, conflicting fields. Selections are
walked on a stack; a fragment is checked once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rondel.engine.api.document import Directive, Document, FieldNode, Inline, Operation, Spread, Variable
from rondel.errors import nearest

if TYPE_CHECKING:
    from rondel.engine.api.schema import FieldDefinition, Schema

MAX_ERRORS = 20


class Invalid:
    """One thing that is wrong with a document, and where."""

    __slots__ = ("message", "offset")

    def __init__(self, message: str, offset: int) -> None:
        self.message = message
        self.offset = offset


def validate(schema: Schema, document: Document, operation: Operation) -> list[Invalid]:
    """All that is wrong with one operation and the fragments it uses; empty when it may run."""
    return _Validation(schema, document, operation).run()


class _Validation:
    def __init__(self, schema: Schema, document: Document, operation: Operation) -> None:
        self.schema = schema
        self.document = document
        self.operation = operation
        self.declared = {variable.name for variable in operation.variables}
        self.found: list[Invalid] = []
        self.visited: set[str] = set()

    def run(self) -> list[Invalid]:
        cycle = self._cycle()
        if cycle:
            return [Invalid(f'Cannot spread fragment "{cycle}" within itself.', 0)]
        stack: list[tuple[list[Any], str]] = [(self.operation.selections, "Query")]
        while stack and len(self.found) < MAX_ERRORS:
            selections, type_name = stack.pop()
            for selection in selections:
                self._directives(selection.directives)
                if isinstance(selection, FieldNode):
                    stack += self._field(selection, type_name)
                elif isinstance(selection, Inline):
                    stack += self._inline(selection, type_name)
                else:
                    stack += self._spread(selection)
        return self.found[:MAX_ERRORS]

    def _bad(self, message: str, offset: int) -> None:
        self.found.append(Invalid(message, offset))

    def _field(self, node: FieldNode, type_name: str) -> list[tuple[list[Any], str]]:
        if node.name == "__typename" or type_name.startswith("__"):
            self._variables(node.arguments, node.offset)
            return [(node.selections, "__Type")] if node.selections else []
        definition = self.schema.types[type_name].fields.get(node.name)
        if definition is None:
            text = f'Cannot query field "{node.name}" on type "{type_name}".'
            self._bad(text + _hint(node.name, self.schema.types[type_name].fields), node.offset)
            return []
        self._arguments(node, definition, type_name)
        below = self.schema.types.get(definition.base)
        if node.selections and below is not None and not below.composite:
            text = f'Field "{node.name}" must not have a selection since type "{definition.type}"'
            self._bad(f"{text} has no subfields.", node.offset)
            return []
        return [(node.selections, definition.base)] if node.selections else []

    def _arguments(self, node: FieldNode, definition: FieldDefinition, type_name: str) -> None:
        for name in node.arguments:
            if name not in definition.args:
                text = f'Unknown argument "{name}" on field "{type_name}.{node.name}".'
                self._bad(text + _hint(name, definition.args), node.offset)
        for argument in definition.args.values():
            if argument.required and argument.name not in node.arguments:
                self._bad(
                    f'Field "{node.name}" argument "{argument.name}" of type "{argument.type}" is required, '
                    "but it was not provided.",
                    node.offset,
                )
        self._variables(node.arguments, node.offset)

    def _variables(self, value: Any, offset: int) -> None:
        """Every variable used in a value has to be declared."""
        if isinstance(value, Variable) and value.name not in self.declared:
            suffix = f' by operation "{self.operation.name}"' if self.operation.name else ""
            self._bad(f'Variable "${value.name}" is not defined{suffix}.', offset)
        elif isinstance(value, dict):
            for item in value.values():
                self._variables(item, offset)
        elif isinstance(value, list):
            for item in value:
                self._variables(item, offset)

    def _directives(self, directives: list[Directive]) -> None:
        for directive in directives:
            if directive.name not in {"include", "skip"}:
                self._bad(f'Unknown directive "@{directive.name}".', directive.offset)
            elif "if" not in directive.arguments:
                text = f'Directive "@{directive.name}" argument "if" of type "Boolean!" is required'
                self._bad(f"{text}, but it was not provided.", directive.offset)
            self._variables(directive.arguments, directive.offset)

    def _inline(self, node: Inline, type_name: str) -> list[tuple[list[Any], str]]:
        on = node.on or type_name
        if on not in self.schema.types and not on.startswith("__"):
            self._bad(f'Unknown type "{on}".', node.offset)
            return []
        return self._on(on, node.selections, node.offset)

    def _spread(self, node: Spread) -> list[tuple[list[Any], str]]:
        fragment = self.document.fragments.get(node.name)
        if fragment is None:
            self._bad(f'Unknown fragment "{node.name}".', node.offset)
            return []
        if node.name in self.visited:
            return []
        self.visited.add(node.name)
        if fragment.on not in self.schema.types and not fragment.on.startswith("__"):
            self._bad(f'Unknown type "{fragment.on}".', fragment.offset)
            return []
        return self._on(fragment.on, fragment.selections, fragment.offset)

    def _on(self, on: str, selections: list[Any], offset: int) -> list[tuple[list[Any], str]]:
        if not on.startswith("__") and not self.schema.types[on].composite:
            self._bad(f'Fragment cannot condition on non composite type "{on}".', offset)
            return []
        return [(selections, on)]

    def _cycle(self) -> str | None:
        """A fragment that uses itself, directly or through others."""
        uses = {name: _spreads(fragment.selections) for name, fragment in self.document.fragments.items()}
        done: set[str] = set()
        for start in uses:
            path: list[str] = []
            stack: list[tuple[str, bool]] = [(start, False)]
            while stack:
                name, left = stack.pop()
                if left:
                    path.pop()
                    done.add(name)
                elif name in path:
                    return name
                elif name not in done and name in uses:
                    path.append(name)
                    stack.append((name, True))
                    stack.extend((used, False) for used in uses[name])
        return None


def _spreads(selections: list[Any]) -> set[str]:
    names: set[str] = set()
    stack = [selections]
    while stack:
        for selection in stack.pop():
            if isinstance(selection, Spread):
                names.add(selection.name)
            elif selection.selections:
                stack.append(selection.selections)
    return names


def _hint(name: str, candidates: Any) -> str:
    match = nearest(name, candidates)
    return f' Did you mean "{match}"?' if match else ""
