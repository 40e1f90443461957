"""Rondel: a portable ML pipeline SDK on the Dagger API."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from rondel.pipeline import Pipeline, Stage

if TYPE_CHECKING:
    from rondel.context import StageContext as StageContext

__version__ = "0.1.0"

__all__ = ["Pipeline", "Stage", "StageContext", "__version__"]

# Loaded when first used: ``from rondel import Pipeline`` alone stays cheap.
_LATER = {"StageContext": "rondel.context"}


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(importlib.import_module(_LATER[name]), name)
    raise AttributeError(f"module 'rondel' has no attribute {name!r}")
