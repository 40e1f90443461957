"""Executes a request: parse, validate, then walk the selections with one task per branch.

A straight chain of any length is walked in a loop; nothing here recurses with the query's
depth. A failing field ends only its own branch; sibling branches continue, as in Dagger. Then
``data`` is null, and ``errors`` contains the first error below each root field.
"""

from __future__ import annotations

import errno
import sys
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anyio.lowlevel
import anyio.to_thread

from rondel.engine.api import coercion
from rondel.engine.api.document import (
    Document,
    FieldNode,
    Inline,
    OperationDefinition,
    Spread,
    SyntaxFailure,
    Variable,
    location,
    parse,
)
from rondel.engine.api.introspection import Introspection
from rondel.engine.api.objects import ROOT, Obj
from rondel.engine.api.validation import validate
from rondel.engine.api.variables import BadVariable, variables_of
from rondel.engine.store.errors import translate
from rondel.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from anyio.abc import TaskGroup

    from rondel.engine.api.calls import Calls
    from rondel.engine.api.schema import Schema

Json = dict[str, Any]

_CALLERS = frozenset((errno.ENAMETOOLONG, errno.EFBIG, errno.EMLINK, errno.ELOOP))
"""Errors that the caller's arguments cause in the file system. Messages must not show the store's path."""


_LARGE = 16_384
"""A query of fewer characters is read at once, without a thread."""

_ALONE = ""
"""Represents the request itself among the root fields."""

_FULL = frozenset((errno.ENOSPC, errno.EDQUOT))
"""Errors that may occur anywhere, because everything that the engine writes is in its store."""


class Refused(Exception):
    """The request cannot be executed; ``errors`` says why. The response has status 422."""

    def __init__(self, errors: list[Json]) -> None:
        super().__init__()
        self.errors = errors


class _Failed(Exception):
    """A field's error; if ``alone``, the whole request is invalid."""

    def __init__(self, error: Json, *, alone: bool = False) -> None:
        super().__init__()
        self.error = error
        self.alone = alone


async def execute(
    calls: Calls, text: str, variables: Mapping[str, Any] | None = None, operation_name: str | None = None
) -> Json:
    """The GraphQL response to a request: ``data``, or ``errors`` and null data. Raises Refused."""
    request = (calls.schema, text, variables or {}, operation_name)
    if len(text) < _LARGE and not variables:
        document, operation, values = _prepare(*request)
    else:  # other requests go on
        document, operation, values = await anyio.to_thread.run_sync(_prepare, *request)
    return await _Execution(calls, document, values, text).run(operation)


def _prepare(
    schema: Schema, text: str, variables: Mapping[str, Any], operation_name: str | None
) -> tuple[Document, OperationDefinition, Mapping[str, Any]]:
    """The document, its operation and the variables' values. Raises Refused."""
    try:
        document = parse(text)
    except SyntaxFailure as failure:
        raise Refused([_refusal(text, failure.what, failure.offset, "GRAPHQL_PARSE_FAILED")]) from None
    invalid = validate(schema, document)
    if invalid and document.operations:
        raise Refused([_refusal(text, i.message, i.offset, "GRAPHQL_VALIDATION_FAILED") for i in invalid])
    operation = _choose(document, operation_name)
    try:
        return document, operation, variables_of(schema, operation, variables)
    except BadVariable as error:
        extensions = {"code": "GRAPHQL_VALIDATION_FAILED"}
        raise Refused(
            [{"message": error.what, "path": ["variable", *error.path], "extensions": extensions}]
        ) from None


def _refusal(text: str, message: str, offset: int, code: str) -> Json:
    return {"message": message, "locations": [location(text, offset)], "extensions": {"code": code}}


def _choose(document: Document, name: str | None) -> OperationDefinition:
    operations = document.operations
    if not operations:
        raise Refused(
            [{"message": "no operation provided", "extensions": {"code": "GRAPHQL_VALIDATION_FAILED"}}]
        )
    chosen = [o for o in operations if o.name == name] if name else operations if len(operations) == 1 else []
    extensions = {"code": "GRAPHQL_VALIDATION_FAILED"}
    if not chosen:
        raise Refused([{"message": f"operation {name or ''} not found", "extensions": extensions}])
    return chosen[0]


def _known(error: BaseException, store: Path) -> EngineError | None:
    """The engine's own error, alone or in a task group's exception group; None for a bug."""
    if isinstance(error, OSError) and error.errno in _CALLERS:
        return EngineError((error.strerror or str(error)).lower())
    if isinstance(error, ValueError) and "embedded null" in str(error):
        return EngineError("invalid argument: a path or name with a null character")
    if isinstance(error, OSError) and error.errno in _FULL:
        return translate(error, store)
    if not isinstance(error, BaseExceptionGroup):
        return error if isinstance(error, EngineError) else None
    return next((found for inner in error.exceptions if (found := _known(inner, store)) is not None), None)


def unexpected(error: Exception) -> EngineError:
    """What a client is told of a defect of the engine, which is printed here."""
    traceback.print_exception(error, file=sys.stderr)
    return EngineError(f"internal error of the embedded engine: {type(error).__name__}")


@dataclass(frozen=True, slots=True)
class _Branch:
    """The root field that a result belongs to, and the tasks that work on it."""

    root: str
    tasks: TaskGroup


class _Execution:
    def __init__(self, calls: Calls, document: Document, variables: Mapping[str, Any], text: str) -> None:
        self.calls = calls
        self.document = document
        self.variables = variables
        self.text = text
        self.errors: dict[str, Json] = {}
        self.introspection = Introspection(calls.schema, self.flatten)
        self.steps = 0

    async def _step(self) -> None:
        """Let other requests go on from time to time: most fields are answered without waiting."""
        self.steps += 1
        if self.steps % 100 == 0:
            await anyio.lowlevel.checkpoint()

    async def run(self, operation: OperationDefinition) -> Json:
        data: Json = {}
        async with anyio.create_task_group() as tasks:
            try:
                fields = self.flatten(operation.selections, ROOT.type)
                for key, nodes in fields.items():
                    tasks.start_soon(self._branch, _Branch(key, tasks), ROOT, key, nodes, data)
                    await self._step()
            except _Failed as failed:
                self.errors[_ALONE] = failed.error
        if _ALONE in self.errors:
            return {"errors": [self.errors[_ALONE]], "data": None}
        if self.errors:
            return {"errors": list(self.errors.values()), "data": None}
        return {"data": data}

    async def _branch(self, branch: _Branch, obj: Obj, key: str, nodes: list[FieldNode], out: Json) -> None:
        try:
            below = await self._field(branch, obj, key, nodes, out)
            while below is not None:
                below = await self._object(branch, *below)
        except _Failed as failed:
            self.errors.setdefault(_ALONE if failed.alone else branch.root, failed.error)
            if failed.alone:
                branch.tasks.cancel_scope.cancel()

    async def _object(
        self, branch: _Branch, obj: Obj, selections: list[Any], out: Json
    ) -> tuple[Obj, list[Any], Json] | None:
        """Fill in an object's fields. Continues along a straight chain until it branches or ends."""
        while True:
            fields = self.flatten(selections, obj.type)
            if not fields:
                return None
            first, *others = fields.items()
            for key, nodes in others:
                out[key] = None
                branch.tasks.start_soon(self._branch, branch, obj, key, nodes, out)
                await self._step()
            below = await self._field(branch, obj, *first, out)
            if below is None:
                return None
            obj, selections, out = below

    async def _field(
        self, branch: _Branch, obj: Obj, key: str, nodes: list[FieldNode], out: Json
    ) -> tuple[Obj, list[Any], Json] | None:
        """Evaluate one field; returns what to continue with if it is an object."""
        node = nodes[0]
        value = await self._answer(obj, key, nodes)
        selections = [s for n in nodes for s in n.selections or ()]
        if isinstance(value, Obj):
            self._need_selections(selections, obj, key, node, value.type)
            below: Json = {}
            out[key] = below
            return value, selections, below
        if isinstance(value, list) and value and isinstance(value[0], Obj):
            self._need_selections(selections, obj, key, node, value[0].type)
            rows: list[Json] = [{} for _ in value]
            out[key] = rows
            for item, row in zip(value, rows, strict=True):
                await self._object(branch, item, selections, row)
                await self._step()
            return None
        out[key] = value
        return None

    def _need_selections(self, selections: list[Any], obj: Obj, key: str, node: FieldNode, kind: str) -> None:
        if not selections:
            text = f'field "{node.name}" of type "{kind}" must have a selection of subfields'
            raise _Failed(self._error(EngineError(text), obj, key))

    async def _answer(self, obj: Obj, key: str, nodes: list[FieldNode]) -> Any:
        node = nodes[0]
        try:
            if node.name == "__typename":
                return obj.type
            if node.name == "id":
                return self.calls.hand_out(obj)
            if node.name in {"__schema", "__type"}:
                return self._introspect(nodes)
            definition = self.calls.schema.types[obj.type].fields[node.name]
            values = coercion.arguments(self.calls.schema, definition.args, node.arguments, self.variables)
            return await self.calls.invoke(obj, definition, values)
        except _Failed:
            raise  # checked already: introspection merges its selections itself
        except coercion.BadArgument as error:
            raise _Failed({"message": f'parse field "{node.name}": {error.what}'}, alone=True) from None
        except EngineError as error:
            raise _Failed(self._error(error, obj, key)) from None
        except Exception as error:  # noqa: BLE001 - one bad request must not end the engine
            known = _known(error, self.calls.session.store.root)
            if known is not None:
                raise _Failed(self._error(known, obj, key)) from None
            raise _Failed(self._error(unexpected(error), obj, key)) from None

    def _error(self, error: EngineError, obj: Obj, key: str) -> Json:
        answer: Json = {"message": str(error), "path": [*obj.call.path(), key]}
        extensions = getattr(error, "extensions", None)
        if extensions:
            answer["extensions"] = extensions
        return answer

    def _introspect(self, nodes: list[FieldNode]) -> Any:
        selections = [s for n in nodes for s in n.selections or ()]
        if nodes[0].name == "__schema":
            return self.introspection.answer_schema(selections)
        name = nodes[0].arguments.get("name")
        name = self.variables.get(name.name) if isinstance(name, Variable) else name
        return self.introspection.answer_type(str(name), selections)

    # -- selections

    def flatten(self, selections: list[Any], type_name: str) -> dict[str, list[FieldNode]]:
        """The fields that apply to a type, by their key in the response; fragments are spread."""
        fields: dict[str, list[FieldNode]] = {}
        stack = list(reversed(selections))
        while stack:
            selection = stack.pop()
            if selection.directives and not self._included(selection):
                continue
            if isinstance(selection, FieldNode):
                self._merge(fields, selection)
            elif isinstance(selection, Inline):
                if self._applies(selection.on, type_name):
                    stack.extend(reversed(selection.selections))
            elif isinstance(selection, Spread):
                fragment = self.document.fragments[selection.name]
                if self._applies(fragment.on, type_name):
                    stack.extend(reversed(fragment.selections))
        return fields

    def _applies(self, condition: str | None, type_name: str) -> bool:
        if type_name.startswith("__"):
            return condition in {None, type_name}
        return self.calls.schema.applies(condition, type_name)

    def _merge(self, fields: dict[str, list[FieldNode]], node: FieldNode) -> None:
        known = fields.setdefault(node.key, [])
        if known and (known[0].name != node.name or known[0].arguments != node.arguments):
            text = (
                f'Fields "{node.key}" conflict because they have differing arguments. Use different '
                "aliases on the fields to fetch both if this was intentional."
            )
            raise _Failed(_refusal(self.text, text, node.offset, "GRAPHQL_VALIDATION_FAILED"), alone=True)
        known.append(node)

    def _included(self, selection: Any) -> bool:
        for directive in selection.directives:
            value = directive.arguments["if"]
            truth = self.variables.get(value.name) if isinstance(value, Variable) else value
            if bool(truth) != (directive.name == "include"):
                return False
        return True
