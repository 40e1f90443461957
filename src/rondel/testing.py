"""Fakes for testing pipelines without an engine; Rondel's own tests use them, too.

Nothing here runs a container or talks to a server, and all values that the
fakes return are marked as fake.
"""

from __future__ import annotations

import hashlib
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from rondel.cache import DvcCacheEntry, SharedParts, StageCacheEntry
from rondel.cache.entries import load_all_entries
from rondel.cache.lookup import CachedResult
from rondel.context import StageContext
from rondel.data import DvcStage
from rondel.data.visibility import Visibility
from rondel.errors import ConfigurationError, DataError, did_you_mean
from rondel.gates import Verdict
from rondel.operations.container.operation import UseContainer
from rondel.operations.dvc.commands import DvcOutcome
from rondel.operations.dvc.operation import DvcStageRun
from rondel.operations.gate.operation import Gate
from rondel.operations.project import DvcInputs, DvcResults
from rondel.operations.promote.operation import Promote
from rondel.operations.register.operation import Register
from rondel.operations.shell.operation import ShellCommand
from rondel.pipeline import Pipeline, Plan, Selection, make_plan
from rondel.record import Engine, Git, Image, KeyRecord, MlflowRun
from rondel.registry.promote import AliasChange
from rondel.registry.versions import ModelVersion
from rondel.settings import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from rondel.operations.operation import Operation
    from rondel.pipeline import Stage
    from rondel.record import Run, StageRecord, StageRecorder
    from rondel.runner.journal import Journal
    from rondel.runner.run import Result

    Answer = Callable[["RecordingContext"], Awaitable[Any]]

__all__ = [
    "FakeClient",
    "FakeContexts",
    "FakeProject",
    "FakeServices",
    "RecordingContext",
    "RecordingObserver",
    "plan_of",
    "run_with_fakes",
]


class FakeClient:
    """A fake Dagger client that records the requested fields."""

    def __init__(self, path: tuple[str, ...] = (), calls: list[tuple[str, ...]] | None = None) -> None:
        self._path = path
        self.calls: list[tuple[str, ...]] = [] if calls is None else calls

    def __getattr__(self, name: str) -> Callable[..., FakeClient]:
        if name.startswith("__"):
            raise AttributeError(name)

        def select(*_args: object, **_named: object) -> FakeClient:
            path = (*self._path, name)
            self.calls.append(path)
            return FakeClient(path, self.calls)

        return select

    def __await__(self) -> Any:
        raise RuntimeError(
            f"rondel.testing.FakeClient can't run containers; the pipeline awaits {'.'.join(self._path)}"
        )

    def __repr__(self) -> str:
        return f"<fake Dagger client at {'.'.join(self._path) or 'query'}>"


@dataclass
class FakeProject:
    """A project in memory; change its fields between runs to see what reruns.

    ``dvc`` maps dvc stages to their inputs, ``files`` maps workspace files to hashes.
    """

    root: Path
    dvc: dict[str, DvcInputs] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    recipe: dict[str, str] = field(default_factory=lambda: {"containerfile": "1"})
    champions: dict[str, str] = field(default_factory=dict)
    points: dict[str, dict[str, Any]] = field(default_factory=dict)
    machine: dict[str, str] = field(default_factory=lambda: {"distribution": "fake"})
    variables: dict[str, str] = field(default_factory=dict)
    lost: set[str] = field(default_factory=set)
    tree: Path | None = None
    head: str = ""

    @classmethod
    def like(cls, source: Path, root: Path) -> FakeProject:
        """A fake with the dvc stages, parameters and entry points of the project at ``source``.

        Runs are recorded in ``root``, an empty folder. Raises ConfigurationError
        for project files that can't be read.
        """
        from rondel.data import known_params, load_project
        from rondel.data.mlproject import entry_points

        project = load_project(source)
        found = {
            address: DvcInputs(
                command=" && ".join(stage.cmd),
                params=known_params(source, stage),
                outs={out.path: "fake" for out in stage.outs},
            )
            for address, stage in project.stages.items()
        }
        points = {name: dict(declared) for name, declared in entry_points(source).items()}
        return cls(root, dvc=found, points=points)

    def dvc_stages(self) -> tuple[str, ...]:
        """The names in ``dvc``."""
        return tuple(self.dvc)

    def dvc_inputs(self, name: str, overrides: Mapping[str, Any]) -> tuple[DvcInputs, ...]:
        """The inputs, with known parameters overridden."""
        if name not in self.dvc:
            raise ConfigurationError(f"dvc.yaml has no stage {name!r}", hint=did_you_mean(name, self.dvc))
        found = self.dvc[name]
        given = {key: value for key, value in overrides.items() if key in found.params}
        return (replace(found, address=name, params={**found.params, **given}),)

    def check_dvc(
        self, name: str, overrides: Mapping[str, Any], given: Mapping[str, Any] | None = None
    ) -> None:
        """Raise ConfigurationError unless the stage is in ``dvc``."""
        self.dvc_inputs(name, {**overrides, **(given or {})})

    def dvc_parameters(self, name: str) -> Mapping[str, Any]:
        """The stage's parameters."""
        return self.dvc[name].params

    def dvc_stage(self, name: str) -> DvcStage:
        """A dvc stage with that name and command."""
        return DvcStage(name=name, file="dvc.yaml", cmd=(self.dvc[name].command,))

    def dvc_outputs(self, name: str) -> tuple[str, ...]:
        """The outputs in ``dvc``."""
        return tuple(self.dvc[name].outs)

    def dvc_results(
        self,
        name: str,
        overrides: Mapping[str, Any],
        *,
        git: bool = False,
        shell_run: str | None = None,  # noqa: ARG002 - this fake compares inputs only
    ) -> DvcResults:
        """A result if a stage succeeded here with these inputs, unless the stage is in ``lost``."""
        if name in self.lost:
            return DvcResults(reason=f"the outputs of {name} are not in place")
        (wanted,) = self.dvc_inputs(name, overrides)
        commit = self.commit() if git else None
        if not any(self._made(cache_entry, wanted, commit) for cache_entry in load_all_entries(self.root)):
            return DvcResults(reason="no cached result")
        cache_entry = DvcCacheEntry(key=KeyRecord(digest=""), run="", address=name)
        return DvcResults(
            cached=(
                CachedResult(
                    stage=self.dvc_stage(name), cache_entry=cache_entry, entry={}, location="working tree"
                ),
            )
        )

    def _made(self, cache_entry: StageCacheEntry, wanted: DvcInputs, commit: str | None) -> bool:
        parts = cache_entry.key.parts
        return (
            commit in {None, parts.get("inputs", {}).get("git commit")}
            and parts.get("command", {}).get(f"dvc {wanted.address}") == wanted.command
            and wanted.files.items() <= parts.get("inputs", {}).items()
            and wanted.params.items() <= parts.get("parameters", {}).items()
            and parts.get("image", {}) == self.recipe
            and parts.get("environment", {}) == self.variables
        )

    def entry_of(self, stage: Stage, results: tuple[DvcResults, ...], key: KeyRecord) -> StageCacheEntry:  # noqa: ARG002
        """A cache entry with only the key."""
        return StageCacheEntry(key=key, run="", stage=stage.name)

    def succeeded_before(self, stage: Stage) -> bool:  # noqa: ARG002
        """False, so that rules are always parsed."""
        return False

    def entry_points(self) -> Mapping[str, Mapping[str, Any]]:
        """The entry points in ``points``."""
        return self.points

    def runs_script(self, name: str) -> bool:
        """Whether ``name`` is in ``files``."""
        return name in self.files

    def check_entry_point(self, name: str) -> None:
        """Accept every entry point."""

    def follow(self, records: Callable[[], Sequence[StageRecord]]) -> None:
        """Do nothing: in this fake, everything is visible."""

    def visibility(self, stage: Stage) -> Visibility:  # noqa: ARG002
        """Everything is visible."""
        return Visibility()

    def workspace(self, stage: Stage) -> Mapping[str, str]:  # noqa: ARG002
        """All of ``files``."""
        return self.files

    def file_hash(self, path: str) -> str | None:
        """The hash in ``files``."""
        return self.files.get(path)

    def metrics_hash(self, path: str) -> str:
        """The hash of an output in ``dvc``, else the hash in ``files``."""
        made = (each.outs[path] for each in self.dvc.values() if path in each.outs)
        return next(made, None) or self.files.get(path, "missing")

    def shared_parts(self) -> SharedParts:
        """``recipe``, ``machine`` and ``variables``."""
        return SharedParts(image=self.recipe, host=self.machine, environment=self.variables)

    def assume_restored(self, results: Iterable[DvcResults]) -> None:
        """Do nothing: results are always in place."""

    def champion(self, model: str) -> str | None:
        """The version in ``champions``."""
        return self.champions.get(model)

    def commit(self) -> str | None:
        """``head``, or a hash of ``files``."""
        return self.head or hashlib.sha1(repr(sorted(self.files.items())).encode()).hexdigest()  # noqa: S324

    def git(self) -> Git:
        """A clean tree at that commit."""
        return Git(commit=self.commit())

    def invalidate(self) -> None:
        """Do nothing: this fake caches nothing."""

    def save(self) -> None:
        """Do nothing: this fake caches nothing."""


class RecordingContext(StageContext):
    """A stage context that records operations instead of executing them.

    It has the methods of :class:`rondel.StageContext` with the same arguments.
    ``answers`` maps ``"kind name"`` (``"dvc train"``, ``"gate flight-delay"``)
    to an async function that is awaited instead, for example to fail, to wait,
    or to record metrics with ``ctx.recorder``. The method returns its result,
    unless that is None. ``container()`` returns a :class:`FakeClient`.
    """

    def __init__(
        self,
        stage: Stage,
        given: Mapping[str, Any],
        recorder: StageRecorder,
        *,
        run: Run,
        settings: Settings,
        answers: Mapping[str, Answer],
        mlflow_run: MlflowRun | None = None,
    ) -> None:
        self.stage = stage
        self.params = {**stage.variant, **given}
        self.recorder = recorder
        self.run = run
        self.settings = settings
        self.answers = answers
        self.mlflow_run = mlflow_run

    def container(self) -> Any:
        """A fake of the stage's container."""
        self._record(UseContainer.call())
        return FakeClient()

    async def perform(self, operation: Operation[Any]) -> Any:
        """Record the operation and await its answer."""
        self._record(operation)
        title = f"{operation.kind} {operation.name}".strip()
        self.recorder.step(title)
        answer = self.answers.get(title)
        result = await answer(self) if answer is not None else None
        return _fake_result(operation) if result is None else result

    async def failed(self, error: BaseException) -> None:
        """Do nothing: there is no container."""

    async def shell(self) -> bool:
        """False: there is no container to open a shell in."""
        return False


def _fake_result(operation: Operation[Any]) -> Any:
    """The result of an operation without an answer: a fake value of the right type."""
    if isinstance(operation, ShellCommand):
        return ""
    if isinstance(operation, DvcStageRun):
        return DvcOutcome(state="ran", made_by="fake")
    if isinstance(operation, Gate):
        return Verdict(passed=True, results=(), model=operation.model, source="fake")
    if isinstance(operation, Register):
        return ModelVersion(model=operation.model, version="1", source="fake")
    if isinstance(operation, Promote):
        model = operation.reference.partition("@")[0]
        return AliasChange(model=model, alias=operation.to, old="", new="1", entry=None)
    return None


@dataclass
class FakeContexts:
    """Makes :class:`RecordingContext` values and records which stages were committed and discarded."""

    answers: Mapping[str, Answer] = field(default_factory=dict)
    committed: list[str] = field(default_factory=list)
    discarded: list[str] = field(default_factory=list)
    refreshed: int = 0
    conflicts: set[str] = field(default_factory=set)
    run: Run | None = None
    settings: Settings | None = None

    async def context(
        self,
        stage: Stage,
        *,
        given: Mapping[str, Any],
        recorder: StageRecorder,
        mlflow_run: MlflowRun | None,
        visibility: Visibility | None,  # noqa: ARG002 - nothing is executed
    ) -> RecordingContext:
        """A recording context."""
        assert self.run is not None  # noqa: S101 - FakeServices.open set both
        assert self.settings is not None  # noqa: S101
        recorder.image(Image(reference="fake", source="fake"))
        return RecordingContext(
            stage,
            given,
            recorder,
            run=self.run,
            settings=self.settings,
            answers=self.answers,
            mlflow_run=mlflow_run,
        )

    async def commit(self, context: RecordingContext) -> None:
        """Record the commit; raises DataError for stages in ``conflicts``."""
        if context.stage.name in self.conflicts:
            raise DataError(f"{context.stage.name}: a file was changed meanwhile")
        self.committed.append(context.stage.name)

    async def discard(self, context: RecordingContext) -> None:
        """Record the discarded stage."""
        self.discarded.append(context.stage.name)

    async def refresh(self) -> None:
        """Count the call in ``refreshed``."""
        self.refreshed += 1


@dataclass
class FakeServices:
    """Services without engine and server; ``opened`` and ``closed`` count their use."""

    contexts: FakeContexts = field(default_factory=FakeContexts)
    engine: Engine = field(default_factory=lambda: Engine(kind="embedded", version="fake"))
    begun: list[str] = field(default_factory=list)
    ended: list[tuple[str, str]] = field(default_factory=list)
    opened: int = 0
    closed: int = 0

    async def begin(self, record: StageRecord) -> MlflowRun:
        """A fake MLflow run."""
        self.begun.append(record.name)
        return MlflowRun(run_id=f"fake-{record.name}")

    async def end(self, record: StageRecord) -> None:
        """Record the stage's final state."""
        self.ended.append((record.name, record.state))

    @asynccontextmanager
    async def open(
        self,
        run: Run,
        settings: Settings,
        journal: Journal,  # noqa: ARG002 - the runner passes it
    ) -> AsyncIterator[FakeServices]:
        """Open the services for a run."""
        self.opened += 1
        self.contexts.run, self.contexts.settings = run, settings
        try:
            yield self
        finally:
            self.closed += 1


@dataclass
class RecordingObserver:
    """An observer that records everything; ``events`` are ``(stage, what)`` pairs in order."""

    events: list[tuple[str, str]] = field(default_factory=list)
    lines: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def stage_changed(self, record: StageRecord) -> None:
        """Record a new state."""
        event = (record.name, record.state)
        if event not in self.events:
            self.events.append(event)

    def step(self, stage: str, text: str) -> None:
        """Record a step."""
        self.events.append((stage, f"step: {text}"))

    def line(self, stage: str, text: str) -> None:
        """Record a line."""
        self.lines.append((stage, text))

    def note(self, text: str) -> None:
        """Record a note."""
        self.notes.append(text)


def plan_of(pipeline: Pipeline, *targets: str, only: bool = False, from_: str | None = None) -> Plan:
    """The plan that ``python ci/main.py TARGETS…`` would make."""
    return make_plan(pipeline.stages(), Selection(targets=targets, only=only, from_=from_))


def run_with_fakes(
    pipeline: Pipeline,
    *targets: str,
    project: FakeProject,
    services: FakeServices | None = None,
    observer: RecordingObserver | None = None,
    settings: Settings | None = None,
    environ: Mapping[str, str] | None = None,
) -> Result:
    """Run a pipeline's functions in this process, with fakes for engine, MLflow server and DVC."""
    from rondel.runner.prepare import prepare_run
    from rondel.runner.run import run_plan

    settings = settings or Settings(root=project.root, name="fake", jobs=4)
    prepared = prepare_run(
        pipeline,
        Selection(targets=targets, only=settings.only, from_=settings.from_),
        settings,
        environ or {},
        file="ci/main.py",
        project=project,
    )
    opened = services or FakeServices()
    return run_plan(prepared, observer or RecordingObserver(), lambda: ("embedded", opened.open))
