"""What it costs that the engine tells which files a command opened: the same commands, traced and not."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

import anyio

from benchmarks.harness import TOP, save

if TYPE_CHECKING:
    from rondel.engine.sandbox import ExecSpec, Sandbox
    from rondel.engine.store import Snapshot, Store

FILES, FOLDERS = 5000, 100
ROUNDS = 25
NOTE = """\
A command on the embedded engine's sandbox with and without its workspace being traced, by turns in one run, 25 times
each; the medians are compared, and of processor time, which says more than the clock on a machine that has
other things to do. The workspace has 5,000 files in 100 folders, or 200 in 20. The stage imports
scikit-learn and pandas, reads a table of the workspace and fits a model. What the engine needs more is before
the command (a watch on each folder) and beside it; the command's own difference is as small as chance."""
READ_ALL = """\
import os
for folder, _, names in os.walk("/work/src"):
    for name in names:
        with open(f"{folder}/{name}") as file:
            file.read()
"""
STAGE = """\
import pandas
from sklearn.ensemble import RandomForestClassifier
table = pandas.read_parquet("/work/table.parquet")
model = RandomForestClassifier(n_estimators=10, n_jobs=1, random_state=1)
model.fit(table[["a", "b", "c"]], table["y"])
"""
TELL = "\nimport time; print(time.process_time())\n"


def measure() -> None:
    """Measure in a process of its own, which becomes root of a namespace."""
    with tempfile.TemporaryDirectory() as folder:
        found = _in_a_process(Path(folder))
    rows: list[tuple[str, float | str, str]] = []
    for what, each in found.items():
        rows.append((what, each["wall"], "ms"))
        rows.append((f"{what}: the engine's processor time, more if traced", _more(each, "engine"), "ms"))
        if each["command"]:
            rows += [
                (f"{what}: the command's processor time", each["command"], "ms"),
                (f"{what}: the same, more if traced", _more(each, "command"), "ms"),
                (
                    f"{what}: the engine's more / the command's",
                    _more(each, "engine") / each["command"] * 100,
                    "%",
                ),
            ]
    save("trace", rows, NOTE)


def _more(each: dict[str, float], part: str) -> float:
    return each[f"traced {part}"] - each[part]


def _in_a_process(folder: Path) -> dict[str, dict[str, float]]:
    """What this module measures as a program."""
    answer = folder / "answer.json"
    own = {"RONDEL_ENGINE_HOME": str(folder / "store"), "BENCH_ANSWER": str(answer), "PYTHONPATH": str(TOP)}
    subprocess.run([sys.executable, "-m", "benchmarks.trace"], check=True, env={**os.environ, **own})
    found: dict[str, dict[str, float]] = json.loads(answer.read_text(encoding="utf-8"))
    return found


async def _workspace(store: Store, base: Snapshot, files: int, folders: int) -> Snapshot:
    import pandas as pd
    from numpy.random import default_rng

    numbers = default_rng(1).random((20_000, 3))
    table = pd.DataFrame(numbers, columns=["a", "b", "c"])
    table["y"] = (table["a"] + table["b"] > 1).astype(int)
    async with store.draft(base) as draft:
        for number in range(files):
            draft.write(f"/work/src/{number % folders}/{number}.txt", b"some text\n" * 20)
        with tempfile.NamedTemporaryFile(suffix=".parquet") as file:
            table.to_parquet(file.name)
            draft.write("/work/table.parquet", Path(file.name).read_bytes())
        return await draft.commit()


async def _by_turns(sandbox: Sandbox, plain: ExecSpec) -> dict[str, float]:
    """The medians (ms) of what a command takes as it is and traced."""
    from dataclasses import replace

    taken: dict[str, list[float]] = defaultdict(list)
    for number in range(ROUNDS + 1):
        for kind in ("", "traced ") if number % 2 else ("traced ", ""):
            used, started = time.process_time(), time.perf_counter()
            outcome = await sandbox.run(replace(plain, trace="/work" if kind else ""))
            spent = {
                f"{kind}wall": time.perf_counter() - started,
                f"{kind}engine": time.process_time() - used,
                f"{kind}command": float(outcome.stdout.data or 0),
            }
            assert outcome.exit_code == 0, outcome.stderr.data
            assert not kind or (outcome.opened and not outcome.opened.unknown)
            for what, seconds in spent.items() if number else ():  # the first round warms what both use
                taken[what].append(seconds * 1000)
    return {what: statistics.median(each) for what, each in taken.items()}


async def _measure() -> dict[str, dict[str, float]]:
    from rondel.engine import namespace
    from rondel.engine.images.host import host_image
    from rondel.engine.sandbox import BindMount, ExecSpec, Sandbox
    from rondel.engine.store import Store

    namespace.become_root()
    store = Store.open(Path(os.environ["RONDEL_ENGINE_HOME"]))
    try:
        sandbox = Sandbox(store)
        base = (await host_image(store)).snapshot
        large = await _workspace(store, base, FILES, FOLDERS)
        small = await _workspace(store, base, 200, 20)
        places = dict.fromkeys([sys.base_prefix, sys.prefix, str(TOP)])
        mounts = tuple(BindMount(path=place, source=Path(place)) for place in places)

        def spec(root: Snapshot, *args: str) -> ExecSpec:
            return ExecSpec(root=root, args=args, env={"PYTHONDONTWRITEBYTECODE": "1"}, mounts=mounts)

        return {
            "true, 200 files there": await _by_turns(sandbox, spec(small, "true")),
            "true, 5,000 files there": await _by_turns(sandbox, spec(large, "true")),
            "reading 5,000 files": await _by_turns(
                sandbox, spec(large, sys.executable, "-c", READ_ALL + TELL)
            ),
            "a stage, 200 files there": await _by_turns(
                sandbox, spec(small, sys.executable, "-c", STAGE + TELL)
            ),
            "a stage, 5,000 files there": await _by_turns(
                sandbox, spec(large, sys.executable, "-c", STAGE + TELL)
            ),
        }
    finally:
        store.close(sync=False)


if __name__ == "__main__":
    Path(os.environ["BENCH_ANSWER"]).write_text(json.dumps(anyio.run(_measure)), encoding="utf-8")
