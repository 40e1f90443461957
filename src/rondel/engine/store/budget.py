"""The store's size limit."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from rondel.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

VARIABLE = "RONDEL_ENGINE_CACHE_SIZE"
LARGEST = 20 << 30
"""The budget on a large disk: 20 GiB."""

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def parse_size(text: str, *, place: str) -> int:
    """Parse ``5G``, ``300 MiB`` or ``0`` into bytes. Raises ConfigurationError, which names ``place``."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?", text.strip(), re.IGNORECASE)
    if match is None:
        raise ConfigurationError(f"{text!r} is no size", hint="for example 5G or 300M", place=place)
    return int(float(match[1]) * _UNITS[match[2].upper()])


def default_budget(free: int, held: int) -> int:
    """20 GiB, or a quarter of the space that an empty store would leave free, whichever is less."""
    return min(LARGEST, (free + held) // 4)


def budget_of(root: Path, held: int, environ: Mapping[str, str]) -> int:
    """The budget in bytes of the store in ``root``, which occupies ``held`` bytes now."""
    if environ.get(VARIABLE):
        return parse_size(environ[VARIABLE], place=VARIABLE)
    disk = os.statvfs(root)
    return default_budget(disk.f_bavail * disk.f_frsize, held)
