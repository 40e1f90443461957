"""The code part of a key: a stage's function and what it refers to in the project.

Hashing the whole of ``ci/main.py`` would make each edit of one stage re-run
all. So the function's own source counts, with the functions, classes and
constants of the project that it names, followed through their own names.
What lies outside the project's folder is covered by the image, or is Rondel.
"""

from __future__ import annotations

import hashlib
import inspect
import types
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PLAIN = (str, bytes, int, float, bool, complex, type(None))


def code_parts(body: Callable[..., Any], root: Path) -> dict[str, str]:
    """Name to hash, for the function ``body`` and all that it refers to under ``root``.

    Empty for a body that Rondel made itself (``pipeline.dvc`` and the like):
    the command part says what it does.
    """
    found: dict[str, str] = {}
    queue: list[tuple[str, Any]] = [(body.__qualname__, body)]
    seen: set[tuple[str, int]] = set()
    while queue:
        name, value = queue.pop()
        if (name, id(value)) in seen:
            continue
        seen.add((name, id(value)))
        text = _text(value, root)
        if text is None:
            continue
        found[name] = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
        if isinstance(value, types.FunctionType):
            queue.extend(_references(value))
        elif inspect.isclass(value):
            for member in vars(value).values():
                function = getattr(member, "__func__", getattr(member, "fget", member))
                if isinstance(function, types.FunctionType):
                    queue.extend(_references(function))
    return found


def _text(value: Any, root: Path) -> str | None:
    """What stands for ``value`` in the key; None for what does not count."""
    if isinstance(value, PLAIN):
        return repr(value)
    if isinstance(value, list | tuple | dict | set | frozenset):
        return _literal(value)
    if isinstance(value, types.ModuleType):
        file = getattr(value, "__file__", None)
        return _read(file) if file and _inside(file, root) else None
    if isinstance(value, types.FunctionType) or inspect.isclass(value):
        try:
            file = inspect.getsourcefile(value)
            return inspect.getsource(value) if file and _inside(file, root) else None
        except (OSError, TypeError):
            return None
    return None


def _literal(value: Any) -> str | None:
    """``repr`` where it is the same in every process: collections of plain values only."""
    if isinstance(value, PLAIN):
        return repr(value)
    if isinstance(value, dict):
        pairs = [(_literal(key), _literal(each)) for key, each in value.items()]
        return None if any(None in pair for pair in pairs) else f"{{{pairs}}}"
    if isinstance(value, list | tuple | set | frozenset):
        items = [_literal(each) for each in value]
        if None in items:
            return None
        shown = sorted(map(str, items)) if isinstance(value, set | frozenset) else items
        return f"{type(value).__name__}{shown}"
    return None


def _references(function: types.FunctionType) -> Iterator[tuple[str, Any]]:
    prefix = function.__qualname__
    for name in sorted(_names(function.__code__)):
        if name in function.__globals__:
            yield name, function.__globals__[name]
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield f"{prefix}:{name}", cell.cell_contents
        except ValueError:
            continue
    for number, default in enumerate(function.__defaults__ or ()):
        yield f"{prefix}:default{number}", default
    for name, default in (function.__kwdefaults__ or {}).items():
        yield f"{prefix}:{name}", default


def _names(code: types.CodeType) -> set[str]:
    names = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names |= _names(constant)
    return names


def _inside(file: str, root: Path) -> bool:
    """Whether a file belongs to the project: under its folder, and not installed or Rondel's own."""
    path = Path(file).resolve()
    return (
        path.is_relative_to(root)
        and "site-packages" not in path.parts
        and not path.is_relative_to(Path(__file__).resolve().parents[1])
    )


def _read(file: str) -> str | None:
    try:
        return Path(file).read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return None
