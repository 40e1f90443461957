"""Decides whether a value may replace the one in a parameter file. Pure.

A parameter file declares no types, so its current value is the only hint at what
the program expects.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any


def kind(value: Any) -> str:
    """A value's type, for messages."""
    # In Python, bool is an int.
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, str):
        return "a string"
    if isinstance(value, dt.date | dt.time):
        return "a date"
    if isinstance(value, Mapping):
        return "a mapping"
    return "a list" if isinstance(value, list | tuple | set) else f"a {type(value).__name__}"


def fits(new: Any, old: Any) -> bool:
    """Whether ``new`` may replace ``old``.

    Any number may replace a number, such as ``0.5`` for ``0``; ``true`` is not a
    number. ``null`` may replace anything, and anything may replace ``null``, because
    optional parameters (a tree's ``max_depth``) change between the two.
    """
    return new is None or old is None or kind(new) == kind(old)


def misfit(new: Any, old: Any, place: str) -> str:
    """Why ``new`` does not fit, for a message; ``place`` is the location of ``old``."""
    return f"{as_yaml(new)} is {kind(new)}; {place} has {as_yaml(old)}, {kind(old)}"


def as_yaml(value: Any) -> str:
    """A value in YAML, shortened."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    text = repr(value) if isinstance(value, str | list | dict) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def typed(text: str, parsed: Any, old: Any) -> Any:
    """The value that ``text`` means as a replacement of ``old``; ``parsed`` is ``text`` parsed as YAML.

    A string is replaced by the text as it is: the version ``1.10`` is not a number,
    and the country code ``no`` is not a boolean.
    """
    scalar = not isinstance(parsed, Mapping | list | str) and parsed is not None
    return text if isinstance(old, str) and scalar else parsed
