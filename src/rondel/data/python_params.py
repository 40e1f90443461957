"""Parameters in a Python file, found as DVC finds them: in the source, without running it.

They are literals that are assigned to a name at the top level or in a class, or to
an attribute of ``self`` in ``__init__``, and the items of dicts, lists and tuples.
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any

from rondel.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Names = dict[str, "ast.expr | Names"]


def parse_python(text: str, path: str) -> dict[str, Any]:
    """The values of the assignments in ``text``. Raises ConfigurationError if it is not valid Python."""
    return _values(_names(_parse(text, path).body))


def python_line(text: str, path: str, key: str) -> int | None:
    """The line of a dotted key's value; None if there is none."""
    node = _node(_names(_parse(text, path).body), key)
    return node.lineno if isinstance(node, ast.expr) else None


def replace_python(text: str, path: str, overrides: Mapping[str, Any]) -> str:
    """Replace the values of those dotted keys that ``text`` has.

    Raises ConfigurationError for a value without a Python literal, and for a class.
    """
    names = _names(_parse(text, path).body)
    edits: list[tuple[int, int, bytes]] = []
    source = text.encode()
    starts = [0, *(index + 1 for index, byte in enumerate(source) if byte == 0x0A)]
    for key, value in overrides.items():
        node = _node(names, key)
        if isinstance(node, dict):
            raise ConfigurationError(
                f"{key!r} is a class", hint=f"set its attributes: {key}.NAME", place=path
            )
        if node is not None and node.end_lineno is not None and node.end_col_offset is not None:
            # ast counts columns in bytes.
            start = starts[node.lineno - 1] + node.col_offset
            end = starts[node.end_lineno - 1] + node.end_col_offset
            edits.append((start, end, _literal(key, value, node, path).encode()))
    for start, end, new in sorted(edits, reverse=True):
        source = source[:start] + new + source[end:]
    return source.decode()


def _parse(text: str, path: str) -> ast.Module:
    try:
        return ast.parse(text, filename=path)
    except SyntaxError as error:
        place = f"{path}:{error.lineno}" if error.lineno else path
        raise ConfigurationError("this is not valid Python", why=error.msg, place=place) from None
    except (ValueError, RecursionError, MemoryError) as error:
        why = str(error) or "it nests too deeply"
        raise ConfigurationError("the parameter file can't be read", why=why, place=path) from None


def _names(body: Iterable[ast.stmt], *, of_self: bool = False) -> Names:
    found: Names = {}
    for statement in body:
        match statement:
            case (
                ast.Assign(targets=[target], value=value)
                | ast.AnnAssign(target=target, value=ast.expr() as value)
            ):
                name = _name(target, of_self=of_self)
                if name is not None and _is_literal(value):
                    found[name] = value
            case ast.ClassDef(name=name, body=inner):
                found[name] = _names(inner)
            case ast.FunctionDef(name="__init__", body=inner):
                found |= _names(inner, of_self=True)
    return found


def _name(target: ast.expr, *, of_self: bool) -> str | None:
    match target:
        case ast.Name(id=name) if not of_self:
            return name
        case ast.Attribute(value=ast.Name(id="self"), attr=name):
            return name
    return None


def _is_literal(node: ast.expr) -> bool:
    try:
        ast.literal_eval(node)
    except (ValueError, TypeError, RecursionError, MemoryError):
        return False
    return True


def _values(names: Names) -> dict[str, Any]:
    return {
        name: _values(node) if isinstance(node, dict) else _plain(ast.literal_eval(node))
        for name, node in names.items()
    }


def _plain(value: Any) -> Any:
    """The value as in other parameter files and ``dvc.lock``: tuples and sets become lists."""
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, set):
        return sorted(map(_plain, value), key=repr)
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value


def _node(names: Names, key: str) -> ast.expr | Names | None:
    here: ast.expr | Names | None = names
    for part in key.split("."):
        if isinstance(here, dict):
            here = here.get(part)
        elif isinstance(here, ast.Dict):
            pairs = zip(here.keys, here.values, strict=True)
            here = next((value for name, value in reversed([*pairs]) if _is_constant(name, part)), None)
        elif isinstance(here, ast.List | ast.Tuple) and part.isdigit() and int(part) < len(here.elts):
            here = here.elts[int(part)]
        else:
            return None
    return here


def _is_constant(node: ast.expr | None, text: str) -> bool:
    return isinstance(node, ast.Constant) and node.value == text


def _literal(key: str, value: Any, node: ast.expr, path: str) -> str:
    if isinstance(value, list) and isinstance(node, ast.Tuple):
        value = tuple(value)
    if isinstance(value, list) and isinstance(node, ast.Set) and value:
        text = f"{{{', '.join(map(repr, value))}}}"
    else:
        text = repr(value)
    try:
        ast.literal_eval(text)
    except (ValueError, TypeError, SyntaxError):
        raise ConfigurationError(
            f"{key}: Python has no literal for {value}", why="DVC reads only literals", place=path
        ) from None
    return text
