"""A pipeline run on the MLflow server: a parent run, with a nested run for each stage that ran."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    import anyio

    from rondel.tracking.client import RunHandle, RunStatus, TrackingClient

_SIGNS = frozenset("_-. /:")


@dataclass(frozen=True, kw_only=True, slots=True)
class RunFacts:
    """Tags of a pipeline run. ``capsule`` is the path of its record, relative to the project."""

    run_id: str
    pipeline: str
    user: str = ""
    git_commit: str | None = None
    git_branch: str | None = None
    git_remote: str | None = None
    git_dirty: bool = False
    engine: str = ""
    image: str = ""
    capsule: str = ""
    ci: Mapping[str, str] = field(default_factory=dict)
    extra: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class StageFacts:
    """Tags of a stage's run. ``inputs`` and ``outputs`` map paths to DVC's hashes."""

    name: str
    image: str = ""
    inputs: Mapping[str, str] = field(default_factory=dict)
    outputs: Mapping[str, str] = field(default_factory=dict)


def run_tags(facts: RunFacts) -> dict[str, str]:
    """The tags of the parent run and of every nested run, with MLflow's own names where they exist."""
    tags = {
        "mlflow.source.name": facts.pipeline,
        "mlflow.source.type": "PROJECT",
        "mlflow.user": facts.user,
        "mlflow.source.git.commit": facts.git_commit or "",
        "mlflow.source.git.branch": facts.git_branch or "",
        "mlflow.source.git.repoURL": facts.git_remote or "",
        "rondel.run": facts.run_id,
        "rondel.git.commit": facts.git_commit or "",
        "rondel.git.dirty": "true" if facts.git_dirty else "false",
        "rondel.engine": facts.engine,
        "rondel.image": facts.image,
        "rondel.capsule": facts.capsule,
    }
    tags |= {f"rondel.ci.{name}": value for name, value in facts.ci.items()}
    if facts.ci.get("provider") == "gitlab" and facts.ci.get("id"):
        tags["gitlab.CI_JOB_ID"] = facts.ci["id"]  # with this tag, GitLab links the run to its job
    tags |= facts.extra
    return {name: value for name, value in tags.items() if value}


def stage_tags(facts: StageFacts) -> dict[str, str]:
    """The tags that a stage's run has in addition to those of the pipeline run."""
    tags = {"rondel.stage": facts.name}
    if facts.image:
        tags["rondel.image"] = facts.image
    tags |= {tag_name("dvc.in", path): value for path, value in facts.inputs.items()}
    tags |= {tag_name("dvc.out", path): value for path, value in facts.outputs.items()}
    return tags


def tag_name(prefix: str, path: str) -> str:
    """The name of a tag for a path, in the characters and the length that MLflow accepts."""
    clean = "".join(sign if sign.isalnum() or sign in _SIGNS else "_" for sign in path)
    return f"{prefix}.{clean}"[:250]


class RunTree:
    """The parent run and its nested runs.

    The first stage that begins creates the parent run, so a pipeline run in which
    nothing runs creates nothing on the server.
    """

    def __init__(self, client: TrackingClient, *, experiment: str, facts: RunFacts) -> None:
        self.client = client
        self._experiment = experiment
        self._facts = facts
        self._parent: RunHandle | None = None
        self._lock: anyio.Lock | None = None
        self._open: dict[str, RunHandle] = {}

    @property
    def parent(self) -> RunHandle | None:
        """The parent run; None before a stage has begun."""
        return self._parent

    async def ensure_parent(self) -> RunHandle:
        """The parent run. The first call creates it, also if several stages begin at once."""
        import anyio

        if self._lock is None:
            self._lock = anyio.Lock()
        async with self._lock:
            if self._parent is None:
                experiment = await self.client.ensure_experiment(self._experiment)
                self._parent = await self.client.create_run(
                    experiment, name=self._facts.run_id, tags=run_tags(self._facts)
                )
            return self._parent

    async def begin(self, facts: StageFacts) -> RunHandle:
        """Start the nested run of a stage."""
        parent = await self.ensure_parent()
        tags = {**run_tags(self._facts), **stage_tags(facts)}
        run = await self.client.create_run(
            parent.experiment_id, name=facts.name, tags=tags, parent=parent.run_id
        )
        self._open[run.run_id] = run
        return run

    async def end(
        self,
        run: RunHandle,
        status: RunStatus,
        *,
        facts: StageFacts | None = None,
        metrics: Mapping[str, float] | None = None,
        tags: Mapping[str, str] | None = None,
        files: Mapping[str, bytes] | None = None,
    ) -> None:
        """End a stage's run. The parent also gets the metrics and ``tags``, because people compare parents.

        ``files`` are stored with the stage's run if the server accepts files.
        """
        mine = {**(stage_tags(facts) if facts is not None else {}), **(tags or {})}
        if mine:
            await self.client.log(run.run_id, tags=mine)
        for name, content in (files or {}).items():
            await self.client.log_artifact(run, name, content)
        if (metrics or tags) and self._parent is not None:
            await self.client.log(self._parent.run_id, metrics=metrics, tags=tags)
        await self.client.end_run(run.run_id, status)
        self._open.pop(run.run_id, None)

    async def close(self, status: RunStatus, *, tags: Mapping[str, str] | None = None) -> None:
        """End the parent run. Stage runs that are still open were stopped, so they end as KILLED."""
        if self._parent is None:
            return
        for run in list(self._open.values()):
            await self.client.end_run(run.run_id, "KILLED")
        self._open.clear()
        if tags:
            await self.client.log(self._parent.run_id, tags=tags)
        await self.client.end_run(self._parent.run_id, status)
