"""One session: the store, the sandbox, what its client gave it, and the evaluation of nodes."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast

from rondel.engine.evaluate.live_output import LiveOutput
from rondel.engine.evaluate.single_flight import SingleFlight
from rondel.engine.store import OperationResult, Snapshot, Store, View

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from anyio.abc import TaskGroup

    from rondel.engine.sandbox import Sandbox
    from rondel.engine.store import Draft
    from rondel.engine.values import Container, Fs, Node

    Operation = Callable[["Session", Node], Awaitable[OperationResult]]
    Edit = Callable[["Session", Draft, Node], Awaitable[None]]

OPERATIONS: dict[str, Operation] = {}
"""The function that evaluates each operation; :mod:`rondel.engine.evaluate.operations` registers them."""
EDITS: dict[str, Edit] = {}
"""The operations that change their first input through a draft."""

T = TypeVar("T")
_NOTHING = Snapshot()
_LONGEST_RUN = 100  # edits that make one layer


class _Closing(Protocol):
    async def aclose(self) -> None: ...


@dataclass(eq=False)
class Session:
    """What the resolvers of one session share.

    ``workdir`` is the client's directory, the base of relative host paths; ``environ`` is its
    environment, the source of ``env://`` secrets. ``tasks`` is the engine's task group:
    its tasks live as long as the engine.
    """

    store: Store
    sandbox: Sandbox
    tasks: TaskGroup
    workdir: Path = field(default_factory=Path.cwd)
    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    platform: str = field(default_factory=lambda: own_platform())  # noqa: PLW0108 - defined below
    secrets: dict[str, bytes] = field(default_factory=dict)
    notify: Callable[[str], None] = field(default=lambda _line: None)
    live: LiveOutput = field(default_factory=LiveOutput)
    _parts: dict[type, Any] = field(default_factory=dict)
    _results: dict[str, OperationResult] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.single_flight = SingleFlight(self.tasks)

    def part(self, kind: type[T]) -> T:
        """The session's only instance of a class that takes the session as its only argument."""
        found = self._parts.get(kind)
        if found is None:
            found = self._parts[kind] = cast("Callable[[Session], T]", kind)(self)
        return cast("T", found)

    async def aclose(self) -> None:
        """Close the parts in reverse order of their creation."""
        for part in reversed(self._parts.values()):
            if hasattr(part, "aclose"):
                await cast("_Closing", part).aclose()

    def result(self, snapshot: Snapshot = _NOTHING, **more: Any) -> OperationResult:
        """A result with the current time."""
        return OperationResult(snapshot=snapshot, created=time.time(), **more)

    async def snapshot(self, fs: Fs | None) -> Snapshot:
        """The snapshot of a file system; None is the empty one. Raises what its operations raise."""
        if fs is None:
            return Snapshot()
        result = await self.run(fs.node)
        return result.mounts[fs.slot] if fs.slot else result.snapshot

    async def view(self, fs: Fs | None) -> View:
        """The merged tree of a file system."""
        return self.store.view(await self.snapshot(fs))

    async def run_pending(self, container: Container) -> None:
        """Run the commands that a container depends on, as reading its settings does."""
        for fs in container.pending:
            await self.run(fs.node)

    async def run(self, node: Node) -> OperationResult:
        """A node's result: from memory, from an evaluation in progress, or evaluated now with its inputs.

        The recursion over inputs is unrolled, so that chains may have any length.
        """
        known = self._known(node)
        if known is not None:
            return known
        pending = self._pending(node)
        for earlier in pending[:-1]:
            if self._known(earlier) is None:
                await self._fly(earlier)
        return await self._fly(node)

    async def _fly(self, node: Node) -> OperationResult:
        return await self.single_flight.do(node.key, lambda: self._evaluate(node))

    def _known(self, node: Node) -> OperationResult | None:
        """The result in memory, unless something that it depends on is gone."""
        found = self._results.get(node.key)
        if found is not None and not self.store.holds(found):
            del self._results[node.key]
            return None
        return found

    def _recall(self, node: Node) -> OperationResult | None:
        """The result if this session or the store has it."""
        found = self._known(node)
        if found is None and node.durable:
            found = self.store.result(node.key)
            if found is not None:
                self._results[node.key] = found
        return found

    def _pending(self, node: Node) -> list[Node]:
        """What must be evaluated for a node, inputs first, the node last; a run of edits counts as one."""
        order: list[Node] = []
        seen: set[str] = set()
        stack: list[tuple[Node, bool]] = [(node, False)]
        while stack:
            current, expanded = stack.pop()
            if expanded:
                order.append(current)
                continue
            if current.key in seen or (current is not node and self._recall(current) is not None):
                continue
            seen.add(current.key)
            if current is node and self._recall(current) is not None:
                return [node]
            stack.append((current, True))
            stack.extend((fs.node, False) for fs in reversed(self._inputs(current)))
        return order

    def _inputs(self, node: Node) -> list[Fs]:
        """The inputs of a node, or those of the whole run of edits that it ends."""
        if node.op not in EDITS:
            return list(node.inputs)
        run = self._edit_run(node)
        return [run[0].inputs[0], *(fs for step in run for fs in step.inputs[1:])]

    def _edit_run(self, node: Node) -> list[Node]:
        """The edits, oldest first, that are applied together to make this node."""
        run = [node]
        while len(run) < _LONGEST_RUN:
            base = run[-1].inputs[0]
            below = base.node
            if base.slot or below.op not in EDITS or below.key in self.single_flight:
                break
            if self._recall(below) is not None:
                break
            run.append(below)
        return run[::-1]

    async def _evaluate(self, node: Node) -> OperationResult:
        found = self._recall(node)
        if found is not None:
            return found
        if node.op in EDITS or not node.durable:
            return await self._work(node)
        # If another session evaluates it already, wait instead of doing it twice.
        async with self.store.lock(f"operation {node.key}"):
            return self._recall(node) or await self._work(node)

    async def _work(self, node: Node) -> OperationResult:
        result = await (self._apply(node) if node.op in EDITS else OPERATIONS[node.op](self, node))
        self._results[node.key] = result
        if node.durable:
            self.store.record(node.key, result)
        return result

    async def _apply(self, node: Node) -> OperationResult:
        run = self._edit_run(node)
        base = await self.snapshot(run[0].inputs[0])
        async with self.store.draft(base) as draft:
            for step in run:
                await EDITS[step.op](self, draft, step)
            return self.result(await draft.commit())


def own_platform() -> str:
    """The platform of this machine as images name it, such as ``linux/amd64``."""
    machine = os.uname().machine
    names = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm/v7", "i686": "386"}
    return f"linux/{names.get(machine, machine)}"
