"""Runs DVC stages of a project through `rondel.context`, without MLflow.

    python drive_data.py '{"root": …, "stages": […], "settings": {…}, "params": {…}, "dvc_stages": […]}'

Prints one JSON line for each stage, and ends like the SDK does: with the error's exit code.
"""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio


class Silent:
    """An observer that says what happens on stderr."""

    def stage_changed(self, record: Any) -> None:
        pass

    def step(self, stage: str, text: str) -> None:
        print(f"{stage}: {text}", file=sys.stderr, flush=True)

    def line(self, stage: str, text: str) -> None:
        print(f"{stage} | {text}", file=sys.stderr, flush=True)

    def note(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)


async def drive(job: dict[str, Any]) -> None:
    import dagger

    from rondel.context.contexts import open_contexts
    from rondel.pipeline import SourceLocation, Stage
    from rondel.record import Run, StageRecord, StageRecorder
    from rondel.settings import load_settings

    root = Path(job["root"])
    settings = replace(load_settings(root, {}, os.environ), **job.get("settings", {}))
    run_id = f"test-{time.time_ns()}"
    folder = root / ".rondel" / "runs" / run_id
    run = Run(
        id=run_id,
        root=root,
        folder=folder,
        created="now",
        dvc_stages=tuple(job.get("dvc_stages", job["stages"])),
    )

    async def body(ctx: Any) -> None:
        pass

    async with (
        dagger.connection(dagger.Config(retry=None)),
        open_contexts(
            run=run, settings=settings, client=dagger.dag, tracking=None, observer=Silent()
        ) as contexts,
    ):
        for name in job["stages"]:
            recorder = StageRecorder(
                StageRecord(name=name, kind="pure"), folder / "logs" / f"{name}.log", Silent()
            )
            stage = Stage(name=name, body=body, place=SourceLocation("ci/main.py", 1))
            params = job.get("params", {})
            ctx = await contexts.context(
                stage, given=params, recorder=recorder, mlflow_run=None, visibility=None
            )
            try:
                if "sh" in job:
                    done: Any = await ctx.sh(job["sh"], outputs=job.get("outputs", []))
                else:
                    done = (await ctx.dvc(name)).state
            except BaseException:
                await contexts.discard(ctx)
                raise
            await contexts.commit(ctx)
            record = recorder.record
            print(
                json.dumps(
                    {"stage": name, "state": done, "outputs": record.outputs, "metrics": record.metrics}
                ),
                flush=True,
            )


def main() -> int:
    from rondel.errors import RondelError

    try:
        anyio.run(drive, json.loads(sys.argv[1]))
    except RondelError as error:
        print(error.render(), file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
