"""Which modules hold resolvers; importing them registers what they serve."""

from __future__ import annotations

import importlib
import importlib.util
from functools import cache

MODULES = (
    "query",
    "container_config",
    "container_exec",
    "container_files",
    "container_mounts",
    "directory",
    "file",
    "host",
    "secret",
    "envfile",
    "changeset",
    "json_value",
    "address",
    "images",
    "build",
    "services",
    "git",
    "http",
    "terminal",
)


@cache
def load_resolvers() -> None:
    """Import every module that registers resolvers."""
    for name in MODULES:
        if importlib.util.find_spec(f"rondel.engine.api.{name}"):
            importlib.import_module(f"rondel.engine.api.{name}")
