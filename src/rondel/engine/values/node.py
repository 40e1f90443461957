"""Recipes of file systems.

A node names an operation, what goes in, and what the operation needs to know;
its key stands for all of that, so that equal keys mean equal results. Nothing
runs until somebody asks the evaluator for the node's result.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

MEANING = 4
"""Raised when the same call came to mean something else, so that no result of the older meaning is taken."""


def digest_of(*parts: Any) -> str:
    """A short digest (40 hex digits) of JSON-serialisable parts; equal parts give equal digests."""
    text = json.dumps((MEANING, parts), ensure_ascii=True, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=20).hexdigest()


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """One operation that makes a result; see :mod:`rondel.engine.evaluate` for the operations.

    ``key`` identifies the result, in the process and in the store. ``inputs`` are evaluated
    first. ``params`` is whatever the operation understands. ``forces`` tells that reading
    any setting of a container that stands on this node must evaluate it (a command, an import).
    ``durable`` results are remembered in the store, for other sessions as well.
    """

    op: str
    key: str
    inputs: tuple[Fs, ...] = ()
    params: Any = None
    forces: bool = False
    durable: bool = True


@dataclass(frozen=True, slots=True)
class Fs:
    """A file system that a node makes: its main one, or another by the slot's name.

    A command has one slot for each mounted directory or file that it may write to:
    the mount's path. The slot "" is the root file system.
    """

    node: Node
    slot: str = field(default="")

    @property
    def key(self) -> str:
        """What stands for this file system in the keys of later operations."""
        return f"{self.node.key}:{self.slot}" if self.slot else self.node.key
