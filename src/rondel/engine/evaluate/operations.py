"""The operations that nodes name, and how they are registered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio.to_thread

from rondel.engine.evaluate.session import EDITS, OPERATIONS
from rondel.engine.values.node import Fs, Node, digest_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from rondel.engine.evaluate.session import Edit, Operation, Session
    from rondel.engine.store import Draft, OperationResult
    from rondel.errors import EngineError

    Work = Callable[[Draft, Node], None]


def operation(name: str) -> Callable[[Operation], Operation]:
    """Register the function that evaluates nodes of this operation."""

    def register(function: Operation) -> Operation:
        OPERATIONS[name] = function
        return function

    return register


def edit(name: str) -> Callable[[Edit], Edit]:
    """Register a function that changes its first input through a draft.

    Consecutive edits are applied to one draft and make one layer. So an edit may use its first
    input only through the draft. Further inputs are evaluated before.
    """

    def register(function: Edit) -> Edit:
        EDITS[name] = function
        return function

    return register


def long_edit(name: str) -> Callable[[Work], Work]:
    """Register an edit that may process many files: it runs in a thread.

    It receives only the draft and the node, and must not use the session.
    """

    def register(function: Work) -> Work:
        async def in_thread(session: Session, draft: Draft, node: Node) -> None:
            _ = session
            await anyio.to_thread.run_sync(function, draft, node)

        EDITS[name] = in_thread
        return function

    return register


def edited(op: str, base: Fs | None, *params: Any, key: str | None = None, inputs: tuple[Fs, ...] = ()) -> Fs:
    """The file system that an edit makes of a base (None: the empty one).

    Without ``key`` the parameters must be JSON-serialisable; the key is derived from them.
    """
    first = base or EMPTY
    inputs = (first, *inputs)
    if key is None:
        key = digest_of(op, [fs.key for fs in inputs], params)
    return Fs(Node(op, key, inputs, params, forces=any(fs.node.forces for fs in inputs)))


EMPTY = Fs(Node("empty", digest_of("empty"), durable=False))


def refused(error: EngineError, *above: Fs | None) -> Fs:
    """A file system that fails with an error when it is evaluated, after its inputs were evaluated."""
    inputs = tuple(fs for fs in above if fs is not None)
    key = digest_of("refused", str(error), [fs.key for fs in inputs])
    return Fs(Node("refused", key, inputs, error, forces=True, durable=False))


@operation("refused")
async def _refuse(session: Session, node: Node) -> OperationResult:
    raise node.params


@operation("empty")
async def _empty(session: Session, node: Node) -> OperationResult:
    return session.result()
