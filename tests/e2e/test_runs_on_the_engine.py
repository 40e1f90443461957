"""A small pipeline on the engine: the three invocations, a failure, ^C, `kill -9`."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pytest
from engines import on_dagger
from small_project import environ, git, run, write_files

from rondel.record import RunFolder, load

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.container

MAIN = """
from rondel import Pipeline, StageContext

pipeline = Pipeline()


@pipeline.stage
async def greet(ctx: StageContext) -> None:
    await ctx.sh("cat word.txt; id -u; test ! -e /root/.ssh")


@pipeline.stage
async def broken(ctx: StageContext) -> None:
    await ctx.sh("echo about to fail; exit 7")


@pipeline.stage
async def slow(ctx: StageContext) -> None:
    await ctx.sh("echo slow; sleep 600")


@pipeline.stage
async def talk(ctx: StageContext) -> None:
    await ctx.sh("echo number 1; sleep 3; echo number 2 >&2")


if __name__ == "__main__":
    pipeline.main()
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    root = tmp_path_factory.mktemp("runs")
    files = {
        "pyproject.toml": '[project]\nname = "runs"\n',
        "Containerfile": "FROM python:3.11-slim AS stage\nWORKDIR /work\n",
        "word.txt": "hello from the workspace\n",
        "ci/main.py": MAIN,
        ".gitignore": ".rondel/\n",
    }
    write_files(root, files)
    git(root, "init", "-q", ".")
    yield root
    run(root, "rondel", "ui", "--stop")


def test_all_three_invocations_run_the_same_pipeline(project: Path) -> None:
    for words in (["dagger", "run"], ["rondel", "run"], []):
        done = run(project, *words, "python", "ci/main.py", "greet", "--no-cache")
        assert done.returncode == 0, done.stdout + done.stderr
        folder, capsule = load(project)
        record = capsule.stage("greet")
        assert record.state == "ran"
        assert "hello from the workspace" in folder.log("greet").read_text()
        assert capsule.engine is not None
        assert capsule.engine.kind == ("dagger" if on_dagger() else "embedded")
        assert record.mlflow is not None
        assert capsule.mlflow is not None
        assert f"run {capsule.id} succeeded" in done.stdout
        assert ("using Rondel's embedded engine" in done.stderr) == (
            words == ["dagger", "run"] and not on_dagger()
        )
    done = run(project, "python", "ci/main.py", "greet")
    assert "= greet cached" in done.stdout


def test_a_failed_command_is_told_with_what_to_do(project: Path) -> None:
    done = run(project, "python", "ci/main.py", "broken")
    assert done.returncode == 10
    assert "│ about to fail" in done.stderr
    assert "exit code 7" in done.stderr
    assert "again: python ci/main.py broken --only" in done.stderr
    folder, capsule = load(project)
    assert f"capsule: {folder.capsule.relative_to(project)}" in done.stderr
    assert (capsule.state, capsule.stage("broken").exit_code) == ("failed", 7)


def start(root: Path) -> subprocess.Popen[str]:
    """``dagger run`` of the slow stage, in a session of its own; returns when its command runs."""
    process = subprocess.Popen(
        ["dagger", "run", "python", "ci/main.py", "slow"],
        cwd=root,
        env=environ(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if "sleep 600" in line:
            return process
    raise AssertionError(f"the stage did not start: exit code {process.wait()}")


def sleepers() -> list[str]:
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    return [line for line in listed.splitlines() if "echo slow; sleep 600" in line]


def gone(seconds: float = 20.0) -> bool:
    deadline = time.monotonic() + seconds
    while sleepers() and time.monotonic() < deadline:
        time.sleep(0.1)
    return not sleepers()


def test_an_interrupted_run_says_so_and_leaves_nothing_running(project: Path) -> None:
    process = start(project)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted by SIG" in out  # the real CLI makes a SIGTERM of it
    _, capsule = load(project)
    assert capsule.state == "interrupted"
    assert capsule.stage("slow").state == "cancelled"
    assert gone()


def test_a_killed_run_leaves_nothing_running_and_its_last_true_state(project: Path) -> None:
    process = start(project)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    assert gone()
    folder, capsule = load(project)
    assert (capsule.state, capsule.stage("slow").state) == ("running", "running")
    assert RunFolder(folder.path).abandoned
    assert "killed" in run(project, "rondel", "runs", "-n", "1").stdout
    assert run(project, "python", "ci/main.py", "greet").returncode == 0


@pytest.mark.embedded
@pytest.mark.parametrize("words", [["rondel", "run"], []])
def test_an_engine_that_cannot_start_is_told_with_cause_and_advice(
    project: Path, tmp_path: Path, words: list[str]
) -> None:
    (tmp_path / "format").write_text('{"version": 99}')
    command = [*words, "python", "ci/main.py", "greet", "--no-cache"]
    done = run(project, *command, timeout=120, RONDEL_ENGINE_HOME=str(tmp_path))
    assert done.returncode == 21
    assert "written by a newer version" in done.stderr
    assert "→ update rondel" in done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    assert load(project)[1].exit_code == 21


@pytest.mark.embedded
def test_an_engine_without_its_packages_is_told_as_an_installation_to_repair(
    project: Path, tmp_path: Path
) -> None:
    hide = "import sys\nif 'rondel.engine.server' in sys.orig_argv: sys.modules['uvicorn'] = None\n"
    (tmp_path / "sitecustomize.py").write_text(hide)
    command = ["python", "ci/main.py", "greet", "--no-cache"]
    done = run(project, *command, timeout=120, PYTHONPATH=str(tmp_path))
    assert done.returncode == 21
    assert "uvicorn" in done.stderr
    assert "install again" in done.stderr
    assert "Traceback" not in done.stderr + done.stdout


def engines_below(pid: int) -> list[int]:
    """The engine processes among the descendants of a process."""
    listed = subprocess.run(["ps", "-eo", "pid,ppid,args"], capture_output=True, text=True, check=True)
    rows = [line.split(None, 2) for line in listed.stdout.splitlines()[1:]]
    below = {pid}
    for _ in rows:
        below |= {int(row[0]) for row in rows if int(row[1]) in below}
    return [int(row[0]) for row in rows if int(row[0]) in below and "rondel.engine.server" in row[2]]


@pytest.mark.embedded
def test_an_engine_that_is_killed_in_the_middle_is_told_as_that(project: Path) -> None:
    process = start(project)
    for engine in engines_below(process.pid):
        os.kill(engine, signal.SIGKILL)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 21, out
    assert "the engine went away while it ran" in out
    assert load(project)[1].stage("slow").state == "failed"
    assert gone()


@pytest.mark.embedded
def test_what_a_killed_run_printed_is_in_its_log(project: Path) -> None:
    process = start(project)
    folder, _ = load(project)
    deadline = time.monotonic() + 20
    while " slow\n" not in folder.log("slow").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    assert gone()
    said = [line.split(" ", 1)[1] for line in folder.log("slow").read_text().splitlines()]
    assert said.count("slow") == 1


@pytest.mark.embedded
def test_output_is_shown_while_it_comes_and_logged_once(project: Path) -> None:
    process = subprocess.Popen(
        ["rondel", "run", "python", "ci/main.py", "talk", "-v"],
        cwd=project, env=environ(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    with process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.rstrip().endswith("│ number 1"):
                break
        assert process.poll() is None
        rest = process.stdout.read()
    assert process.returncode == 0
    assert rest.count("│ number 2") == 1
    folder, _ = load(project)
    said = [line.split(" ", 1)[1] for line in folder.log("talk").read_text().splitlines()]
    assert [line for line in said if line.startswith("number")] == ["number 1", "number 2"]
