"""The values of an operation's variables, checked against their declared types."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rondel.engine.api.document import EnumValue, OperationDefinition
from rondel.engine.api.schema import Schema, base_type
from rondel.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Mapping


class BadVariable(EngineError):
    """A variable has the wrong type; ``path`` leads from its name to the invalid part.

    The message never repeats the value, which may be a secret.
    """

    def __init__(self, what: str, path: tuple[str | int, ...]) -> None:
        super().__init__(what)
        self.path = path


def variables_of(schema: Schema, operation: OperationDefinition, given: Mapping[str, Any]) -> dict[str, Any]:
    """The variables of an operation: given, or their defaults. Raises BadVariable."""
    values: dict[str, Any] = {}
    for variable in operation.variables:
        path = (variable.name,)
        if variable.name in given:
            value = _marked(schema, variable.type, given[variable.name])
        elif variable.has_default:
            value = variable.default
        elif variable.type.endswith("!"):
            raise BadVariable("must be defined", path)
        else:
            continue
        _check(schema, variable.type, value, path)
        values[variable.name] = value
    return values


def _marked(schema: Schema, type_text: str, value: Any) -> Any:
    """Mark enum values: JSON has only strings for them."""
    if isinstance(value, list):
        return [_marked(schema, type_text, item) for item in value]
    if isinstance(value, str) and schema.types[base_type(type_text)].kind == "ENUM":
        return EnumValue(value)
    return value


def _check(schema: Schema, type_text: str, value: Any, path: tuple[str | int, ...]) -> None:
    if value is None:
        if type_text.endswith("!"):
            raise BadVariable("cannot be null", path)
        return
    bare = type_text.removesuffix("!")
    if bare.startswith("["):
        for index, item in enumerate(value if isinstance(value, list) else [value]):
            _check(schema, bare[1:-1], item, (*path, index))
        return
    definition = schema.types[bare]
    if definition.kind == "ENUM":
        if not isinstance(value, str):
            raise BadVariable("enums must be ints or strings", path)
        if value not in definition.values:
            raise BadVariable(f"{value} is not a valid {bare}", path)
    elif definition.kind == "INPUT_OBJECT":
        _check_object(schema, bare, value, path)
    elif not _fits(bare, value):
        fraction = bare == "Int" and isinstance(value, float)
        raise BadVariable(f"cannot use {'value 0' if fraction else _kind(value)} as {bare}", path)


def _check_object(schema: Schema, bare: str, value: Any, path: tuple[str | int, ...]) -> None:
    if not isinstance(value, dict):
        raise BadVariable(f"must be a {bare}, not a {_kind(value)}", path)
    fields = schema.types[bare].inputs
    for name in value:
        if name not in fields:
            raise BadVariable("unknown field", (*path, name))
    for name, field in fields.items():
        if name in value:
            _check(schema, field.type, value[name], (*path, name))
        elif field.required:
            raise BadVariable("must be defined", (*path, name))


def _fits(bare: str, value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    match bare:
        case "Int":
            return isinstance(value, int) and number
        case "Float":
            return number
        case "Boolean":
            return isinstance(value, bool)
        case "String" | "ID":  # Go keeps a number as a text until it is used: coercion refuses it
            return isinstance(value, str) or number
        case _:
            return True


def _kind(value: Any) -> str:
    """Go's name for the type; numbers are texts there until they are used."""
    return {bool: "bool", list: "slice", dict: "map"}.get(type(value), "string")
