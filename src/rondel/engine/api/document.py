"""Parses GraphQL queries (October 2021 specification, section 2; executable documents only).

Written by hand for two reasons: selections may be nested more than a thousand levels deep,
where recursive parsers fail, and the one library that could do it takes longer to import than a
whole connection may. This parser keeps the nesting on an explicit stack.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any, NoReturn, TypeAlias

from rondel.errors import EngineError
from rondel.files.text import whole

MAX_DEPTH = 5_000
MAX_VALUE_DEPTH = 100
_TOKEN = re.compile(
    r"""(?P<skip>[\s,\ufeff]+|\#[^\n\r]*)
      |(?P<name>[_A-Za-z][_0-9A-Za-z]*)
      |(?P<punct>[!$&()\[\]{}:=@|]|\.\.\.)
      |(?P<block>\"\"\"(?:[^"\\]++|\\\"\"\"|\\|(?!\"\"\")")*+\"\"\")
      |(?P<string>"(?:[^"\\\n\r]++|\\.)*+")
      |(?P<float>-?(?:0|[1-9]\d*)(?:\.\d+(?:[eE][+-]?\d+)?|[eE][+-]?\d+))
      |(?P<int>-?(?:0|[1-9]\d*))
      |(?P<bad>[\s\S])""",
    re.VERBOSE | re.ASCII,
)
_DEFINITIONS = {"query", "mutation", "subscription", "fragment"}
_WIDE_ESCAPE = re.compile(r"(?<!\\)((?:\\\\)*)\\u\{([0-9A-Fa-f]{1,6})\}")


class SyntaxFailure(EngineError):
    """A query that is not GraphQL; ``offset`` is the position of the error."""

    def __init__(self, message: str, offset: int = 0) -> None:
        super().__init__(message)
        self.offset = offset


class EnumValue(str):
    """A bare word used as a value."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Variable:
    """A use of a variable."""

    name: str


@dataclass(slots=True, eq=False)
class Directive:
    """A directive such as ``@include(if: $x)``."""

    name: str
    arguments: dict[str, Any]
    offset: int


@dataclass(slots=True, eq=False)
class FieldNode:
    """A field of a selection; ``selections`` is None if it has none."""

    name: str
    key: str
    arguments: dict[str, Any]
    directives: list[Directive]
    selections: list[Selection] | None
    offset: int


@dataclass(slots=True, eq=False)
class Spread:
    """A use of a named fragment."""

    name: str
    directives: list[Directive]
    offset: int


@dataclass(slots=True, eq=False)
class Inline:
    """An inline fragment, with or without a type."""

    on: str | None
    directives: list[Directive]
    selections: list[Selection]
    offset: int


Selection: TypeAlias = FieldNode | Spread | Inline


@dataclass(frozen=True, slots=True)
class VariableDefinition:
    """A declared variable; ``type`` as written, for instance ``[String!]!``."""

    name: str
    type: str
    default: Any
    has_default: bool
    offset: int = 0


@dataclass(slots=True, eq=False)
class OperationDefinition:
    """A query (or another operation, which is refused later)."""

    kind: str
    name: str | None
    variables: list[VariableDefinition]
    directives: list[Directive]
    selections: list[Selection]
    offset: int = 0


@dataclass(slots=True, eq=False)
class Fragment:
    """A named fragment."""

    name: str
    on: str
    selections: list[Selection]
    offset: int


@dataclass(slots=True)
class Document:
    """All operations and fragments of a request; ``duplicates`` lists names that were defined twice."""

    operations: list[OperationDefinition] = field(default_factory=list)
    fragments: dict[str, Fragment] = field(default_factory=dict)
    duplicates: list[tuple[str, int]] = field(default_factory=list)


def parse(text: str) -> Document:
    """Parse a query. Raises SyntaxFailure."""
    return _Parser(text).document()


def location(text: str, offset: int) -> dict[str, int]:
    """Line and column, from 1, of an offset."""
    before = text[:offset]
    return {"line": before.count("\n") + 1, "column": offset - (before.rfind("\n") + 1) + 1}


class _Parser:
    def __init__(self, text: str) -> None:
        self.tokens = [(m.lastgroup, m[0], m.start()) for m in _TOKEN.finditer(text) if m.lastgroup != "skip"]
        self.tokens.append((None, "<EOF>", len(text)))
        self.at = 0
        self.duplicates: list[tuple[str, int]] = []

    # -- tokens

    def peek(self) -> str:
        """The next token's text if it may be punctuation or a name; strings keep their quotes."""
        return self.tokens[self.at][1]

    def fail(self, expected: str = "") -> NoReturn:
        kind, text, offset = self.tokens[self.at]
        shown = text if kind in {None, "punct"} else f'{str(kind).capitalize()} "{text}"'
        if kind == "bad":
            shown = "<Invalid>"
        # A string may be a secret: the message repeats only punctuation and names.
        shown = shown if kind in {None, "punct", "name", "bad"} else str(kind).capitalize()
        message = f"Expected {expected}, found {shown}" if expected else f"Unexpected {shown}"
        raise SyntaxFailure(message, offset)

    def take(self, text: str) -> bool:
        kind, found, _ = self.tokens[self.at]
        if kind == "punct" and found == text:
            self.at += 1
            return True
        return False

    def expect(self, text: str) -> None:
        if not self.take(text):
            self.fail(text)

    def name(self) -> str:
        kind, text, _ = self.tokens[self.at]
        if kind != "name":
            self.fail("Name")
        self.at += 1
        return text

    # -- definitions

    def document(self) -> Document:
        document = Document(duplicates=self.duplicates)
        if self.tokens[0][0] is None:
            return document
        while self.tokens[self.at][0] is not None:
            offset = self.tokens[self.at][2]
            if self.peek() == "{":
                document.operations.append(
                    OperationDefinition("query", None, [], [], self.selections(), offset)
                )
                continue
            word = self.peek()
            if self.tokens[self.at][0] != "name" or word not in _DEFINITIONS:
                self.fail()
            self.at += 1
            if word == "fragment":
                fragment = self.fragment(offset)
                if fragment.name in document.fragments:
                    self.twice("fragment", fragment.name, offset)
                document.fragments.setdefault(fragment.name, fragment)
            else:
                document.operations.append(self.operation(word, offset))
        return document

    def twice(self, what: str, name: str, offset: int) -> None:
        """Record a name that may occur only once."""
        self.duplicates.append((f'There can be only one {what} named "{name}".', offset))

    def operation(self, kind: str, offset: int) -> OperationDefinition:
        name = self.name() if self.tokens[self.at][0] == "name" else None
        variables: list[VariableDefinition] = []
        if self.take("("):
            while not variables or not self.take(")"):
                self.not_empty(")")
                variables.append(self.variable_definition())
        return OperationDefinition(kind, name, variables, self.directives(), self.selections(), offset)

    def not_empty(self, closing: str) -> None:
        """Fail if the end comes where the grammar requires an item."""
        if self.peek() == closing:
            raise SyntaxFailure(f"expected at least one definition, found {closing}", self.tokens[self.at][2])

    def variable_definition(self) -> VariableDefinition:
        offset = self.tokens[self.at][2]
        self.expect("$")
        name = self.name()
        self.expect(":")
        kind = self.type()
        has_default = self.take("=")
        default = self.value() if has_default else None
        self.directives()
        return VariableDefinition(name, kind, default, has_default, offset)

    def type(self, depth: int = 0) -> str:
        if depth > MAX_VALUE_DEPTH:
            self.fail()
        if self.take("["):
            inner = self.type(depth + 1)
            self.expect("]")
            text = f"[{inner}]"
        else:
            text = self.name()
        return text + "!" if self.take("!") else text

    def fragment(self, offset: int) -> Fragment:
        name = self.name()
        if name == "on":
            self.at -= 1
            self.fail()
        if self.name() != "on":
            self.at -= 1
            self.fail('"on"')
        on = self.name()
        self.directives()
        return Fragment(name, on, self.selections(), offset)

    # -- selections, on a stack

    def selections(self) -> list[Selection]:
        self.expect("{")
        top: list[Selection] = []
        stack = [top]
        while stack:
            if not stack[-1]:
                self.not_empty("}")
            if self.take("}"):
                stack.pop()
                continue
            opened = self.selection(stack[-1])
            if opened is not None:
                stack.append(opened)
                if len(stack) > MAX_DEPTH:
                    raise SyntaxFailure(
                        f"the query is nested more than {MAX_DEPTH} levels deep", self.tokens[self.at][2]
                    )
        return top

    def selection(self, into: list[Selection]) -> list[Selection] | None:
        """Parse one selection; returns the list to continue with if it opens a nested one."""
        offset = self.tokens[self.at][2]
        if self.take("..."):
            return self.spread(into, self.tokens[self.at][2])
        name = key = self.name()
        if self.take(":"):
            name = self.name()
        arguments = self.arguments()
        node = FieldNode(name, key, arguments, self.directives(), None, offset)
        into.append(node)
        if self.take("{"):
            node.selections = []
            return node.selections
        return None

    def spread(self, into: list[Selection], offset: int) -> list[Selection] | None:
        kind, text, _ = self.tokens[self.at]
        if kind == "name" and text != "on":
            self.at += 1
            into.append(Spread(text, self.directives(), offset))
            return None
        on = None
        if kind == "name":
            self.at += 1
            on = self.name()
        inline = Inline(on, self.directives(), [], offset)
        self.expect("{")
        into.append(inline)
        return inline.selections

    def directives(self) -> list[Directive]:
        found: list[Directive] = []
        while self.peek() == "@" and self.take("@"):
            offset = self.tokens[self.at][2]
            found.append(Directive(self.name(), self.arguments(), offset))
        return found

    def arguments(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if not self.take("("):
            return found
        self.not_empty(")")
        while not self.take(")"):
            offset = self.tokens[self.at][2]
            name = self.name()
            self.expect(":")
            if name in found:
                self.twice("argument", name, offset)
            found[name] = self.value()
        return found

    # -- values

    def value(self, depth: int = 0) -> Any:
        kind, text, offset = self.tokens[self.at]
        if depth > MAX_VALUE_DEPTH:
            raise SyntaxFailure(f"a value is nested more than {MAX_VALUE_DEPTH} levels deep", offset)
        self.at += 1
        if kind == "string":
            return _string(text, offset)
        if kind == "name":
            return {"true": True, "false": False, "null": None}.get(text, EnumValue(text))
        if kind == "int":
            return int(text) if len(text) < 4_000 else float(text)
        if kind == "block":
            return _block_string(text)
        if kind == "float":
            return float(text)
        if kind == "punct":
            return self.compound(text, depth)
        self.at -= 1
        return self.fail()

    def compound(self, text: str, depth: int) -> Any:
        if text == "$":
            return Variable(self.name())
        if text == "[":
            items: list[Any] = []
            while not self.take("]"):
                items.append(self.value(depth + 1))
            return items
        if text == "{":
            members: dict[str, Any] = {}
            while not self.take("}"):
                offset = self.tokens[self.at][2]
                name = self.name()
                self.expect(":")
                if name in members:
                    self.twice("input field", name, offset)
                members[name] = self.value(depth + 1)
            return members
        self.at -= 1
        return self.fail()


def _string(text: str, offset: int) -> str:
    if "\\" not in text:
        return whole(text[1:-1])
    wide = _WIDE_ESCAPE.sub(lambda m: m[1] + chr(min(int(m[2], 16), 0x10FFFF)), text)
    try:
        value: str = json.loads(wide, strict=False)
    except ValueError:
        raise SyntaxFailure("Unexpected <Invalid>", offset) from None
    return whole(value)


def _block_string(text: str) -> str:
    """The value of a block string: common indentation and blank first and last lines removed."""
    lines = re.split(r"\r\n|\n|\r", text[3:-3].replace('\\"""', '"""'))
    indents = [len(line) - len(line.lstrip(" \t")) for line in lines[1:] if line.strip(" \t")]
    common = min(indents, default=0)
    lines = [lines[0], *(line[common:] for line in lines[1:])]
    filled = [number for number, line in enumerate(lines) if line.strip(" \t")]
    return whole("\n".join(lines[filled[0] : filled[-1] + 1])) if filled else ""
