"""Runs an entry point of ``MLproject`` with MLflow, in the stage's container and MLflow run."""

from __future__ import annotations

import shlex
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from rondel.environment import WORK
from rondel.errors import RondelError
from rondel.operations.commands import run_command

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from rondel.operations.runtime import StageRuntime


async def run_entry_point(runtime: StageRuntime, entry_point: str, parameters: Mapping[str, Any]) -> None:
    """Run the entry point; ``-P`` and matrix values override ``parameters``. Raises StageFailed."""
    values = {**parameters, **runtime.params}
    args = ["mlflow", "run", ".", "--entry-point", entry_point, "--env-manager", "local"]
    for name, value in sorted(values.items()):
        args += ["-P", f"{name}={value}"]
    await _log_arguments(runtime, entry_point, values)
    script = f'exec {shlex.join(args)} ${{MLFLOW_RUN_ID:+--run-id "$MLFLOW_RUN_ID"}}'
    async with _as_project(runtime):
        await run_command(runtime, ["sh", "-c", script], shown=args)


async def _log_arguments(runtime: StageRuntime, entry_point: str, values: Mapping[str, Any]) -> None:
    """Log the entry point and its parameters with defaults: MLflow does so only for runs it creates."""
    from anyio import to_thread

    from rondel.data.mlproject import entry_points, parameters
    from rondel.tracking import TrackingClient

    declared = (await to_thread.run_sync(entry_points, runtime.run.root)).get(entry_point, {})
    defaults = {each.name: each.default for each in parameters(declared) if not each.required}
    used = {**defaults, **values}
    runtime.recorder.parameters(used)
    run, tracking = runtime.recorder.record.mlflow, runtime.environment.tracking
    if run is None or tracking is None:
        return
    try:
        async with TrackingClient(tracking.endpoint) as client:
            await client.log(run.run_id, params=used, tags={"mlflow.project.entryPoint": entry_point})
    except RondelError as error:
        # MLflow refuses a second value for a parameter; a stage may run an entry point twice.
        runtime.recorder.output(f"can't log the parameters to MLflow: {error.what}")


@asynccontextmanager
async def _as_project(runtime: StageRuntime) -> AsyncIterator[None]:
    """While MLflow runs, replace ``MLproject`` by a copy without ``docker_env``.

    MLflow would start a Docker container, and this container already is the stage's.
    """
    from anyio import to_thread

    from rondel.data.mlproject import mlproject_for_container

    copy = await to_thread.run_sync(mlproject_for_container, runtime.run.root)
    if copy is None:
        yield
        return
    for name, value in copy.environment.items():
        runtime.container = runtime.container.with_env_variable(name, value)
    passed = {*runtime.settings.environment, *runtime.settings.secrets}
    if missing := [name for name in copy.from_host if name not in passed]:
        runtime.recorder.output(
            f"docker_env in MLproject copies {', '.join(missing)} from the host; to pass that to a stage, "
            "add it to `environment` or `secrets` in [tool.rondel]"
        )
    if copy.ignores_volumes:
        runtime.recorder.output("the volumes of docker_env in MLproject are not mounted")
    runtime.container = runtime.container.with_new_file(f"{WORK}/{copy.name}", copy.text)
    yield
    runtime.container = runtime.container.with_new_file(f"{WORK}/{copy.name}", copy.before)
