"""The services of a run: a Dagger client on the chosen engine, MLflow, and the run environment."""

from __future__ import annotations

import getpass
import os
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rondel.engines.discovery import running_engine
from rondel.engines.session import open_session
from rondel.errors import EngineUnavailable, RondelError
from rondel.record import Engine, MlflowRun
from rondel.runner.journal import now
from rondel.runner.slow_start import report_when_slow
from rondel.tracking import RunFacts, RunTree, StageFacts, TrackingClient, ensure_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping
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
"""Bytes up to which a run's capsule is logged to MLflow."""

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
        """Start the stage's nested MLflow run, and before the first one the parent."""
        handle = await self._tree.begin(_stage_facts(record))
        self._open[record.name] = handle
        parent = self._tree.parent
        if parent is not None and self._journal.capsule.mlflow is None:
            self._journal.change(mlflow=self._told(parent))
        return self._told(handle)

    def _told(self, handle: RunHandle) -> MlflowRun:
        """The run for the record: with its page's address, unless nobody who reads it could open that."""
        url = handle.url if self._tracking.readable else None
        return MlflowRun(run_id=handle.run_id, url=url, uri=self._tracking.uri)

    async def end(self, record: StageRecord) -> None:
        """End the stage's nested run with what the record says."""
        handle = self._open.pop(record.name, None)
        if handle is not None:
            status: Any = STATUS.get(record.state, "FAILED")
            tags, files = _verdicts(record)
            if files and self._gate_files is not None:
                files |= self._gate_files(record, self._journal.folder.path)
            if _only_served(record):
                # The command that would have logged them did not run.
                await self._mlflow.log(handle.run_id, metrics=record.metrics, params=record.parameters)
            await self._tree.end(
                handle,
                status,
                facts=_stage_facts(record),
                metrics=record.metrics,
                tags=tags,
                files=files,
            )


def _only_served(record: StageRecord) -> bool:
    """Whether the stage's commands did not run, because results of theirs hold."""
    outcomes = {command.outcome for command in record.commands}
    return bool(outcomes) and outcomes <= {"restored", "unchanged"}


def _verdicts(record: StageRecord) -> tuple[dict[str, str], dict[str, bytes]]:
    """The verdicts of a stage's gates as MLflow tags, and whole as files."""
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
    """An opener of services on the chosen engine.

    ``gate_files`` renders what MLflow keeps of a stage's gates, besides the verdict itself.
    """

    @asynccontextmanager
    async def open_services(run: Run, settings: Settings, journal: Journal) -> AsyncIterator[RunServices]:
        from anyio import to_thread

        async with AsyncExitStack() as stack:
            # First what starts by itself in the background, then the import of the client.
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
                await to_thread.run_sync(_warn_of_silence, journal)
            client = await stack.enter_async_context(_client())
            version = await report_when_slow(
                client.version(), lambda: journal.note("waiting for the engine to start")
            )
            tracking = await report_when_slow(
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
    """Whether the server's pages open for who reads this run's output: not another machine's loopback.

    A CI job's output is read elsewhere; a server that does not linger is gone by then.
    """
    if not tracking.endpoint.loopback:
        return True
    return not settings.ci and not (session.local and settings.linger == 0)


async def _close(tree: RunTree, journal: Journal) -> None:
    import anyio

    states = {record.state for record in journal.capsule.stages}
    ended: Any = (
        "FAILED" if "failed" in states else "KILLED" if states & {"cancelled", "running"} else "FINISHED"
    )
    with anyio.move_on_after(10, shield=True):
        await _keep_capsule(tree, journal, OUTCOMES[ended])
        await tree.close(ended)


async def _keep_capsule(tree: RunTree, journal: Journal, state: str) -> None:
    """Log the capsule, as far as it is known now, to the parent run: whoever sees that can reproduce this."""
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
        journal.note(f"the capsule was not logged to MLflow: {error.what}")


def _warn_of_silence(journal: Journal) -> None:
    reach = running_engine(os.environ)
    if reach is not None and (problem := reach.unanswered()):
        journal.note(f"{problem}; the Dagger CLI goes on trying for ten minutes")


@asynccontextmanager
async def _client() -> AsyncIterator[Any]:
    """A Dagger client. Its retries are off: they would run a failed command five times.

    Raises EngineUnavailable if no session comes about.
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
    """Why there is no session. What the engine itself says is told without the client's words around it."""
    said = str(error).strip() or type(error).__name__
    _, met, own = said.partition("introspection query: ")
    hint = "`rondel doctor` says what this machine can run"
    if not met:
        return EngineUnavailable("the engine does not answer", why=said, hint=hint)
    what, *lines = own.splitlines()
    hints = [line.strip().removeprefix("→ ") for line in lines if line.strip().startswith("→")]
    why = [line.strip() for line in lines if not line.strip().startswith("→")]
    return EngineUnavailable(what, why="\n".join(why) or None, hint=" ".join(hints) or hint)


def _facts(run: Run, journal: Journal) -> RunFacts:
    capsule = journal.capsule
    ci = capsule.ci
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    found = {"provider": ci.provider, "url": ci.url, "id": ci.id, "name": ci.name} if ci else {}
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
        ci={key: value for key, value in found.items() if value},
    )
