"""Bare bubblewrap: one command with the very mounts that the engine gives it, and nothing around it."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import time
from pathlib import Path

import anyio

TIMES = 30


async def measure() -> dict[str, float]:
    """The best and the median time (seconds) of bwrap alone, started as the engine starts it."""
    from rondel.engine import namespace
    from rondel.engine.images.host import host_image
    from rondel.engine.sandbox import ExecSpec, Sandbox
    from rondel.engine.sandbox.command import NotStarted
    from rondel.engine.sandbox.prepare import prepare
    from rondel.engine.store import Store

    namespace.become_root()
    store = Store.open()
    try:
        sandbox = Sandbox(store)
        image = await host_image(store)
        spec = ExecSpec(root=image.snapshot, args=("sh", "-c", "echo 1 > /f1"), env={})
        spent = []
        for _ in range(TIMES):
            prepared = await prepare(store, sandbox.shared, spec)
            assert not isinstance(prepared, NotStarted)
            given: list[int] = []
            command = sandbox.shared.command(spec, prepared, given)
            started = time.perf_counter()
            subprocess.run(command, check=True, pass_fds=given, stdin=subprocess.DEVNULL)  # noqa: ASYNC221
            spent.append(time.perf_counter() - started)
            for descriptor in given:
                os.close(descriptor)
        return {"best": min(spent), "median": statistics.median(spent)}
    finally:
        store.close(sync=False)


if __name__ == "__main__":
    Path(os.environ["BENCH_ANSWER"]).write_text(json.dumps(anyio.run(measure)), encoding="utf-8")
