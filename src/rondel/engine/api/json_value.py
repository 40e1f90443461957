"""JSON values."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rondel.engine.api.paths import file_entry
from rondel.engine.api.registry import Context, field, register_type
from rondel.engine.values.gojson import dumps, loads
from rondel.errors import EngineError

if TYPE_CHECKING:
    from rondel.engine.values import File

_INTEGER = re.compile(r"-?\d+", re.ASCII)


@dataclass(frozen=True, slots=True)
class JSONValue:
    """A JSON value, kept as the text that was given."""

    text: str = "null"

    @property
    def value(self) -> Any:
        """The value itself."""
        return loads(self.text)

    @classmethod
    def of(cls, value: Any) -> JSONValue:
        """The JSON value of plain data."""
        return cls(dumps(value))


register_type(JSONValue, "JSONValue")


@field("Query", "json")
async def json_root(ctx: Context, self: None) -> JSONValue:
    """A JSON value, initially null."""
    return JSONValue()


@field("File", "asJSON")
async def as_json(ctx: Context, self: File) -> JSONValue:
    """The JSON value of a file."""
    view, entry = await file_entry(ctx, self)
    text = view.read(entry.path).decode("utf-8", "replace")
    try:
        loads(text)
    except EngineError:
        raise EngineError("invalid JSON") from None
    return JSONValue(text)


@field("JSONValue", "withContents")
async def with_contents(ctx: Context, self: JSONValue, *, contents: str) -> JSONValue:
    """The JSON value of a text."""
    if not contents:
        raise EngineError('missing required argument: "contents"')
    try:
        loads(contents)
    except EngineError as error:
        raise EngineError(f"invalid JSON: {error}") from None
    return JSONValue(contents)


@field("JSONValue", "contents")
async def contents(ctx: Context, self: JSONValue, *, pretty: bool, indent: str) -> str:
    """The value as text: as given, or indented and sorted."""
    return dumps(self.value, indent=indent) if pretty else self.text


@field("JSONValue", "fields")
async def fields(ctx: Context, self: JSONValue) -> list[str]:
    """The names of an object's members."""
    value = self.value
    if not isinstance(value, dict):
        raise EngineError("value is not an object")
    return list(value)


@field("JSONValue", "field")
async def member(ctx: Context, self: JSONValue, *, path: list[str]) -> JSONValue:
    """A member by its path of names."""
    value = self.value
    for name in path:
        if not isinstance(value, dict):
            raise EngineError(f"can't lookup field '{name}' in non-object value")
        if name not in value:
            raise EngineError(f"no such field: '{name}'")
        value = value[name]
    return JSONValue.of(value)


@field("JSONValue", "withField", value=JSONValue)
async def with_field(ctx: Context, self: JSONValue, *, path: list[str], value: JSONValue) -> JSONValue:
    """Set a member; creates objects on the way."""
    root = self.value if isinstance(self.value, dict) else {}
    if not path:
        return JSONValue.of(root)
    here = root
    for name in path[:-1]:
        if not isinstance(here.get(name), dict):
            here[name] = {}
        here = here[name]
    here[path[-1]] = value.value
    return JSONValue.of(root)


@field("JSONValue", "asArray")
async def as_array(ctx: Context, self: JSONValue) -> list[JSONValue]:
    """The elements of an array."""
    value = self.value
    if not isinstance(value, list):
        raise EngineError("value is not an array")
    return [JSONValue.of(item) for item in value]


def _refuse(value: JSONValue, wanted: str) -> EngineError:
    kinds = {dict: "object", list: "array", str: "string", bool: "bool"}
    kind = kinds.get(type(value.value), "number")
    if (kind, wanted) == ("number", "int"):
        kind = f"number {value.text.strip()}"
    return EngineError(f"json: cannot unmarshal {kind} into Go value of type {wanted}")


@field("JSONValue", "asString")
async def as_string(ctx: Context, self: JSONValue) -> str:
    """The value as a string; null is an empty one."""
    value = self.value
    if not isinstance(value, str | None):
        raise _refuse(self, "string")
    return value or ""


@field("JSONValue", "asInteger")
async def as_integer(ctx: Context, self: JSONValue) -> int:
    """The value as an integer; null is zero."""
    if self.value is None:
        return 0
    if not _INTEGER.fullmatch(self.text.strip()) or not -(2**63) <= int(self.text) < 2**63:
        raise _refuse(self, "int")
    return int(self.text)


@field("JSONValue", "asBoolean")
async def as_boolean(ctx: Context, self: JSONValue) -> bool:
    """The value as a boolean."""
    if not isinstance(self.value, bool):
        raise EngineError("value is not a boolean")
    return self.value


@field("JSONValue", "newString", "newInteger", "newBoolean")
async def new(ctx: Context, self: JSONValue, *, value: Any) -> JSONValue:
    """A new value."""
    return JSONValue.of(value)
