"""Makes sure that the project's Python code runs as its source files are now.

Python reuses cached bytecode if the source has the same size and the same time in
whole seconds. An edit that keeps the length within one second goes unnoticed, and
the pipeline that runs is not the one that is recorded. So modules of the project
are always compiled from source, and modules that were imported before Rondel are
compared with their source once, before a run begins.

From then on, ``inspect`` and ``linecache`` return the text that was compiled. So a
stage's key is made from the code that runs, even if its file is edited meanwhile.
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
"""The ID of a process that has restarted, so that it restarts only once."""

_OWN = Path(__file__).resolve().parents[1]
_STANDARD = f"{Path(os.__file__).parent}{os.sep}"
_HEADER = 16
_roots: list[Path] = []


def is_project_file(file: str | Path, root: Path) -> bool:
    """Whether a file belongs to the project: in its folder, not an installed package, not Rondel."""
    # Fast path for nearly all modules: resolving a path needs a system call for each of its parts.
    if str(file).startswith((_STANDARD, f"{_OWN}{os.sep}")) or _in_packages(str(file)):
        return False
    path = Path(file).resolve()
    if not path.is_relative_to(root) or path.is_relative_to(_OWN) or _in_packages(str(path)):
        return False
    # The project's folder may contain an environment, or an interpreter.
    prefixes = (Path(each).resolve() for each in {sys.prefix, sys.base_prefix})
    return not any(
        prefix.is_relative_to(root) and prefix != root and path.is_relative_to(prefix) for prefix in prefixes
    )


def _in_packages(file: str) -> bool:
    return f"{os.sep}site-packages{os.sep}" in file or f"{os.sep}dist-packages{os.sep}" in file


class SourceLoader(SourceFileLoader):
    """Compiles a module from its source; neither reads nor writes bytecode."""

    def get_code(self, fullname: str) -> CodeType:
        """Compile the current source."""
        path = self.get_filename(fullname)
        data = self.get_data(path)
        code: CodeType = self.source_to_code(data, path)
        pin_source(path, data)
        return code


class _Finder:
    """Delegates to the finders after it, and loads modules of the project from source."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        for finder in sys.meta_path[sys.meta_path.index(self) + 1 :]:
            find = getattr(finder, "find_spec", None)
            spec: ModuleSpec | None = find(name, path, target) if find is not None else None
            if spec is not None:
                loader = spec.loader
                if type(loader) is SourceFileLoader and any(
                    is_project_file(loader.path, root) for root in _roots
                ):
                    spec.loader = SourceLoader(loader.name, loader.path)
                return spec
        return None


def import_from_source(root: Path) -> None:
    """From now on, import modules of the project at ``root`` from source."""
    root = root.resolve()
    if root not in _roots:
        _roots.append(root)
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


def read_main_from_source() -> None:
    """Import the project of this process's script from source; does nothing for an installed program."""
    file = getattr(sys.modules.get("__main__"), "__file__", None)
    if file is None or _installed(Path(file)):
        return
    from rondel.settings.load import find_root

    try:
        root = find_root(Path(file).resolve().parent)
    except (ConfigurationError, OSError):
        return
    import_from_source(root)


def _installed(file: Path) -> bool:
    return file.parent == Path(sys.executable).parent or "site-packages" in file.parts


def pin_source(path: str, data: bytes) -> None:
    """Make ``inspect`` and tracebacks show this text for ``path``, even if the file changes."""
    lines = _lines(data)
    if lines is not None:
        # linecache never checks an entry without a time again, as for modules in archives.
        linecache.cache[path] = (len(data), None, lines, path)


def source_changed(path: str) -> bool:
    """Whether a module's file has changed since it was loaded, or is gone."""
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
    """Check that all loaded modules of the project match their files.

    If one does not, remove its bytecode, and with ``restart`` start this process
    again. Raises ConfigurationError if that fails or is not allowed.
    """
    root = root.resolve()
    restarted = os.environ.pop(RESTARTED, "") == str(os.getpid())
    import_from_source(root)
    stale = list(_stale(root, running=restart and not restarted))
    if not stale:
        return
    kept = [cached for _, cached in stale if cached is not None and not _removed(cached)]
    names = ", ".join(Path(file).resolve().relative_to(root).as_posix() for file, _ in stale)
    if kept or restarted:
        where = kept[0] if kept else next((str(cached) for _, cached in stale if cached), names)
        raise ConfigurationError(
            f"Python loads outdated code for {names}",
            why="the bytecode in its cache does not match the source",
            hint=f"remove {where}",
        )
    if restart:
        sys.stdout.flush()
        sys.stderr.flush()
        os.environ[RESTARTED] = str(os.getpid())
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - repeats the command
    raise ConfigurationError(
        f"Python has loaded outdated code for {names}",
        why="its bytecode cache does not notice an edit that keeps the length within a second",
        hint="the bytecode was removed; start this program again",
    )


def can_restart(root: Path) -> bool:
    """Whether this process runs a script or module of the project, so that it can be restarted."""
    file = getattr(sys.modules.get("__main__"), "__file__", None)
    return file is not None and not _installed(Path(file)) and is_project_file(file, root.resolve())


def _stale(root: Path, *, running: bool) -> Iterator[tuple[str, str | None]]:
    """Files whose loaded code differs from their text, with the bytecode file; pins the text of the others.

    With ``running``, also compares a script's text with the code that is running.
    """
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        loader = getattr(module, "__loader__", None)
        if (
            not isinstance(file, str)
            or type(loader) is not SourceFileLoader
            or not is_project_file(file, root)
        ):
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
            # A script's functions have the path on the command line.
            for path in {file, began.co_filename if began is not None else file}:
                pin_source(path, data)


def _running(module: ModuleType) -> CodeType | None:
    """The code of a module that is still being executed, such as the script while its pipeline runs."""
    frame = sys._getframe(1)  # noqa: SLF001 - the public way, inspect.stack(), reads every file on the stack
    while frame is not None:
        if frame.f_globals is vars(module) and frame.f_code.co_name == "<module>":
            return frame.f_code
        frame = frame.f_back  # type: ignore[assignment]
    return None


def _is_old(cached: str, file: str, code: CodeType) -> bool:
    """Whether Python has loaded the bytecode ``cached`` although ``file`` has other code."""
    try:
        data = Path(cached).read_bytes()
        status = os.stat(file)  # noqa: PTH116 - a string, as Python has it
        if data[:4] != importlib.util.MAGIC_NUMBER or marshal.loads(data[_HEADER:]) == code:  # noqa: S302
            return False
    except (OSError, EOFError, ValueError, TypeError):
        return False
    flags, time, size = (int.from_bytes(data[at : at + 4], "little") for at in (4, 8, 12))
    if flags or (time, size) == (int(status.st_mtime) & 0xFFFFFFFF, status.st_size & 0xFFFFFFFF):
        return True
    # Then Python did not use it and has replaced it, unless it can't write.
    return not sys.dont_write_bytecode and os.access(cached, os.W_OK)


def _removed(cached: Any) -> bool:
    try:
        Path(cached).unlink(missing_ok=True)
    except OSError:
        return False
    return True
