"""The code part of a key: a stage's function and what it refers to in the project.

Hashing the whole of ``ci/main.py`` would make each edit of one stage re-run
all. So the function's own source counts, with the functions, classes and
constants of the project that it names, followed through their own names
(see :mod:`rondel.cache.references`).
What lies outside the project's folder is covered by the image, or is Rondel.

What counts is what this process has loaded. ``rondel.pipeline.source`` keeps its
text, so that a file that is edited meanwhile changes no key.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import linecache
import sys
import types
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rondel.cache.references import PLAIN, TELLING, imported_files, within
from rondel.pipeline.source import of_project

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping


def code_parts(body: Callable[..., Any], root: Path) -> dict[str, str]:
    """Name to hash, for the function ``body`` and all that it refers to under ``root``.

    Names of other modules than the body's have the module's before them. Empty
    for a body that Rondel made itself (``pipeline.dvc`` and the like): the
    command part says what it does.
    """
    return dict(_code_parts(body, root.resolve()))


@functools.cache
def _code_parts(body: Callable[..., Any], root: Path) -> dict[str, str]:
    # Once for each function: what it changes in objects of its own as it runs is no edit.
    found: dict[str, str] = {}
    queue: list[tuple[str, Any]] = [(body.__qualname__, body)]
    seen: dict[tuple[str, int], Any] = {}  # holds the values, so that no other one gets their identity
    opened: set[int] = set()
    while queue:
        name, value = queue.pop()
        if (name, id(value)) in seen:
            continue
        seen[name, id(value)] = value
        text = _text(value, root)
        if text is not None:
            found[name] = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
            for function in _functions(value):
                queue.extend(_references(function, home=body.__module__))
            found |= _modules(value, text, root, known=found)
        told = text is not None and not inspect.isclass(value)
        if not told and not isinstance(value, types.FunctionType) and id(value) not in opened:
            opened.add(id(value))
            queue.extend(within(name, value, root))
    return found


def _modules(value: Any, text: str, root: Path, known: Mapping[str, str]) -> dict[str, str]:
    """The modules of the project that the text of a function, class or module imports, and those imports."""
    if not isinstance(value, types.FunctionType | types.ModuleType | type):
        return {}
    home = value if isinstance(value, types.ModuleType) else sys.modules.get(value.__module__)
    found: dict[str, str] = {}
    queue = [(text, str(getattr(home, "__file__", None) or root), getattr(home, "__package__", None) or "")]
    while queue:
        text, origin, package = queue.pop()
        for name, file in imported_files(text, origin, package, root).items():
            entry = f"module {name}"
            read = None if entry in found or entry in known else _read(file, loaded=name in sys.modules)
            if read is not None:
                found[entry] = hashlib.sha256(read.encode("utf-8", "surrogatepass")).hexdigest()
                inner = name if file.endswith("__init__.py") else name.rpartition(".")[0]
                queue.append((read, file, inner))
    return found


def _functions(value: Any) -> Iterator[types.FunctionType]:
    """The function itself, or the methods of a class."""
    if isinstance(value, types.FunctionType):
        yield value
    elif inspect.isclass(value):
        for member in vars(value).values():
            function = getattr(member, "__func__", getattr(member, "fget", member))
            if isinstance(function, types.FunctionType):
                yield function


def _text(value: Any, root: Path) -> str | None:
    """What stands for ``value`` in the key; None for what does not count."""
    if isinstance(value, PLAIN + TELLING):
        return repr(value)
    if isinstance(value, list | tuple | dict | set | frozenset):
        return _literal(value)
    if isinstance(value, types.ModuleType):
        file = getattr(value, "__file__", None)
        return _read(file) if file and of_project(file, root) else None
    if isinstance(value, types.FunctionType) or inspect.isclass(value):
        file = _file(value)
        return _source(value, file) if file and of_project(file, root) else None
    return None


def _file(value: types.FunctionType | type) -> str | None:
    """The file of the module that a function or class was made in."""
    if isinstance(value, types.FunctionType):
        return value.__globals__.get("__file__") or value.__code__.co_filename
    return getattr(sys.modules.get(value.__module__), "__file__", None)


def _source(value: types.FunctionType | type, file: str) -> str:
    """The source of a function or class; where there is none, what its code does."""
    if file.endswith(".py"):
        try:
            # Of the code: from a function, inspect would go on to the one that it wraps.
            return inspect.getsource(value.__code__ if isinstance(value, types.FunctionType) else value)
        except (OSError, TypeError):
            pass
    return "\n".join(_meaning(function.__code__) for function in _functions(value))


def _meaning(code: types.CodeType) -> str:
    """Bytecode as a text that is the same in every process, which ``marshal`` does not give."""
    constants = [
        _meaning(constant) if isinstance(constant, types.CodeType) else _literal(constant)
        for constant in code.co_consts
    ]
    return repr((code.co_code, constants, code.co_names, code.co_varnames, code.co_freevars, code.co_flags))


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


def _references(function: types.FunctionType, *, home: str) -> Iterator[tuple[str, Any]]:
    prefix = function.__qualname__
    # Two modules may have one name for two things.
    where = function.__globals__.get("__name__", "")
    module = "" if where == home else f"{where}."
    names = sorted(_names(function.__code__))
    for name in names:
        if name in function.__globals__:
            value = function.__globals__[name]
            yield f"{module}{name}", value
            if isinstance(value, types.ModuleType):
                yield from _submodules(value, names)
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield f"{module}{prefix}:{name}", cell.cell_contents
        except ValueError:
            continue
    for number, default in enumerate(function.__defaults__ or ()):
        yield f"{module}{prefix}:default{number}", default
    for name, default in (function.__kwdefaults__ or {}).items():
        yield f"{module}{prefix}:{name}", default


def _submodules(package: types.ModuleType, names: Iterable[str]) -> Iterator[tuple[str, Any]]:
    """The modules of a package that a function reaches through it: ``package.module.function()``."""
    for name in names:
        module = sys.modules.get(f"{package.__name__}.{name}")
        if module is not None:
            yield module.__name__, module
            yield from _submodules(module, names)


def _names(code: types.CodeType) -> set[str]:
    names = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names |= _names(constant)
    return names


def _read(file: str, *, loaded: bool = True) -> str | None:
    """A module's text as it was loaded; of one without source, its bytes."""
    if loaded and file.endswith(".py") and (lines := linecache.getlines(file)):
        return "".join(lines)
    try:
        return Path(file).read_bytes().decode("utf-8", "surrogateescape")
    except OSError:
        return None
