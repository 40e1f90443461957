"""Registration: creates a version with its lineage, once for each run even if it is retried."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rondel.errors import DataError
from rondel.registry.aliases import check_alias, set_alias
from rondel.registry.lineage import REGISTRATION, SOURCE, Lineage, model_card
from rondel.tracking import TrackingRefused
from rondel.tracking.runs import tag_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rondel.registry.backends import Registry
    from rondel.registry.versions import ModelVersion
    from rondel.tracking import RunHandle, TrackingClient


_UNFINISHED = {"LOGGED_MODEL_UPLOAD_FAILED", "LOGGED_MODEL_PENDING"}


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelSource:
    """A model that a run logged: its address, the run, and the ID of the logged model, if it has one."""

    uri: str
    run_id: str
    model_id: str = ""


async def find_model(
    client: TrackingClient, runs: Iterable[RunHandle], *, artifact: str | None = None
) -> ModelSource:
    """The model of the last of these runs that logged one. Raises DataError if none did.

    ``artifact`` is its name if a run logged several. Runs that this server does not
    know, because they used another one, are skipped.
    """
    for given in reversed(list(runs)):
        run = given if given.experiment_id else await _known(client, given)
        if run is None:
            continue
        if client.endpoint.kind == "gitlab":
            return ModelSource(uri=run.artifact_uri, run_id=run.run_id)
        body = {"experiment_ids": [run.experiment_id], "filter": f"source_run_id = '{run.run_id}'"}
        try:
            found = await client.call("POST", "logged-models/search", body=body, repeatable=True)
        except TrackingRefused as refusal:
            if refusal.code == "ENDPOINT_NOT_FOUND":  # before MLflow 3, models are artifacts of runs
                return ModelSource(uri=f"runs:/{run.run_id}/{artifact or 'model'}", run_id=run.run_id)
            raise
        # Skip models that a process began to log and did not finish.
        models = [
            row["info"] for row in found.get("models") or [] if row["info"].get("status") not in _UNFINISHED
        ]
        if artifact:
            models = [info for info in models if info.get("name") == artifact]
        if models:
            newest = max(models, key=lambda info: int(info.get("creation_timestamp_ms") or 0))
            return ModelSource(
                uri=f"models:/{newest['model_id']}", run_id=run.run_id, model_id=str(newest["model_id"])
            )
    raise _no_model(client)


async def _known(client: TrackingClient, run: RunHandle) -> RunHandle | None:
    try:
        return (await client.get_run(run.run_id)).handle
    except TrackingRefused as refusal:
        if refusal.missing:
            return None
        raise


async def twin_runs(
    client: TrackingClient, experiment: str, stage: str, outputs: Mapping[str, str]
) -> list[RunHandle]:
    """Earlier runs of the same stage that made the same outputs, the newest last.

    If DVC restores an earlier result, the stage's command does not run and logs
    nothing: the run that first made the result logged the model.
    """
    if not outputs or client.endpoint.kind == "gitlab":
        return []
    wanted = {tag_name("dvc.out", path): digest for path, digest in outputs.items()}
    wanted["rondel.stage"] = stage
    terms = [f"tags.`{name}` = '{value}'" for name, value in wanted.items() if "'" not in value + name]
    found = await client.search_runs(experiment, " and ".join(terms))
    found.sort(key=lambda each: each.start_ms)
    return [each.handle for each in found]


async def register(
    registry: Registry,
    model: str,
    source: ModelSource,
    lineage: Lineage,
    *,
    who: str,
    alias: str | None = "challenger",
) -> ModelVersion:
    """Create a version and set the alias.

    If a version of the same model, commit, data and verdict exists, it is used
    instead: a crashed attempt and the run that repeats it register once.
    """
    if alias:
        check_alias(alias)  # before creating a version that nothing points at
    key = registration_key(source, lineage)
    version = None
    for known in await registry.versions(model):
        if known.tags.get(REGISTRATION) == key:
            version = known
            break
    if version is None:
        tags = {**lineage.tags(), REGISTRATION: key, SOURCE: source.uri}
        version = await registry.create(
            model,
            source=source.uri,
            run_id=source.run_id,
            model_id=source.model_id,
            tags=tags,
            card=model_card(model, lineage),
        )
    if alias:
        await set_alias(
            registry,
            model,
            alias=alias,
            new=version.version,
            who=who,
            action="register",
            reason=f"run {lineage.run}",
            run=lineage.run,
        )
        version = replace(version, aliases=tuple(sorted({*version.aliases, alias})))
    return version


def registration_key(source: ModelSource, lineage: Lineage) -> str:
    """A digest of what identifies a version.

    The run and the state of the tree are not part of it: a repeated run has
    another ID, and the first run's results are uncommitted changes in the tree.
    """
    same = {
        "model": source.model_id or source.run_id,
        "commit": lineage.git_commit,
        "data": [dict(lineage.inputs), dict(lineage.outputs)],
        "params": dict(lineage.params),
        "evaluation": dict(lineage.evaluation),
        "gate": lineage.gate,
    }
    return hashlib.sha256(json.dumps(same, sort_keys=True, default=str).encode()).hexdigest()


def _no_model(client: TrackingClient) -> DataError:
    return DataError(
        "there is no model to register",
        why=f"no earlier stage logged a model to {client.endpoint.uri}; "
        "a stage that was restored from the cache did not run, so it logged nothing.",
        hint="if another server has the model, run again with --no-cache; if training logs no model, add "
        "mlflow.sklearn.log_model(model, name='model')",
    )
