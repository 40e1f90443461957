"""Recipes of file systems.

A node names an operation, its inputs and its parameters; its key identifies all of
them, so that equal keys mean equal results. Nothing runs until a caller asks the
evaluator for the node's result.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

MEANING = 4
"""Increased when the same call gets a new meaning, so that results with the old one are not reused."""


def digest_of(*parts: Any) -> str:
    """A short digest (40 hex digits) of JSON-serialisable parts; equal parts give equal digests."""
    text = json.dumps((MEANING, parts), ensure_ascii=True, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=20).hexdigest()


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """One operation that makes a result; see :mod:`rondel.engine.evaluate` for the operations.

    ``key`` identifies the result, in the process and in the store. ``inputs`` are evaluated
    first. ``params`` belong to the operation. ``forces`` says that reading any setting of a
    container based on this node must evaluate it (a command, an import). The store keeps
    ``durable`` results for other sessions.
    """

    op: str
    key: str
    inputs: tuple[Fs, ...] = ()
    params: Any = None
    forces: bool = False
    durable: bool = True


@dataclass(frozen=True, slots=True)
class Fs:
    """A file system that a node makes: its main one, or another one by slot name.

    A command has one slot for each mounted directory or file that it may write to:
    the mount's path. The slot "" is the root file system.
    """

    node: Node
    slot: str = field(default="")

    @property
    def key(self) -> str:
        """Identifies this file system in the keys of later operations."""
        return f"{self.node.key}:{self.slot}" if self.slot else self.node.key
