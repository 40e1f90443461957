"""The two commands in a clean clone, with an empty HOME and empty caches: as this user and without privilege.

Everything is installed from the package index and the whole pipeline runs, so
this takes minutes: ``make fresh``.
"""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from discard import discard

TOP = Path(__file__).resolve().parents[2]
NOBODY = 65534
PASSED_ON = ("PIP_", "UV_", "SSL_", "REQUESTS_", "CURL_", "HTTP", "http", "NO_PROXY", "no_proxy")

pytestmark = pytest.mark.network


@dataclass(frozen=True)
class Machine:
    """A clone, a home, and the user who works there."""

    clone: Path
    home: Path
    prefix: tuple[str, ...]

    def run(self, *command: str, **changes: str) -> subprocess.CompletedProcess[str]:
        kept = {name: value for name, value in os.environ.items() if name.startswith(PASSED_ON)}
        path = os.pathsep.join(part for part in os.environ["PATH"].split(os.pathsep) if ".venv" not in part)
        return subprocess.run(
            [*self.prefix, *command],
            cwd=self.clone,
            env={**kept, "HOME": str(self.home), "PATH": path, "LANG": "C.UTF-8", **changes},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
            errors="replace",
        )

    def capsules(self) -> list[dict]:
        runs = sorted((self.clone / ".rondel" / "runs").iterdir())
        return [json.loads((run / "capsule.json").read_text()) for run in runs]


def prefix_of(user: str) -> tuple[str, ...]:
    if user == "this user":
        return ()
    if os.getuid() != 0:
        pytest.skip("this user has no privilege already")
    if not shutil.which("setpriv"):
        pytest.skip("no setpriv here to become another user")
    return ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")


@pytest.fixture(params=["this user", "a user without privilege"], scope="module")
def machine(request) -> Iterator[Machine]:
    prefix = prefix_of(request.param)
    # Not below pytest's own folder, which other users can't enter.
    folder = Path(tempfile.mkdtemp(prefix="rondel-fresh-"))
    folder.chmod(0o755)
    try:
        subprocess.run(["git", "clone", "--quiet", TOP, folder / "clone"], check=True)
        (folder / "home").mkdir()
        if prefix:
            for path in (folder, *folder.rglob("*")):
                os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
        made = Machine(folder / "clone", folder / "home", prefix)
        yield made
        made.run(".venv/bin/rondel", "ui", "--stop")
    finally:
        discard(folder)


def left_behind(machine: Machine) -> Sequence[str]:
    """Command lines of processes that still work in the clone, and mounts below the machine's folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(machine.clone.parent) in command:
            found.append(command)
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    return found + [line for line in mounts if str(machine.clone.parent) in line]


def test_make_train_sets_up_and_trains(machine):
    done = machine.run("make", "train")
    assert done.returncode == 0, done.stdout[-6000:]
    assert (machine.clone / ".venv/bin/dagger").exists()

    capsule = machine.capsules()[-1]
    assert capsule["state"] == "succeeded"
    assert {stage["name"]: stage["state"] for stage in capsule["stages"]} == {
        "prepare": "ran",
        "train": "ran",
    }
    lock = (machine.clone / "dvc.lock").read_text()
    assert "models/flight-delay.skops" in lock


def test_a_second_call_sets_nothing_up_and_runs_nothing(machine):
    stamp = machine.clone / ".venv/setup/train"
    before = stamp.stat().st_mtime_ns
    done = machine.run("make", "train")
    assert done.returncode == 0, done.stdout[-6000:]
    assert stamp.stat().st_mtime_ns == before
    assert {stage["state"] for stage in machine.capsules()[-1]["stages"]} == {"cached"}


def test_the_data_reaches_the_host(machine):
    done = machine.run(".venv/bin/dvc", "pull", "models/flight-delay.skops", "data/prepared/train.parquet")
    assert done.returncode == 0, done.stdout[-3000:]
    assert (machine.clone / "models/flight-delay.skops").stat().st_size > 100_000


def test_the_gate_passes_on_real_data_without_a_champion(machine):
    done = machine.run(
        ".venv/bin/python", "ci/main.py", "evaluate", PATH=f"{machine.clone}/.venv/bin:/usr/bin:/bin"
    )
    assert done.returncode == 0, done.stdout[-6000:]
    metrics = json.loads((machine.clone / "metrics.json").read_text())
    assert 0.68 < metrics["roc_auc"] < 0.78
    assert set(metrics["slices"]["origin"]) == {"EWR", "JFK", "LGA"}
    evaluated = next(stage for stage in machine.capsules()[-1]["stages"] if stage["name"] == "evaluate")
    assert evaluated["verdicts"][0]["passed"]


def test_make_test_sets_up_the_rest_and_passes_unit_tests(machine):
    done = machine.run(
        "make", "test", "ARGS=tests/unit/workload tests/unit/test_project.py -q -p no:cacheprovider"
    )
    assert done.returncode == 0, done.stdout[-6000:]


def test_nothing_is_left_when_the_server_is_stopped(machine):
    machine.run(".venv/bin/rondel", "ui", "--stop")
    assert left_behind(machine) == []
