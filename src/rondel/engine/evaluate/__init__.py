"""From recipes to results: lazy nodes, each evaluated once.

How to add an operation (images, builds, git and services have their own modules)::

    from rondel.engine.evaluate import Session, operation
    from rondel.engine.values import Node, digest_of

    @operation("git-tree")
    async def git_tree(session: Session, node: Node) -> OperationResult:
        base = await session.snapshot(node.inputs[0])      # already evaluated: returns at once
        async with session.store.draft(base) as draft:
            ...
            return session.result(await draft.commit())

    def tree_of(url: str, commit: str) -> Fs:
        return Fs(Node("git-tree", digest_of("git-tree", url, commit), params=(url, commit)))

The key must contain everything that decides the result: equal keys are evaluated once,
even if several callers ask at the same time, and (``durable``) never again in any session
of the store. Register an operation that edits its input by a few file writes with
:func:`edit` instead: runs of edits are then applied in one layer.

``await session.snapshot(fs)`` evaluates and returns a Snapshot; ``await session.view(fs)``
a merged read-only view; ``await session.run(node)`` the whole OperationResult. For an object that
lives as long as the session (a pool, running services) use ``session.part(SomeClass)``: it is
created once as ``SomeClass(session)``, and closed at the end if it has ``aclose()``.
"""

# Importing these registers their operations.
from rondel.engine.evaluate import edits, execs, hostfiles, patches
from rondel.engine.evaluate.errors import ExecError, NotServed
from rondel.engine.evaluate.operations import edit, edited, operation
from rondel.engine.evaluate.session import Session
from rondel.engine.evaluate.single_flight import SingleFlight

__all__ = [
    "ExecError",
    "NotServed",
    "Session",
    "SingleFlight",
    "edit",
    "edited",
    "edits",
    "execs",
    "hostfiles",
    "operation",
    "patches",
]
