"""The services of a run: a Dagger client on the chosen engine, MLflow, and the run environment."""

from __future__ import annotations

import getpass
import os
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from rondel.engines.discovery import running_engine
from rondel.engines.session import open_session
from rondel.errors import EngineUnavailable, RondelError
from rondel.record import Engine, MlflowRun
from rondel.runner.journal import now
from rondel.runner.signals import unwrap
from rondel.tracking import RunFacts, RunTree, StageFacts, TrackingClient, ensure_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
    from pathlib import Path

    from rondel.engines.choice import EngineChoice
    from rondel.record import Run, StageRecord
    from rondel.runner.interfaces import Contexts, OpenServices
    from rondel.runner.journal import Journal
    from rondel.settings import Settings
    from rondel.tracking import RunHandle, TrackingConnection
    from rondel.tracking.session import TrackingSession

    GateFiles = Callable[[StageRecord, Path], Mapping[str, bytes]]

LARGEST_CAPSULE = 64 << 20
"""Bytes; a larger capsule is not logged to MLflow."""

SLOW = 2.0
"""Seconds after which a note says what the run is waiting for."""

T = TypeVar("T")

OUTCOMES = {"FINISHED": "succeeded", "FAILED": "failed", "KILLED": "interrupted"}

STATUS = {"ran": "FINISHED", "restored": "FINISHED", "failed": "FAILED", "cancelled": "KILLED"}


class RunServices:
    """Engine, tracking and environment of one run; see :func:`services_on`."""

    def __init__(
        self,
        contexts: Contexts,
        engine: Engine,
        tree: RunTree,
        journal: Journal,
        *,
        client: TrackingClient,
        tracking: TrackingConnection,
        gate_files: GateFiles | None = None,
    ) -> None:
        self.contexts = contexts
        self.engine = engine
        self._tree = tree
        self._mlflow = client
        self._journal = journal
        self._tracking = tracking
        self._gate_files = gate_files
        self._open: dict[str, RunHandle] = {}

    async def begin(self, record: StageRecord) -> MlflowRun:
        """Start the stage's nested MLflow run; the first call starts the parent run, too."""
        handle = await self._tree.begin(_stage_facts(record))
        self._open[record.name] = handle
        parent = self._tree.parent
        if parent is not None and self._journal.capsule.mlflow is None:
            self._journal.change(mlflow=self._mlflow_run(parent))
        return self._mlflow_run(handle)

    def _mlflow_run(self, handle: RunHandle) -> MlflowRun:
        """The run for the record, with the URL of its page if readers of the record can open it."""
        url = handle.url if self._tracking.readable else None
        return MlflowRun(run_id=handle.run_id, url=url, uri=self._tracking.uri)

    async def end(self, record: StageRecord) -> None:
        """End the stage's nested run and log the results in the record to it."""
        handle = self._open.pop(record.name, None)
        if handle is not None:
            status: Any = STATUS.get(record.state, "FAILED")
            tags, files = _verdicts(record)
            if files and self._gate_files is not None:
                files |= self._gate_files(record, self._journal.folder.path)
            if _no_command_ran(record):
                # The stage's own command logs metrics and parameters, and it did not run.
                await self._mlflow.log(handle.run_id, metrics=record.metrics, params=record.parameters)
            await self._tree.end(
                handle,
                status,
                facts=_stage_facts(record),
                metrics=record.metrics,
                tags=tags,
                files=files,
            )


def _no_command_ran(record: StageRecord) -> bool:
    """Whether all results of the stage's commands were restored or unchanged."""
    outcomes = {command.outcome for command in record.commands}
    return bool(outcomes) and outcomes <= {"restored", "unchanged"}


def _verdicts(record: StageRecord) -> tuple[dict[str, str], dict[str, bytes]]:
    """The verdicts of a stage's gates as MLflow tags, and as files with all their details."""
    if not record.verdicts:
        return {}, {}
    import json
    from dataclasses import asdict

    from rondel.gates import Verdict

    tags: dict[str, str] = {}
    files: dict[str, bytes] = {}
    for number, each in enumerate(record.verdicts, start=1):
        verdict = Verdict.from_dict(asdict(each))
        tags |= verdict.tags()
        name = "gate/verdict.json" if number == 1 else f"gate/verdict-{number}.json"
        files[name] = json.dumps(verdict.to_dict(), indent=1).encode()
    if not all(each.passed for each in record.verdicts):
        tags["rondel.gate"] = "failed"
    return tags, files


def _stage_facts(record: StageRecord) -> StageFacts:
    image = (record.image.digest or record.image.reference) if record.image else ""
    return StageFacts(name=record.name, image=image, inputs=record.inputs, outputs=record.outputs)


def services_on(choice: EngineChoice, gate_files: GateFiles | None = None) -> OpenServices:
    """A function that opens the services of a run on the chosen engine.

    ``gate_files`` renders files about a stage's gates to log to MLflow, besides the verdict.
    """

    @asynccontextmanager
    async def open_services(run: Run, settings: Settings, journal: Journal) -> AsyncIterator[RunServices]:
        from anyio import to_thread

        async with AsyncExitStack() as stack:
            # Start the background processes before the slow import of the client.
            session = await stack.enter_async_context(
                ensure_server(
                    run.root,
                    os.environ,
                    experiment=settings.experiment or settings.name,
                    uri=settings.tracking_uri,
                    linger=0 if settings.ci else settings.linger,
                )
            )
            engine_session = stack.enter_context(open_session(choice, run.root, os.environ))
            stack.enter_context(engine_session.applied())
            if choice.kind == "dagger":
                await to_thread.run_sync(_warn_if_unreachable, journal)
            client = await stack.enter_async_context(_client())
            version = await call_when_slow(
                client.version(), lambda: journal.note("waiting for the engine to start")
            )
            tracking = await call_when_slow(
                session.ready(), lambda: journal.note("waiting for the MLflow server to start")
            )
            tracking = replace(tracking, readable=_readable(session, tracking, settings))
            mlflow = await stack.enter_async_context(TrackingClient(tracking.endpoint))
            tree = RunTree(
                mlflow, experiment=settings.experiment or settings.name, facts=_facts(run, journal)
            )
            from rondel.context.contexts import open_contexts

            contexts = await stack.enter_async_context(
                open_contexts(run=run, settings=settings, client=client, tracking=tracking, observer=journal)
            )
            engine = Engine(kind=choice.engine, version=version)
            try:
                yield RunServices(
                    contexts,
                    engine,
                    tree,
                    journal,
                    client=mlflow,
                    tracking=tracking,
                    gate_files=gate_files,
                )
            finally:
                await _close(tree, journal)

    return open_services


def _readable(session: TrackingSession, tracking: TrackingConnection, settings: Settings) -> bool:
    """Whether readers of this run's output can open the server's pages.

    Not if it listens on the loopback of a CI machine, or ends together with the run.
    """
    if not tracking.endpoint.loopback:
        return True
    return not settings.ci and not (session.local and settings.linger == 0)


async def _close(tree: RunTree, journal: Journal) -> None:
    import anyio

    states = {record.state for record in journal.capsule.stages}
    status: Any = (
        "FAILED" if "failed" in states else "KILLED" if states & {"cancelled", "running"} else "FINISHED"
    )
    with anyio.move_on_after(10, shield=True):
        await _log_capsule(tree, journal, OUTCOMES[status])
        await tree.close(status)


async def _log_capsule(tree: RunTree, journal: Journal, state: str) -> None:
    """Log the capsule to the parent run, so that others can reproduce the run from there."""
    import io

    from anyio import to_thread

    from rondel.record.archive import ARTIFACT, pack, secret_results

    def packed() -> bytes:
        out = io.BytesIO()
        capsule = journal.redacted(state=state, finished=now())
        omitted = secret_results(journal.folder, journal.masker)
        for name, reason in omitted.items():
            journal.note(f"{name} is left out of the capsule in MLflow: {reason}")
        pack(journal.folder, out, capsule, omitted=omitted)
        return out.getvalue()

    if tree.parent is None:
        return
    try:
        data = await to_thread.run_sync(packed)
        if len(data) <= LARGEST_CAPSULE:
            await tree.client.log_artifact(tree.parent, ARTIFACT, data)
    except RondelError as error:
        journal.note(f"can't log the capsule to MLflow: {error.what}")


def _warn_if_unreachable(journal: Journal) -> None:
    endpoint = running_engine(os.environ)
    if endpoint is not None and (problem := endpoint.unanswered()):
        journal.note(f"{problem}; the Dagger CLI keeps retrying for ten minutes")


@asynccontextmanager
async def _client() -> AsyncIterator[Any]:
    """A Dagger client. Its retries are off: they would run a failed command five times.

    Raises EngineUnavailable if the client can't open a session.
    """
    import dagger

    try:
        connection = dagger.connection(dagger.Config(retry=None))
        await connection.__aenter__()
    except (dagger.ClientError, OSError) as error:
        raise engine_error(error) from error
    try:
        yield dagger.dag
    finally:
        await connection.__aexit__(None, None, None)


def engine_error(error: Exception) -> EngineUnavailable:
    """Why the client can't open a session.

    The client's first query is an introspection query, and it wraps the engine's own error in its words.
    """
    text = str(error).strip() or type(error).__name__
    _, from_engine, message = text.partition("introspection query: ")
    hint = "`rondel doctor` shows what this machine can run"
    if not from_engine:
        return EngineUnavailable("the engine does not answer", why=text, hint=hint)
    what, *lines = message.splitlines()
    hints = [line.strip().removeprefix("→ ") for line in lines if line.strip().startswith("→")]
    why = [line.strip() for line in lines if not line.strip().startswith("→")]
    return EngineUnavailable(what, why="\n".join(why) or None, hint=" ".join(hints) or hint)


async def call_when_slow(work: Awaitable[T], callback: Callable[[], None], *, after: float = SLOW) -> T:
    """Await ``work``; call ``callback`` once if that takes longer than ``after`` seconds."""
    import anyio

    async def call_later() -> None:
        await anyio.sleep(after)
        callback()

    try:
        async with anyio.create_task_group() as group:
            group.start_soon(call_later)
            result = await work
            group.cancel_scope.cancel()
    except ExceptionGroup as error:
        raise unwrap(error) from None
    return result


def _facts(run: Run, journal: Journal) -> RunFacts:
    capsule = journal.capsule
    ci = capsule.ci
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    job = {"provider": ci.provider, "url": ci.url, "id": ci.id, "name": ci.name} if ci else {}
    return RunFacts(
        run_id=run.id,
        pipeline=capsule.pipeline,
        user=user,
        git_commit=capsule.git.commit,
        git_branch=capsule.git.branch,
        git_remote=capsule.git.remote_url,
        git_dirty=capsule.git.dirty,
        engine=run.engine,
        capsule=str(journal.folder.capsule.relative_to(run.root)),
        ci={key: value for key, value in job.items() if value},
    )
