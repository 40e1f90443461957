"""Rondel: a portable ML pipeline SDK on the Dagger API."""

from __future__ import annotations

import importlib

from rondel.version import __version__

# What type checkers see; at run time a name is loaded when it is first used, so that
# neither `rondel run` nor the engine's process pays for pipelines.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from rondel.cli.runnable import RunnablePipeline as Pipeline
    from rondel.context import StageContext as StageContext
    from rondel.pipeline import Stage as Stage

__all__ = ["Pipeline", "Stage", "StageContext", "__version__"]

_LATER = {
    "Pipeline": ("rondel.cli.runnable", "RunnablePipeline"),
    "Stage": ("rondel.pipeline", "Stage"),
    "StageContext": ("rondel.context", "StageContext"),
}


def __getattr__(name: str) -> object:
    if name not in _LATER:
        raise AttributeError(f"module 'rondel' has no attribute {name!r}")
    module, attribute = _LATER[name]
    value = globals()[name] = getattr(importlib.import_module(module), attribute)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
