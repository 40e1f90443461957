"""Loads the pipeline that a file declares, without running it."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from importlib.machinery import SourcelessFileLoader
from typing import TYPE_CHECKING

from rondel.errors import ConfigurationError
from rondel.pipeline.pipeline import Pipeline
from rondel.pipeline.source import SourceLoader, import_from_source, is_project_file, source_changed

if TYPE_CHECKING:
    from pathlib import Path

NAME = "_rondel_pipeline"


def load_pipeline(path: Path, root: Path | None = None) -> Pipeline:
    """Load the Pipeline in ``path`` (``ci/main.py``).

    Compiles the file, and what it imports below ``root`` (default: its project),
    from source. Raises ConfigurationError if the file is missing or fails, or if it
    declares no pipeline or several.
    """
    if not path.is_file():
        raise ConfigurationError(
            "the pipeline file does not exist", place=str(path), hint="name it with --file"
        )
    loader = SourceLoader(NAME, str(path))
    spec = importlib.util.spec_from_file_location(NAME, path, loader=loader)
    if spec is None or path.suffix != ".py":
        raise ConfigurationError("this is not a Python file", place=str(path))
    module = importlib.util.module_from_spec(spec)
    root = (root or _root(path)).resolve()
    _forget_changed(root)
    import_from_source(root)
    before = set(sys.modules)
    sys.modules[NAME] = module  # dataclasses and inspect look for it there
    # As with `python ci/main.py`: the file can import modules beside it.
    sys.path.insert(0, str(path.parent))
    try:
        loader.exec_module(module)
    except ConfigurationError:
        raise
    except Exception as error:  # the team's file may raise anything
        raise ConfigurationError(
            f"can't load the pipeline: {type(error).__name__}: {error}", place=str(path)
        ) from error
    finally:
        sys.path.remove(str(path.parent))
        new = set(sys.modules) - before
        _loaded.update(
            name for name in new if any(is_project_file(location, root) for location in _locations(name))
        )
    found = [value for value in vars(module).values() if isinstance(value, Pipeline)]
    if len(found) != 1:
        raise ConfigurationError(f"expected one Pipeline, found {len(found)}", place=str(path))
    return found[0]


def _root(path: Path) -> Path:
    from rondel.settings.load import find_root

    try:
        return find_root(path.parent)
    except ConfigurationError:
        return path.parent


_loaded: set[str] = set()
"""Modules of projects that pipelines imported in this process."""


def _forget_changed(root: Path) -> None:
    """Forget the modules of an earlier pipeline if one belongs to another project or was edited since."""
    importlib.invalidate_caches()
    modules = {name: found for name in _loaded if (found := _locations(name))}
    locations = [location for each in modules.values() for location in each]
    if any(not is_project_file(location, root) or _may_differ(location) for location in locations):
        for name in modules:
            del sys.modules[name]
        _loaded.clear()


def _may_differ(location: str) -> bool:
    return location.endswith(".pyc") or (location.endswith(".py") and source_changed(location))


def _locations(name: str) -> list[str]:
    """The source file of a project's module; the folders of a namespace package."""
    module = sys.modules.get(name)
    if isinstance(getattr(module, "__loader__", None), SourceLoader | SourcelessFileLoader):
        return [str(getattr(module, "__file__", ""))]
    if module is not None and getattr(module, "__file__", None) is None:
        return [str(path) for path in getattr(module, "__path__", ())]
    return []
