"""A project with versions to register and promote, for tests against a real MLflow server and the GitLab stub."""

from __future__ import annotations

import hashlib
import os
import subprocess
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import anyio

from rondel.registry.backends import Registry, registry_of
from rondel.registry.lineage import Lineage
from rondel.registry.promote import promote
from rondel.registry.register import ModelSource, register
from rondel.tracking import Endpoint, TrackingClient

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

ENVIRON = {
    name: value
    for name, value in os.environ.items()
    if name not in {"CI", "MLFLOW_TRACKING_URI", "DVC_REMOTE_URL"}
}


def git(root: Path, *words: str) -> str:
    command = ["git", "-c", "user.name=Ann", "-c", "user.email=ann@example.org", *words]
    return subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout.strip()


@asynccontextmanager
async def opened(endpoint: Endpoint) -> AsyncIterator[Registry]:
    async with TrackingClient(endpoint) as client:
        yield registry_of(client)


def on(endpoint: Endpoint, action: Callable[[Registry], Any]) -> Any:
    async def main() -> Any:
        async with opened(endpoint) as source:
            return await action(source)

    return anyio.run(main)


def lineage(project: Path, run: str, **changes: Any) -> Lineage:
    data = hashlib.md5(b"data", usedforsecurity=False).hexdigest()
    good = Lineage(
        run=run,
        pipeline="ci/main.py",
        git_commit=git(project, "rev-parse", "HEAD"),
        image="sha256:abc",
        capsule=f".rondel/runs/{run}",
        outputs={"data/prepared.parquet": f"md5:{data}"},
        params={"train.max_iter": 200},
        metrics={"roc_auc": 0.71, "roc_auc[origin=JFK]": 0.65},
        gate="passed",
        gate_rules=("passed: roc_auc >= 0.68 (0.71 is >= 0.68)",),
    )
    return replace(good, **changes)


async def new_version(source: Registry, project: Path, model: str, run: str, **changes: Any) -> str:
    experiment = await source.client.ensure_experiment("flights")
    handle = await source.client.create_run(experiment, name="train", tags={})
    origin = ModelSource(uri=handle.artifact_uri or "m", run_id=handle.run_id)
    version = await register(source, model, origin, lineage(project, run, **changes), who="ann")
    return version.version


async def logged_model(client: TrackingClient, experiment: str, run: str, name: str = "model") -> str:
    """A model as MLflow's client logs one; its id."""
    body = {"experiment_id": experiment, "name": name, "source_run_id": run}
    answer = await client.call("POST", "logged-models", body=body)
    model_id = str(answer["model"]["info"]["model_id"])
    await client.call("PATCH", f"logged-models/{model_id}", body={"model_id": model_id, "status": 2})
    return model_id


async def promoted(source: Registry, project: Path, model: str, **options: Any) -> Any:
    return await promote(source, model, root=project, environ=ENVIRON, who="ann", **options)
