"""Whether a value may stand in for the one that a parameter file has. Pure.

A file declares no types, so its present value is the only sign of what a
program expects there.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any


def kind(value: Any) -> str:
    """What a value is, in the words of a message."""
    # bool before int, datetime before date: each is a kind of the other to Python.
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, str):
        return "a text"
    if isinstance(value, dt.date | dt.time):
        return "a date"
    if isinstance(value, Mapping):
        return "a mapping"
    return "a list" if isinstance(value, list | tuple | set) else f"a {type(value).__name__}"


def fits(new: Any, old: Any) -> bool:
    """Whether ``new`` may replace ``old``.

    Any number may replace a number: a file says ``0`` where a run wants
    ``0.5``. ``true`` is no number. ``null`` fits everywhere, and where the
    file has it, everything does: parameters that may be left out (a tree's
    ``max_depth``) change between the two.
    """
    return new is None or old is None or kind(new) == kind(old)


def misfit(new: Any, old: Any, place: str) -> str:
    """Why ``new`` does not fit, for a message; ``place`` is where ``old`` stands."""
    return f"{as_yaml(new)} is {kind(new)}; {place} has {as_yaml(old)}, {kind(old)}"


def as_yaml(value: Any) -> str:
    """A value as YAML would say it, shortened."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    text = repr(value) if isinstance(value, str | list | dict) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def typed(text: str, parsed: Any, old: Any) -> Any:
    """What a person means who gives ``text`` for ``old``; ``parsed`` is what YAML makes of it.

    For a text it is taken as it stands: a version ``1.10`` is no number, and
    the country code ``no`` is no truth value.
    """
    scalar = not isinstance(parsed, Mapping | list | str) and parsed is not None
    return text if isinstance(old, str) and scalar else parsed
