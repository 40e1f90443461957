"""Checks a document against the schema before anything runs.

Rules and messages are those of the recorded engine. Selections are walked on a stack,
children before their parents; a fragment is walked once per operation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rondel.engine.api.document import (
    Directive,
    Document,
    FieldNode,
    Fragment,
    Inline,
    OperationDefinition,
    Spread,
    Variable,
    VariableDefinition,
)
from rondel.engine.api.schema import ArgumentDefinition, base_type
from rondel.engine.api.suggestions import one_of, suggestion

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rondel.engine.api.schema import FieldDefinition, Schema, TypeDefinition

MAX_ERRORS = 20
MAX_DEFINITIONS = 100
MAX_FIELDS = 10_000
"""How many fields a request may have, those of a fragment counted wherever it is spread."""


class Invalid:
    """One error in a document, and its location."""

    __slots__ = ("message", "offset")

    def __init__(self, message: str, offset: int) -> None:
        self.message = message
        self.offset = offset


def validate(schema: Schema, document: Document) -> list[Invalid]:
    """All errors of a document; empty if its operations may run."""
    return _Validation(schema, document).run()


class _Validation:
    def __init__(self, schema: Schema, document: Document) -> None:
        self.schema = schema
        self.document = document
        self.found: list[Invalid] = []
        self.operation: OperationDefinition | None = None
        self.declared: dict[str, VariableDefinition] = {}
        self.used: set[str] = set()
        self.spread: set[str] = set()
        self.visited: set[str] = set()
        self.sizes: dict[str, int] = {}

    def run(self) -> list[Invalid]:
        held = (self.document.operations, self.document.fragments.values())
        definitions = [definition.selections for each in held for definition in each]
        if len(definitions) > MAX_DEFINITIONS:
            return [Invalid(f"more than {MAX_DEFINITIONS} operations and fragments", 0)]
        if sum(map(self._size, definitions)) > MAX_FIELDS:
            return [Invalid(f"more than {MAX_FIELDS} fields, counted wherever a fragment is spread", 0)]
        names: set[str | None] = set()
        for operation in self.document.operations:
            self._operation(operation)
            if operation.name is None and len(self.document.operations) > 1:
                self._bad("This anonymous operation must be the only defined operation.", operation.offset)
            if operation.name in names:
                text = f'There can be only one operation named "{operation.name or ""}".'
                self._bad(text, operation.offset)
            names.add(operation.name)
        self.operation = None
        spread = set(self.spread)
        for fragment in self.document.fragments.values():
            self._fragment(fragment, used=fragment.name in spread)
        for message, offset in self.document.duplicates:
            self._bad(message, offset)
        if not self.found:
            for operation in self.document.operations:
                self._conflicts(operation)
        return self.found[:MAX_ERRORS]

    def _bad(self, message: str, offset: int) -> None:
        if len(self.found) < MAX_ERRORS:
            self.found.append(Invalid(message, offset))

    def _size(self, selections: list[Any]) -> int:
        """The number of selections, with those of the fragments that they spread."""
        size, stack = 0, [selections]
        while stack:
            for selection in stack.pop():
                size += 1
                if not isinstance(selection, Spread):
                    stack.append(selection.selections or [])
                elif selection.name in self.document.fragments:
                    if selection.name not in self.sizes:
                        self.sizes[selection.name] = 0  # a cycle is an error, but later
                        below = self.document.fragments[selection.name].selections
                        self.sizes[selection.name] = self._size(below)
                    size += self.sizes[selection.name]
        return size

    # -- definitions

    def _operation(self, operation: OperationDefinition) -> None:
        self.operation, self.used, self.visited = operation, set(), set()
        self.declared = {}
        suffix = f' in operation "{operation.name}"' if operation.name else ""
        if operation.kind != "query":
            self._bad(f'Schema does not support operation type "{operation.kind}"', operation.offset)
            return
        for variable in operation.variables:
            if variable.name in self.declared:
                self._bad(f'There can be only one variable named "${variable.name}".', variable.offset)
            self.declared.setdefault(variable.name, variable)
            self._variable_type(variable)
        self._directives(operation.directives)
        self._walk(operation.selections, "Query")
        for name, variable in self.declared.items():
            if name not in self.used:
                self._bad(f'Variable "${name}" is never used{suffix}.', variable.offset)

    def _variable_type(self, variable: VariableDefinition) -> None:
        definition = self.schema.types.get(base_type(variable.type))
        if definition is None:
            self._bad(f'Unknown type "{base_type(variable.type)}".', variable.offset)
        elif definition.composite:
            text = f'Variable "${variable.name}" cannot be non-input type "{variable.type}".'
            self._bad(text, variable.offset)

    def _fragment(self, fragment: Fragment, *, used: bool) -> None:
        self.visited = set()
        self._walk(fragment.selections, self._known(fragment.on))
        cycle = self._cycle(fragment.name)
        if cycle is not None:
            via = ", ".join(f'"{name}"' for name in cycle[:-1])
            text = f'Cannot spread fragment "{fragment.name}" within itself'
            self._bad(f"{text} via {via}." if via else f"{text}.", fragment.offset)
        if self._known(fragment.on) is None:
            hint = suggestion(fragment.on, self.schema.types)
            self._bad(f'Unknown type "{fragment.on}".{hint}', fragment.offset)
        elif not self._composite(fragment.on):
            text = f'Fragment "{fragment.name}" cannot condition on non composite type "{fragment.on}".'
            self._bad(text, fragment.offset)
        if not used:
            self._bad(f'Fragment "{fragment.name}" is never used.', fragment.offset)

    def _cycle(self, start: str) -> list[str] | None:
        """A cycle of fragments that spread each other, ending in the given one; reported once per cycle."""
        trails = [[name] for name in sorted(_spreads(self.document.fragments[start].selections))]
        seen: set[str] = set()
        while trails:
            trail = trails.pop()
            name = trail[-1]
            if name == start:
                return trail if start == min(trail) else None
            if name in seen or name not in self.document.fragments:
                continue
            seen.add(name)
            below = _spreads(self.document.fragments[name].selections)
            trails += [[*trail, used] for used in sorted(below)]
        return None

    # -- selections

    def _walk(self, selections: list[Any], type_name: str | None) -> None:
        stack: list[tuple[Any, str | None, bool]] = [(s, type_name, False) for s in reversed(selections)]
        while stack and len(self.found) < MAX_ERRORS:
            selection, holder, leaving = stack.pop()
            if leaving:
                self._leave(selection, holder)
                continue
            below, on = self._enter(selection, holder)
            stack.append((selection, holder, True))
            stack += [(s, on, False) for s in reversed(below)]

    def _enter(self, selection: Any, holder: str | None) -> tuple[list[Any], str | None]:
        """Check a selection itself; returns its subselections and their type, if it is known."""
        if isinstance(selection, FieldNode):
            definition = self._definition(selection, holder)
            arguments = definition.args if definition else {}
            self._values(selection.arguments, arguments, selection.offset)
            self._directives(selection.directives)
            if holder is not None and holder.startswith("__"):
                return selection.selections or [], "__Type"
            return selection.selections or [], self._known(definition.base) if definition else None
        self._directives(selection.directives)
        if isinstance(selection, Inline):
            return selection.selections, self._known(selection.on) if selection.on else holder
        self.spread.add(selection.name) if self.operation else None
        fragment = self.document.fragments.get(selection.name)
        if fragment is None or selection.name in self.visited:
            return [], None
        self.visited.add(selection.name)
        return fragment.selections, self._known(fragment.on)

    def _definition(self, node: FieldNode, holder: str | None) -> FieldDefinition | None:
        if holder is None or holder.startswith("__") or node.name == "__typename":
            return None
        return self.schema.types[holder].fields.get(node.name)

    def _leave(self, selection: Any, holder: str | None) -> None:
        if isinstance(selection, FieldNode):
            if holder is not None and not holder.startswith("__") and selection.name != "__typename":
                self._field(selection, self.schema.types[holder])
        elif isinstance(selection, Inline):
            if selection.on and self._known(selection.on) is None:
                self._bad(f'Unknown type "{selection.on}".', selection.offset)
            elif selection.on and not self._composite(selection.on):
                text = f'Fragment cannot condition on non composite type "{selection.on}".'
                self._bad(text, selection.offset)
            elif selection.on and not self._possible(holder, selection.on):
                text = f'objects of type "{holder}" can never be of type "{selection.on}".'
                self._bad(f"Fragment cannot be spread here as {text}", selection.offset)
        else:
            self._spread(selection, holder)

    def _spread(self, node: Spread, holder: str | None) -> None:
        fragment = self.document.fragments.get(node.name)
        if fragment is None:
            self._bad(f'Unknown fragment "{node.name}".', node.offset)
        elif self._composite(fragment.on) and not self._possible(holder, fragment.on):
            text = f'objects of type "{holder}" can never be of type "{fragment.on}".'
            self._bad(f'Fragment "{node.name}" cannot be spread here as {text}', node.offset)

    def _field(self, node: FieldNode, holder: TypeDefinition) -> None:
        definition = holder.fields.get(node.name)
        if definition is None:
            text = f'Cannot query field "{node.name}" on type "{holder.name}".'
            self._bad(text + self._hint(node.name, holder), node.offset)
            return
        for name in node.arguments:
            if name not in definition.args:
                text = f'Unknown argument "{name}" on field "{holder.name}.{node.name}".'
                self._bad(text + suggestion(name, definition.args), node.offset)
        for argument in definition.args.values():
            if argument.required and argument.name not in node.arguments:
                self._bad(
                    f'Field "{node.name}" argument "{argument.name}" of type "{argument.type}" is required, '
                    "but it was not provided.",
                    node.offset,
                )

    def _hint(self, name: str, holder: TypeDefinition) -> str:
        """A hint for an unknown field: a fragment, or a similar name."""
        if holder.kind != "INTERFACE":
            return suggestion(name, holder.fields) if holder.kind == "OBJECT" else ""
        having = [kind for kind in holder.possible if name in self.schema.types[kind].fields]
        shared: dict[str, int] = {}
        for kind in having:
            for interface in self.schema.types[kind].interfaces:
                if name in self.schema.types[interface].fields:
                    shared[interface] = shared.get(interface, 0) + 1
        kinds = sorted([*shared, *having], key=lambda kind: (-shared.get(kind, 0), kind))
        if kinds:
            return f" Did you mean to use an inline fragment on {one_of(kinds)}?"
        return suggestion(name, holder.fields)

    # -- fields of one name

    def _conflicts(self, operation: OperationDefinition) -> None:
        """Fields that share a key in the response must be equal."""
        waiting = [operation.selections]
        while waiting:
            first: dict[str, tuple[FieldNode, str | None]] = {}
            below: dict[str, list[Any]] = {}
            for node, on in self._flat(waiting.pop()):
                known, its = first.setdefault(node.key, (node, on))
                if node is not known and its == on:
                    self._conflict(known, node)
                if node.selections:
                    below.setdefault(node.key, []).extend(node.selections)
            waiting += below.values()

    def _flat(self, selections: list[Any]) -> Iterator[tuple[FieldNode, str | None]]:
        """The fields of a selection, fragments spread, each with the type that its fragment applies to."""
        stack: list[tuple[Any, str | None]] = [(selection, None) for selection in reversed(selections)]
        while stack:
            selection, on = stack.pop()
            if isinstance(selection, FieldNode):
                yield selection, on
                continue
            inner = self.document.fragments[selection.name] if isinstance(selection, Spread) else selection
            stack += [(s, inner.on or on) for s in reversed(inner.selections)]

    def _conflict(self, one: FieldNode, other: FieldNode) -> None:
        if one.name != other.name:
            reason = f'"{one.name}" and "{other.name}" are different fields'
        elif one.arguments != other.arguments:
            reason = "they have differing arguments"
        else:
            return
        text = "Use different aliases on the fields to fetch both if this was intentional."
        self._bad(f'Fields "{one.key}" conflict because {reason}. {text}', other.offset)

    # -- types

    def _known(self, name: str) -> str | None:
        return name if name in self.schema.types or name.startswith("__") else None

    def _composite(self, name: str) -> bool:
        return name.startswith("__") or (name in self.schema.types and self.schema.types[name].composite)

    def _possible(self, holder: str | None, on: str) -> bool:
        """Whether an object of one type may also be of another."""
        if holder is None or holder.startswith("__") or on.startswith("__") or holder == on:
            return True
        mine, theirs = self.schema.types[holder], self.schema.types[on]
        if not mine.composite:
            return True
        if mine.kind == theirs.kind == "INTERFACE" and holder in theirs.interfaces:
            return True
        return bool(_members(mine) & _members(theirs))

    # -- values

    def _values(
        self, given: Mapping[str, Any], wanted: Mapping[str, ArgumentDefinition], offset: int
    ) -> None:
        for name, value in given.items():
            argument = wanted.get(name)
            default = argument is not None and argument.default is not None
            self._value(value, argument.type if argument else None, default, offset)

    def _value(self, value: Any, type_text: str | None, has_default: bool, offset: int) -> None:
        """Check the variables in a value: each must be declared, and have the type of its position."""
        if isinstance(value, Variable):
            self._use(value.name, type_text, has_default, offset)
        elif isinstance(value, dict):
            definition = self.schema.types.get(base_type(type_text)) if type_text else None
            self._values(value, definition.inputs if definition else {}, offset)
        elif isinstance(value, list):
            bare = type_text.removesuffix("!") if type_text else ""
            for item in value:
                self._value(item, bare[1:-1] if bare.startswith("[") else None, False, offset)

    def _use(self, name: str, type_text: str | None, has_default: bool, offset: int) -> None:
        if self.operation is None:  # fragments are also walked within the operations that use them
            return
        variable = self.declared.get(name)
        if variable is None:
            suffix = f' by operation "{self.operation.name}"' if self.operation.name else ""
            self._bad(f'Variable "${name}" is not defined{suffix}.', offset)
            return
        self.used.add(name)
        if type_text is None:
            return
        expected = type_text
        if has_default or (variable.has_default and variable.default is not None):
            expected = expected.removesuffix("!")
        if not _compatible(variable.type, expected):
            text = f'Variable "${name}" of type "{variable.type}" used in position expecting type'
            self._bad(f'{text} "{type_text}".', offset)

    def _directives(self, directives: list[Directive]) -> None:
        for directive in directives:
            known = directive.name in {"include", "skip"}
            if not known:
                self._bad(f'Unknown directive "@{directive.name}".', directive.offset)
            elif "if" not in directive.arguments:
                text = f'Directive "@{directive.name}" argument "if" of type "Boolean!" is required'
                self._bad(f"{text}, but it was not provided.", directive.offset)
            self._values(directive.arguments, _IF if known else {}, directive.offset)


_IF = {"if": ArgumentDefinition("if", "Boolean!")}


def _members(definition: TypeDefinition) -> set[str]:
    return set(definition.possible) if definition.kind == "INTERFACE" else {definition.name}


def _compatible(given: str, expected: str) -> bool:
    """Whether a variable of a type may be used where another type is expected."""
    if expected.endswith("!") and not given.endswith("!"):
        return False
    given, expected = given.removesuffix("!"), expected.removesuffix("!")
    if given.startswith("[") and expected.startswith("["):
        return _compatible(given[1:-1], expected[1:-1])
    return given == expected


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
