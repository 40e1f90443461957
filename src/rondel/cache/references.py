"""What a value of the project stands on beside its own text, for the code part of a key.

A function imports modules in its body, a class inherits, a constant is an object of
the project's with values in it. A module is followed by what its text imports.
"""

from __future__ import annotations

import ast
import datetime as dt
import decimal
import fractions
import functools
import inspect
import pathlib
import re
import sys
import textwrap
import types
from typing import TYPE_CHECKING, Any

from rondel.pipeline.source import of_project

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PLAIN = (str, bytes, int, float, bool, complex, type(None))
TELLING = (
    pathlib.PurePath, decimal.Decimal, fractions.Fraction, dt.date, dt.time,
    dt.timedelta, range, re.Pattern,
)  # fmt: skip
"""Values whose ``repr`` is all of them, and the same in every process."""


def within(name: str, value: Any, root: Path) -> Iterator[tuple[str, Any]]:
    """The values that ``value`` holds, inherits from or wraps, each with a name."""
    if isinstance(value, dict):
        yield from ((f"{name}[{key!r}]", each) for key, each in value.items() if isinstance(key, PLAIN))
    elif isinstance(value, list | tuple):
        yield from ((f"{name}[{number}]", each) for number, each in enumerate(value))
    elif inspect.isclass(value):
        if is_own(value, root):
            yield from ((base.__qualname__, base) for base in value.__bases__)
            yield from ((f"{name}.{each}", held) for each, held in _constants(value))
    elif isinstance(value, functools.partial):
        yield from ((f"{name}.{each}", getattr(value, each)) for each in ("func", "args", "keywords"))
    elif isinstance(value, types.MethodType):
        yield from ((f"{name}.{each}", getattr(value, each)) for each in ("__func__", "__self__"))
    elif isinstance(value, types.SimpleNamespace) or is_own(type(value), root):
        yield type(value).__qualname__, type(value)
        yield from ((f"{name}.{each}", held) for each, held in sorted(_held(value).items()))
    elif isinstance(wrapped := inspect.getattr_static(value, "__wrapped__", None), types.FunctionType):
        yield f"{name}:wrapped", wrapped


def is_own(kind: type, root: Path) -> bool:
    """Whether a class is one of the project's."""
    file = getattr(sys.modules.get(kind.__module__), "__file__", None)
    return bool(file) and of_project(str(file), root)


def _constants(kind: type) -> Iterator[tuple[str, Any]]:
    for name, held in sorted(vars(kind).items()):
        if not name.startswith("__") and not callable(held):
            yield name, held


def _held(value: Any) -> dict[str, Any]:
    slots = [slot for kind in type(value).__mro__ for slot in getattr(kind, "__slots__", ())]
    return {
        **{slot: getattr(value, slot, None) for slot in slots if not slot.startswith("__")},
        **getattr(value, "__dict__", {}),
    }


def imported_files(text: str, file: str, package: str, root: Path) -> dict[str, str]:
    """The project's modules that the text of a file imports, wherever in it: name to file.

    ``package`` is the file's; its folder is where a script's modules lie.
    """
    try:
        tree = ast.parse(textwrap.dedent(text))
    except (SyntaxError, ValueError):
        return {}
    found: dict[str, str] = {}
    for name in _imported(tree, package):
        place = _module_file(name, pathlib.Path(file).parent)
        if place is not None and of_project(place, root):
            found[name] = place
    return found


def _imported(tree: ast.AST, package: str) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def _module_file(name: str, near: Path) -> str | None:
    """The file of a module, loaded or not yet; nothing is imported for that."""
    loaded = getattr(sys.modules.get(name), "__file__", None)
    if loaded:
        return str(loaded)
    parts = name.split(".")
    for folder in (*sys.path, str(near)):
        place = pathlib.Path(folder, *parts)
        for file in (place / "__init__.py", place.with_name(f"{place.name}.py")):
            if file.is_file():
                return str(file)
    return None
