"""Become root of a user namespace of our own, so that all code below is the same with and without root."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Mode(enum.Enum):
    """How the engine came to be root."""

    ROOT = "root"
    SUBORDINATE = "subordinate"
    SINGLE = "single"


@dataclass(frozen=True, slots=True)
class Identity:
    """Who the engine is: its mode, and the number of IDs it can give to files."""

    mode: Mode
    ids: int


def become_root() -> Identity:
    """Enter new namespaces as their root; call it before any thread starts.

    Raises EngineUnavailable with the reason where user namespaces are forbidden.
    """
    raise NotImplementedError
