"""The project's Python code is what its files say, never what Python's bytecode cache says.

Python takes bytecode for that of a source whose size and time, in whole seconds, are
the same. So an edit of equal length within a second goes unseen: the pipeline that ran
would not be the one that the record shows. That is why modules of the project are
compiled from their source each time. What was imported before Rondel is compared
with its source, once, before a run begins.

The text that was compiled is also what ``inspect`` and ``linecache`` give from then on,
so that a stage's key is made from the code that runs, even if its file is edited meanwhile.
"""

from __future__ import annotations

import importlib.util
import io
import linecache
import marshal
import os
import sys
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rondel.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import CodeType, ModuleType

RESTARTED = "RONDEL_RESTARTED"
"""Holds the ID of a process that has begun again, so that it does so once."""

_OWN = Path(__file__).resolve().parents[1]
_STANDARD = f"{Path(os.__file__).parent}{os.sep}"
_HEADER = 16
_roots: list[Path] = []


def of_project(file: str | Path, root: Path) -> bool:
    """Whether a file is the project's: below its folder, and neither installed there nor Rondel's own."""
    # Nearly all modules are these, and to resolve a path asks the disk for each of its parts.
    if str(file).startswith((_STANDARD, f"{_OWN}{os.sep}")) or _has_installed(str(file)):
        return False
    path = Path(file).resolve()
    if not path.is_relative_to(root) or path.is_relative_to(_OWN) or _has_installed(str(path)):
        return False
    # An environment, or a whole interpreter, may lie in the project's folder.
    prefixes = (Path(each).resolve() for each in {sys.prefix, sys.base_prefix})
    return not any(
        prefix.is_relative_to(root) and prefix != root and path.is_relative_to(prefix) for prefix in prefixes
    )


def _has_installed(file: str) -> bool:
    return f"{os.sep}site-packages{os.sep}" in file or f"{os.sep}dist-packages{os.sep}" in file


class SourceLoader(SourceFileLoader):
    """Compiles a module from its source, and neither reads nor writes bytecode."""

    def get_code(self, fullname: str) -> CodeType:
        """The code of the source as it is now."""
        path = self.get_filename(fullname)
        data = self.get_data(path)
        code: CodeType = self.source_to_code(data, path)
        pin(path, data)
        return code


class _Finder:
    """Asks the finders behind it, and has modules of the project loaded from their source."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        for finder in sys.meta_path[sys.meta_path.index(self) + 1 :]:
            find = getattr(finder, "find_spec", None)
            spec: ModuleSpec | None = find(name, path, target) if find is not None else None
            if spec is not None:
                loader = spec.loader
                if type(loader) is SourceFileLoader and any(of_project(loader.path, root) for root in _roots):
                    spec.loader = SourceLoader(loader.name, loader.path)
                return spec
        return None


def read_from_source(root: Path) -> None:
    """From now on import modules of the project at ``root`` from their source."""
    root = root.resolve()
    if root not in _roots:
        _roots.append(root)
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


def follow_main() -> None:
    """Read the project of the script that this process runs from source; of an installed program, none."""
    file = getattr(sys.modules.get("__main__"), "__file__", None)
    if file is None or _installed(Path(file)):
        return
    from rondel.settings.load import find_root

    try:
        root = find_root(Path(file).resolve().parent)
    except (ConfigurationError, OSError):
        return
    read_from_source(root)


def _installed(file: Path) -> bool:
    return file.parent == Path(sys.executable).parent or "site-packages" in file.parts


def pin(path: str, data: bytes) -> None:
    """Have ``inspect`` and tracebacks show this text for ``path``, whatever becomes of the file."""
    lines = _lines(data)
    if lines is not None:
        # Without a time it is never looked at again, as with modules in archives.
        linecache.cache[path] = (len(data), None, lines, path)


def was_edited(path: str) -> bool:
    """Whether a file that was read from its source has another text by now, or none."""
    try:
        return linecache.getlines(path) != _lines(Path(path).read_bytes())
    except OSError:
        return True


def _lines(data: bytes) -> list[str] | None:
    try:
        text = importlib.util.decode_source(data)
    except (SyntaxError, UnicodeDecodeError):
        return None
    return io.StringIO(text if not text or text.endswith("\n") else f"{text}\n").readlines()


def check_sources(root: Path, *, restart: bool) -> None:
    """Make sure that the modules of the project that are loaded are what their files say.

    Where one is not, its bytecode is removed, and with ``restart`` this process begins again.
    Raises ConfigurationError where it can't, or may not.
    """
    root = root.resolve()
    again = os.environ.pop(RESTARTED, "") == str(os.getpid())
    read_from_source(root)
    stale = list(_stale(root, running=restart and not again))
    if not stale:
        return
    kept = [cached for _, cached in stale if cached is not None and not _removed(cached)]
    names = ", ".join(Path(file).resolve().relative_to(root).as_posix() for file, _ in stale)
    if kept or again:
        where = kept[0] if kept else next((str(cached) for _, cached in stale if cached), names)
        raise ConfigurationError(
            f"Python loads old code for {names}",
            why="the bytecode in its cache is not that of the source",
            hint=f"remove {where}",
        )
    if restart:
        sys.stdout.flush()
        sys.stderr.flush()
        os.environ[RESTARTED] = str(os.getpid())
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - the same command again
    raise ConfigurationError(
        f"Python has loaded old code for {names}",
        why="its bytecode cache does not see an edit of the same length within a second",
        hint="that bytecode is removed now: start this program again",
    )


def can_restart(root: Path) -> bool:
    """Whether this process is a script or module of the project, which can be started again as it was."""
    file = getattr(sys.modules.get("__main__"), "__file__", None)
    return file is not None and not _installed(Path(file)) and of_project(file, root.resolve())


def _stale(root: Path, *, running: bool) -> Iterator[tuple[str, str | None]]:
    """Files whose loaded code is not that of their text, with the bytecode it came from; pins the others.

    ``running`` compares a script's text with the code that Python began with, too.
    """
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        loader = getattr(module, "__loader__", None)
        if not isinstance(file, str) or type(loader) is not SourceFileLoader or not of_project(file, root):
            continue
        try:
            data = Path(file).read_bytes()
            code = compile(data, file, "exec", dont_inherit=True)
        except (OSError, SyntaxError, ValueError):
            continue
        cached = getattr(getattr(module, "__spec__", None), "cached", None)
        began = _running(module)
        if cached is not None and _is_old(cached, file, code):
            yield file, cached
        elif running and began is not None and began != code:
            yield file, None
        else:
            # A script's functions know it by the path on its command line.
            for path in {file, began.co_filename if began is not None else file}:
                pin(path, data)


def _running(module: ModuleType) -> CodeType | None:
    """The code of a module that is still being executed, as a script is while its pipeline runs."""
    frame = sys._getframe(1)  # noqa: SLF001 - the public way, inspect.stack(), reads every file on the stack
    while frame is not None:
        if frame.f_globals is vars(module) and frame.f_code.co_name == "<module>":
            return frame.f_code
        frame = frame.f_back  # type: ignore[assignment]
    return None


def _is_old(cached: str, file: str, code: CodeType) -> bool:
    """Whether Python has loaded ``cached`` in place of ``file``, whose code it is not."""
    try:
        data = Path(cached).read_bytes()
        status = os.stat(file)  # noqa: PTH116 - a text, as Python has it
        if data[:4] != importlib.util.MAGIC_NUMBER or marshal.loads(data[_HEADER:]) == code:  # noqa: S302
            return False
    except (OSError, EOFError, ValueError, TypeError):
        return False
    flags, time, size = (int.from_bytes(data[at : at + 4], "little") for at in (4, 8, 12))
    if flags or (time, size) == (int(status.st_mtime) & 0xFFFFFFFF, status.st_size & 0xFFFFFFFF):
        return True
    # Python did not take it, then, and has written its own, unless it can't.
    return not sys.dont_write_bytecode and os.access(cached, os.W_OK)


def _removed(cached: Any) -> bool:
    try:
        Path(cached).unlink(missing_ok=True)
    except OSError:
        return False
    return True
