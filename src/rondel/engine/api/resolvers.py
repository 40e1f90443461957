"""The modules with resolvers; importing them registers their fields.

To connect, a client asks only for the engine's version. The other modules are imported when
a query first uses one of their fields.
"""

from __future__ import annotations

import importlib
from functools import cache

AT_START = ("query",)
LATER = (
    "container_config",
    "directory",
    "file",
    "secret",
    "container_exec",
    "container_files",
    "container_mounts",
    "host",
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
def load_first() -> None:
    """Import what a client needs to connect."""
    _load(AT_START)


@cache
def load_resolvers() -> None:
    """Import every module that registers resolvers."""
    _load(AT_START + LATER)


def _load(names: tuple[str, ...]) -> None:
    for name in names:
        importlib.import_module(f"rondel.engine.api.{name}")
