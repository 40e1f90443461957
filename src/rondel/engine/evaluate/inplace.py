"""Images for commands that run in place: this container must already be the requested image."""

from __future__ import annotations

import filecmp
import os
from pathlib import Path
from typing import TYPE_CHECKING

from rondel.engine.evaluate.operations import operation
from rondel.engine.inplace import NOT_IN_PLACE, InPlaceSandbox
from rondel.engine.values import Fs, Node, digest_of
from rondel.errors import EngineError

if TYPE_CHECKING:
    from rondel.engine.evaluate.session import Session
    from rondel.engine.store import OperationResult, Snapshot


def runs_in_place(session: Session) -> bool:
    """Whether this session's commands run directly on the machine."""
    return isinstance(session.sandbox, InPlaceSandbox)


def machine(session: Session) -> Fs:
    """The machine's own file system. Its key is valid in this session only: the machine may change."""
    return Fs(
        Node(
            "in-place",
            digest_of("in-place", id(session), os.getpid(), str(session.store.scratch)),
            durable=False,
        )
    )


def confirm_copy(session: Session, before: Snapshot, after: Snapshot, line: str) -> int:
    """Check that a COPY of a Containerfile would change nothing here; returns how many files were compared.

    Raises EngineError with the first file that differs: then this container is another image.
    """
    compared = 0
    for layer in after.layers[len(before.layers) :]:
        root = session.store.layers.path(layer)
        for base, _, files in os.walk(root):
            for name in files:
                own, real = Path(base, name), Path("/", os.path.relpath(f"{base}/{name}", root))
                if own.is_symlink():
                    continue
                compared += 1
                if not real.is_file() or not filecmp.cmp(own, real, shallow=False):
                    raise EngineError(
                        f"this job's container is not the image of {line}: {real} is another file",
                        hint=f"run the job in the image that this Containerfile makes; {NOT_IN_PLACE}",
                    )
    return compared


@operation("in-place")
async def _in_place(session: Session, node: Node) -> OperationResult:
    _ = node
    sandbox = session.sandbox
    if not isinstance(sandbox, InPlaceSandbox):
        raise EngineError("this file system belongs to a session that ran in place")
    return session.result(await sandbox.base())
