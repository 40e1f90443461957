"""The reference pipeline: fresh, with a changed parameter, with nothing to do, and its memory."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from typing import TYPE_CHECKING

from benchmarks.harness import clean_clone, inside, save, stopped_afterwards, tree_memory

if TYPE_CHECKING:
    from benchmarks.harness import Clone

TIMES = 3
PIPELINE = ("python", "ci/main.py")


def fresh() -> None:
    """``make train`` in a clean clone with empty caches, split into set-up, image and stages."""
    with clean_clone() as clone:
        setup = clone.run("make", ".venv/setup/train").seconds
        train = clone.run("make", "train").seconds
        capsule = clone.capsule()
        stages = {record["name"]: record["seconds"] for record in capsule["stages"]}
        again = clone.run("make", "train").seconds
    rows: list[tuple[str, float | str, str]] = [
        ("set-up: virtual environment from the lock", setup, "s"),
        ("pipeline: engine, server, image, stages", train, "s"),
        *(
            (f"  of which stage {name} (the first one waits for the image)", seconds, "s")
            for name, seconds in stages.items()
        ),
        ("together", setup + train, "s"),
        ("`make train` once more, nothing changed", again, "s"),
    ]
    save("fresh", rows, "Fresh `make train`: clean clone, empty HOME, empty caches, downloads included.")


def warm() -> None:
    """``--only train`` with a changed parameter against the bare entry point, on one MLflow server."""
    with clean_clone() as clone:
        _ready(clone)
        clone.run("dvc", "pull", "--quiet", changes=inside(clone))
        server = {"MLFLOW_TRACKING_URI": _server(clone), "MLFLOW_EXPERIMENT_NAME": "bench"}
        runs, bare, through = iter(range(201, 300)), [], []
        for _ in range(TIMES):
            entry = ("python", "-m", "workload.train", "--max-iter", str(next(runs)))
            bare.append(clone.run(*entry, changes={**inside(clone), **server}))
            override = f"train.max_iter={next(runs)}"
            through.append(clone.run(*PIPELINE, "--only", "train", "-P", override, changes=inside(clone)))
    host, pipeline = min(run.seconds for run in bare), min(run.seconds for run in through)
    rows: list[tuple[str, float | str, str]] = [
        ("bare entry point on the host", host, "s"),
        ("`python ci/main.py --only train -P train.max_iter=…`", pipeline, "s"),
        ("allowed: 1.25 × bare + 2 s", 1.25 * host + 2, "s"),
        ("ratio", pipeline / host, "×"),
    ]
    save("warm", rows, f"A changed model parameter, tracking server up, best of {TIMES}.")


def idle() -> None:
    """Nothing changed: the pipeline against ``dvc repro`` on the same tree."""
    with clean_clone() as clone:
        _ready(clone)
        clone.run("dvc", "pull", "--quiet", changes=inside(clone))
        nothing = clone.best(*PIPELINE, "train", changes=inside(clone))
        dvc = clone.best("dvc", "repro", "train", changes=inside(clone))
        imported = clone.run(
            "python", "-X", "importtime", *PIPELINE[1:], "train", changes=inside(clone)
        ).output
    heavy = [
        name for name in ("dagger", "mlflow", "dvc", "rich", "httpx")
        if any(line.rpartition("|")[2].strip() == name for line in imported.splitlines())
    ]  # fmt: skip
    rows: list[tuple[str, float | str, str]] = [
        ("`python ci/main.py train`", nothing, "s"),
        ("`dvc repro train`", dvc, "s"),
        ("heavy packages imported by the pipeline", ", ".join(heavy) or "none", ""),
    ]
    save("idle", rows, "Nothing changed, best of 5.")


def memory() -> None:
    """The most memory that SDK and engine have together while a stage runs (without the stage itself)."""
    with clean_clone() as clone:
        _ready(clone)
        command = [*PIPELINE, "--only", "train", "-P", "train.max_iter=222"]
        process = subprocess.Popen(
            command, cwd=clone.path, env={**clone.environment, **inside(clone)}, start_new_session=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        most, parts = 0.0, [""]
        with stopped_afterwards(process):
            ended = threading.Event()
            threading.Thread(target=_tell, args=(process, ended), daemon=True).start()
            while not ended.wait(0.2):
                total, names = _ours(process.pid)
                if total > most:
                    most, parts = total, names
    rows: list[tuple[str, float | str, str]] = [("SDK and engine together, at most", most, "MB")]
    rows += [(f"  {part.split(' MB ', 1)[1]}", part.split(" MB ")[0], "MB") for part in parts]
    save("memory", rows, "Proportional set size of the run's processes outside containers while `train` ran.")


def _tell(process: subprocess.Popen[bytes], ended: threading.Event) -> None:
    process.wait()
    ended.set()


def _ours(pid: int) -> tuple[float, list[str]]:
    """Memory of what is the SDK's or the engine's: not of what runs inside a container."""
    _, names = tree_memory(pid)
    own = [name for name in names if not _in_container(name)]
    return sum(float(name.split(" MB ")[0]) for name in own), own


def _in_container(name: str) -> bool:
    command = name.split(" MB ", 1)[1]
    return "/opt/venv" in command or command.startswith(("sh -c", "/bin/sh -c", "python -m workload", "dvc "))


def _ready(clone: Clone) -> None:
    clone.run("make", ".venv/setup/all")  # with the workload's own packages, for the bare entry point
    clone.run("make", "train")


def _server(clone: Clone) -> str:
    """The address of the project's own MLflow server, as the last run recorded it."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        uri = (clone.capsule().get("mlflow") or {}).get("uri")
        if uri:
            return str(uri)
        time.sleep(0.5)
    raise SystemExit(f"no MLflow server is recorded in {os.fspath(clone.path)}")
