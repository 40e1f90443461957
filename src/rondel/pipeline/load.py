"""Load the pipeline that a file declares, without running it."""

from __future__ import annotations

import importlib.util
import sys
from typing import TYPE_CHECKING

from rondel.errors import ConfigurationError
from rondel.pipeline.pipeline import Pipeline

if TYPE_CHECKING:
    from pathlib import Path


def load_pipeline(path: Path) -> Pipeline:
    """The one Pipeline in ``path`` (``ci/main.py``).

    Raises ConfigurationError when the file is missing, fails, or declares none or several.
    """
    if not path.is_file():
        raise ConfigurationError("there is no such file", place=str(path), hint="name it with --file")
    spec = importlib.util.spec_from_file_location("_rondel_pipeline", path)
    if spec is None or spec.loader is None:
        raise ConfigurationError("this is no Python file", place=str(path))
    module = importlib.util.module_from_spec(spec)
    # As `python ci/main.py` has it: modules beside the file can be imported.
    sys.path.insert(0, str(path.parent))
    try:
        spec.loader.exec_module(module)
    except ConfigurationError:
        raise
    except Exception as error:  # whatever the team's file raises is said with its place
        raise ConfigurationError(
            f"the pipeline could not be loaded: {type(error).__name__}: {error}", place=str(path)
        ) from error
    finally:
        sys.path.remove(str(path.parent))
    found = [value for value in vars(module).values() if isinstance(value, Pipeline)]
    if len(found) != 1:
        raise ConfigurationError(f"expected one Pipeline, found {len(found)}", place=str(path))
    return found[0]
