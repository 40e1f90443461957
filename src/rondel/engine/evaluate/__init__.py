"""From recipe to result: lazy nodes, each evaluated once.

How an operation is added (images, builds, git, services do it in modules of their own)::

    from rondel.engine.evaluate import Session, operation
    from rondel.engine.values import Node, digest_of

    @operation("git-tree")
    async def git_tree(session: Session, node: Node) -> Result:
        base = await session.snapshot(node.inputs[0])      # already evaluated: answers at once
        async with session.store.draft(base) as draft:
            ...
            return session.result(await draft.commit())

    def tree_of(url: str, commit: str) -> Fs:
        return Fs(Node("git-tree", digest_of("git-tree", url, commit), params=(url, commit)))

The key must hold everything that decides the result: equal keys are evaluated once,
however many ask at once, and (``durable``) never again in any session of the store.
An operation that edits its input by a few file writes registers with :func:`edit`
instead: runs of edits are then applied in one layer.

``await session.snapshot(fs)`` evaluates and answers a Snapshot; ``await session.view(fs)``
a merged read-only view; ``await session.run(node)`` the whole Result. Whatever lives as
long as the session (a pool, running services) is had by ``session.part(SomeClass)``: made
once as ``SomeClass(session)``, and closed at the end if it has ``aclose()``.
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
