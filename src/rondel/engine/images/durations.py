"""Durations as Go writes and reads them: ``1m30s``."""

from __future__ import annotations

import re

from rondel.errors import EngineError

_SECOND = 10**9
_SMALL = (("s", _SECOND), ("ms", 10**6), ("µs", 10**3), ("ns", 1))
_UNITS = {**dict(_SMALL), "us": 10**3, "μs": 10**3, "m": 60 * _SECOND, "h": 3600 * _SECOND}
_PART = re.compile(r"(\d+\.?\d*|\.\d+)([^\d.]*)")


def duration(value: int) -> str:
    """Nanoseconds as Go writes a duration: ``0s``, ``1.5ms``, ``1m30s``, ``1h0m1.5s``."""
    sign, value = ("-", -value) if value < 0 else ("", value)
    if value < _SECOND:
        unit, size = next((u, s) for u, s in _SMALL if value >= s or not value)
        return f"{sign}{_decimal(value, size)}{unit}"
    minutes, rest = divmod(value, 60 * _SECOND)
    hours, minutes = divmod(minutes, 60)
    text = f"{hours}h{minutes}m" if hours else f"{minutes}m" if minutes else ""
    return f"{sign}{text}{_decimal(rest, _SECOND)}s"


def _decimal(value: int, size: int) -> str:
    whole, rest = divmod(value, size)
    fraction = f"{rest:0{len(str(size)) - 1}d}".rstrip("0") if rest else ""
    return f"{whole}.{fraction}" if fraction else str(whole)


def nanoseconds(text: str) -> int:
    """A Go duration such as ``1m30s`` or ``1.5h`` in nanoseconds. Raises EngineError for an invalid one."""
    body = text.removeprefix("-") if text.startswith("-") else text.removeprefix("+")
    total, at = 0.0, 0
    if body == "0":
        return 0
    while (part := _PART.match(body, at)) is not None:
        number, unit = part.groups()
        if unit not in _UNITS:
            problem = f'unknown unit "{unit}"' if unit else "missing unit"
            raise EngineError(f'time: {problem} in duration "{text}"')
        total, at = total + float(number) * _UNITS[unit], part.end()
    if not body or at < len(body):
        raise EngineError(f'time: invalid duration "{text}"')
    return -round(total) if text.startswith("-") else round(total)
