"""The code part of a key: a stage's function and everything in the project that it refers to.

If all of ``ci/main.py`` counted, editing one stage would rerun all of them. So
only the function's own source counts, and recursively the project's functions,
classes and constants that it names (see :mod:`rondel.cache.references`). Code
outside of the project is covered by the image, or belongs to Rondel.

What counts is the code that this process has loaded. ``rondel.pipeline.source``
keeps its text, so editing a file meanwhile does not change the key.
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

from rondel.cache.references import PRIMITIVES, REPR_TYPES, imported_files, referenced_values
from rondel.pipeline.source import is_project_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping


def code_parts(body: Callable[..., Any], root: Path) -> dict[str, str]:
    """The hash of ``body`` and of each thing under ``root`` that it refers to, by name.

    Names from other modules than the body's start with the module's name. Empty
    for a body that Rondel made (``pipeline.dvc`` and the like): the command part
    describes what it does.
    """
    return dict(_code_parts(body, root.resolve()))


@functools.cache
def _code_parts(body: Callable[..., Any], root: Path) -> dict[str, str]:
    # Cached per function: objects that the function changes while it runs must not change its key.
    found: dict[str, str] = {}
    queue: list[tuple[str, Any]] = [(body.__qualname__, body)]
    seen: dict[tuple[str, int], Any] = {}  # keeps the values alive, so that no other one gets their id()
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
        complete = text is not None and not inspect.isclass(value)
        if not complete and not isinstance(value, types.FunctionType) and id(value) not in opened:
            opened.add(id(value))
            queue.extend(referenced_values(name, value, root))
    return found


def _modules(value: Any, text: str, root: Path, known: Mapping[str, str]) -> dict[str, str]:
    """The project's modules that a function, class or module imports, directly or indirectly."""
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
    """The function itself, or a class's methods."""
    if isinstance(value, types.FunctionType):
        yield value
    elif inspect.isclass(value):
        for member in vars(value).values():
            function = getattr(member, "__func__", getattr(member, "fget", member))
            if isinstance(function, types.FunctionType):
                yield function


def _text(value: Any, root: Path) -> str | None:
    """The text that represents ``value`` in the key; None if it does not count."""
    if isinstance(value, PRIMITIVES + REPR_TYPES):
        return repr(value)
    if isinstance(value, list | tuple | dict | set | frozenset):
        return _literal(value)
    if isinstance(value, types.ModuleType):
        file = getattr(value, "__file__", None)
        return _read(file) if file and is_project_file(file, root) else None
    if isinstance(value, types.FunctionType) or inspect.isclass(value):
        file = _file(value)
        return _source(value, file) if file and is_project_file(file, root) else None
    return None


def _file(value: types.FunctionType | type) -> str | None:
    """The file of the module that defines a function or class."""
    if isinstance(value, types.FunctionType):
        return value.__globals__.get("__file__") or value.__code__.co_filename
    return getattr(sys.modules.get(value.__module__), "__file__", None)


def _source(value: types.FunctionType | type, file: str) -> str:
    """The source of a function or class; without source, a text made from its bytecode."""
    if file.endswith(".py"):
        try:
            # Pass the code object: given a function, inspect would unwrap it.
            return inspect.getsource(value.__code__ if isinstance(value, types.FunctionType) else value)
        except (OSError, TypeError):
            pass
    return "\n".join(_bytecode_text(function.__code__) for function in _functions(value))


def _bytecode_text(code: types.CodeType) -> str:
    """Bytecode as a text that is the same in every process; ``marshal`` output is not."""
    constants = [
        _bytecode_text(constant) if isinstance(constant, types.CodeType) else _literal(constant)
        for constant in code.co_consts
    ]
    return repr((code.co_code, constants, code.co_names, code.co_varnames, code.co_freevars, code.co_flags))


def _literal(value: Any) -> str | None:
    """``repr`` if it is the same in every process: only for collections of primitive values."""
    if isinstance(value, PRIMITIVES):
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
    # Two modules may use one name for different things.
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
    """The submodules that a function uses through their package: ``package.module.function()``."""
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
    """A module's text as it was loaded; without source, its bytes."""
    if loaded and file.endswith(".py") and (lines := linecache.getlines(file)):
        return "".join(lines)
    try:
        return Path(file).read_bytes().decode("utf-8", "surrogateescape")
    except OSError:
        return None
