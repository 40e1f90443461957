"""Load the pipeline that a file declares, without running it."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from importlib.machinery import SourcelessFileLoader
from typing import TYPE_CHECKING

from rondel.errors import ConfigurationError
from rondel.pipeline.pipeline import Pipeline
from rondel.pipeline.source import SourceLoader, of_project, read_from_source, was_edited

if TYPE_CHECKING:
    from pathlib import Path

NAME = "_rondel_pipeline"


def load_pipeline(path: Path, root: Path | None = None) -> Pipeline:
    """The one Pipeline in ``path`` (``ci/main.py``).

    It and what it imports below ``root`` (default: the project that it is in)
    are read from their sources. Raises ConfigurationError when the file is
    missing, fails, or declares none or several.
    """
    if not path.is_file():
        raise ConfigurationError("there is no such file", place=str(path), hint="name it with --file")
    loader = SourceLoader(NAME, str(path))
    spec = importlib.util.spec_from_file_location(NAME, path, loader=loader)
    if spec is None or path.suffix != ".py":
        raise ConfigurationError("this is no Python file", place=str(path))
    module = importlib.util.module_from_spec(spec)
    root = (root or _root(path)).resolve()
    _forget_changed(root)
    read_from_source(root)
    before = set(sys.modules)
    sys.modules[NAME] = module  # where dataclasses and inspect look for it
    # As `python ci/main.py` has it: modules beside the file can be imported.
    sys.path.insert(0, str(path.parent))
    try:
        loader.exec_module(module)
    except ConfigurationError:
        raise
    except Exception as error:  # whatever the team's file raises is said with its place
        raise ConfigurationError(
            f"the pipeline could not be loaded: {type(error).__name__}: {error}", place=str(path)
        ) from error
    finally:
        sys.path.remove(str(path.parent))
        new = set(sys.modules) - before
        _loaded.update(name for name in new if any(of_project(place, root) for place in _places(name)))
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
"""Names of the modules that pipelines brought in from their projects, in this process."""


def _forget_changed(root: Path) -> None:
    """Have modules of an earlier pipeline imported anew, if one is another project's or was edited since."""
    importlib.invalidate_caches()
    mine = {name: found for name in _loaded if (found := _places(name))}
    places = [place for each in mine.values() for place in each]
    if any(not of_project(place, root) or _may_differ(place) for place in places):
        for name in mine:
            del sys.modules[name]
        _loaded.clear()


def _may_differ(place: str) -> bool:
    return place.endswith(".pyc") or (place.endswith(".py") and was_edited(place))


def _places(name: str) -> list[str]:
    """The file that a module was read from as a project's; of a namespace package, its folders."""
    module = sys.modules.get(name)
    if isinstance(getattr(module, "__loader__", None), SourceLoader | SourcelessFileLoader):
        return [str(getattr(module, "__file__", ""))]
    if module is not None and getattr(module, "__file__", None) is None:
        return [str(path) for path in getattr(module, "__path__", ())]
    return []
