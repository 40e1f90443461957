"""What a value of the project refers to, for the code part of a key.

Functions import modules in their bodies, classes inherit, constants may be
objects of the project that hold further values. Modules are followed through
the imports in their text.
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

from rondel.pipeline.source import is_project_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PRIMITIVES = (str, bytes, int, float, bool, complex, type(None))
REPR_TYPES = (
    pathlib.PurePath, decimal.Decimal, fractions.Fraction, dt.date, dt.time,
    dt.timedelta, range, re.Pattern,
)  # fmt: skip
"""Types whose ``repr`` is complete, and the same in every process."""


def referenced_values(name: str, value: Any, root: Path) -> Iterator[tuple[str, Any]]:
    """The values that ``value`` contains, inherits from or wraps, each with a name."""
    if isinstance(value, dict):
        yield from ((f"{name}[{key!r}]", each) for key, each in value.items() if isinstance(key, PRIMITIVES))
    elif isinstance(value, list | tuple):
        yield from ((f"{name}[{number}]", each) for number, each in enumerate(value))
    elif inspect.isclass(value):
        if is_own(value, root):
            yield from ((base.__qualname__, base) for base in value.__bases__)
            yield from ((f"{name}.{each}", attribute) for each, attribute in _constants(value))
    elif isinstance(value, functools.partial):
        yield from ((f"{name}.{each}", getattr(value, each)) for each in ("func", "args", "keywords"))
    elif isinstance(value, types.MethodType):
        yield from ((f"{name}.{each}", getattr(value, each)) for each in ("__func__", "__self__"))
    elif isinstance(value, types.SimpleNamespace) or is_own(type(value), root):
        yield type(value).__qualname__, type(value)
        yield from ((f"{name}.{each}", attribute) for each, attribute in sorted(_attributes(value).items()))
    elif isinstance(wrapped := inspect.getattr_static(value, "__wrapped__", None), types.FunctionType):
        yield f"{name}:wrapped", wrapped


def is_own(kind: type, root: Path) -> bool:
    """Whether a class is defined in the project."""
    file = getattr(sys.modules.get(kind.__module__), "__file__", None)
    return bool(file) and is_project_file(str(file), root)


def _constants(kind: type) -> Iterator[tuple[str, Any]]:
    for name, attribute in sorted(vars(kind).items()):
        if not name.startswith("__") and not callable(attribute):
            yield name, attribute


def _attributes(value: Any) -> dict[str, Any]:
    slots = [slot for kind in type(value).__mro__ for slot in getattr(kind, "__slots__", ())]
    return {
        **{slot: getattr(value, slot, None) for slot in slots if not slot.startswith("__")},
        **getattr(value, "__dict__", {}),
    }


def imported_files(text: str, file: str, package: str, root: Path) -> dict[str, str]:
    """The files of the project's modules that a file imports anywhere in its text, by module name.

    ``package`` is the file's package. Modules are also searched beside the file, as for a script.
    """
    try:
        tree = ast.parse(textwrap.dedent(text))
    except (SyntaxError, ValueError):
        return {}
    found: dict[str, str] = {}
    for name in _imported(tree, package):
        path = _module_file(name, pathlib.Path(file).parent)
        if path is not None and is_project_file(path, root):
            found[name] = path
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
    """The file of a module, without importing it."""
    loaded = getattr(sys.modules.get(name), "__file__", None)
    if loaded:
        return str(loaded)
    parts = name.split(".")
    for folder in (*sys.path, str(near)):
        path = pathlib.Path(folder, *parts)
        for file in (path / "__init__.py", path.with_name(f"{path.name}.py")):
            if file.is_file():
                return str(file)
    return None
