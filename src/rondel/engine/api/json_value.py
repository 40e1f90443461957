"""JSON values."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rondel.engine.api.places import file_entry
from rondel.engine.api.registry import Context, field, register_type
from rondel.errors import EngineError

if TYPE_CHECKING:
    from rondel.engine.values import File


@dataclass(frozen=True, slots=True)
class JSONValue:
    """A JSON value as compact text."""

    text: str = "null"

    @property
    def value(self) -> Any:
        """The value itself."""
        return json.loads(self.text)

    @classmethod
    def of(cls, value: Any, *, sort: bool = True) -> JSONValue:
        """The JSON value of plain data; members are sorted unless they were given as a text."""
        return cls(json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=sort))


register_type(JSONValue, "JSONValue")


def _parsed(text: str) -> JSONValue:
    try:
        return JSONValue.of(json.loads(text), sort=False)
    except (ValueError, RecursionError) as error:
        raise EngineError(f"invalid JSON: {error}") from None


@field("Query", "json")
async def json_root(ctx: Context, self: None) -> JSONValue:
    """A JSON value, null to begin with."""
    return JSONValue()


@field("File", "asJSON")
async def as_json(ctx: Context, self: File) -> JSONValue:
    """The JSON value of a file."""
    view, entry = await file_entry(ctx, self)
    return _parsed(view.read(entry.path).decode("utf-8", "replace"))


@field("JSONValue", "withContents")
async def with_contents(ctx: Context, self: JSONValue, *, contents: str) -> JSONValue:
    """The JSON value of a text."""
    return _parsed(contents)


@field("JSONValue", "contents")
async def contents(ctx: Context, self: JSONValue, *, pretty: bool, indent: str) -> str:
    """The value as text."""
    return json.dumps(self.value, ensure_ascii=False, indent=indent, sort_keys=True) if pretty else self.text


@field("JSONValue", "fields")
async def fields(ctx: Context, self: JSONValue) -> list[str]:
    """The names of an object's members."""
    value = self.value
    if not isinstance(value, dict):
        raise EngineError("value is not an object")
    return list(value)


@field("JSONValue", "field")
async def member(ctx: Context, self: JSONValue, *, path: list[str]) -> JSONValue:
    """A member, followed by name."""
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
    """With a member set; objects on the way are made."""
    root = self.value if isinstance(self.value, dict) else {}
    if not path:
        return value
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


def _as(value: JSONValue, kind: type, words: str) -> Any:
    found = value.value
    if type(found) is not kind:
        raise EngineError(f"value is not {words}")
    return found


@field("JSONValue", "asString")
async def as_string(ctx: Context, self: JSONValue) -> str:
    """The value as a text."""
    return str(_as(self, str, "a string"))


@field("JSONValue", "asInteger")
async def as_integer(ctx: Context, self: JSONValue) -> int:
    """The value as a whole number."""
    return int(_as(self, int, "an integer"))


@field("JSONValue", "asBoolean")
async def as_boolean(ctx: Context, self: JSONValue) -> bool:
    """The value as a truth value."""
    return bool(_as(self, bool, "a boolean"))


@field("JSONValue", "newString", "newInteger", "newBoolean")
async def new(ctx: Context, self: JSONValue, *, value: Any) -> JSONValue:
    """A new value."""
    return JSONValue.of(value)
