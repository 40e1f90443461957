"""Unusual environments: closed or full streams, missing folders, encodings that lack characters."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rondel.cli.process import HINTS, machine_error, run_guarded

if TYPE_CHECKING:
    from rondel.errors import RondelError

MAIN = """
from rondel import Pipeline, StageContext

pipeline = Pipeline()


@pipeline.stage
async def hello(ctx: StageContext) -> None:
    await ctx.sh("true")


if __name__ == "__main__":
    pipeline.main()
"""
RONDEL = (sys.executable, "-c", "import sys; from rondel.cli import main; sys.exit(main())")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "ci").mkdir()
    (tmp_path / "ci/main.py").write_text(MAIN)
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "p"\n')
    (tmp_path / "Containerfile").write_text("FROM python:3.11-slim AS stage\n")
    return tmp_path


def shell(folder: Path, redirected: str, *command: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", "-c", f'"$@" {redirected}', "sh", *command],
        cwd=folder,
        env={**{name: value for name, value in os.environ.items() if name != "CI"}, **environ},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize(("redirected", "code"), [(">&-", 0), ("<&-", 0), ("2>&-", 0), ("<&- >&- 2>&-", 0)])
@pytest.mark.parametrize("command", [("ci/main.py", "hello", "--dry-run"), RONDEL[1:]])
def test_closed_streams_are_no_error(
    project: Path, redirected: str, code: int, command: tuple[str, ...]
) -> None:
    assert shell(project, redirected, sys.executable, *command).returncode == code


@pytest.mark.parametrize("redirected", [">&-", "2>&-", ">&- 2>&-"])
def test_an_error_keeps_its_exit_code_if_the_stream_is_closed(project: Path, redirected: str) -> None:
    assert shell(project, redirected, sys.executable, "ci/main.py", "nope").returncode == 20


def test_no_file_gets_the_number_of_a_closed_stream(project: Path) -> None:
    code = "from rondel.cli.process import repair_streams; repair_streams(); f = open('kept', 'w'); "
    code += "import os; os.write(1, b'lost'); os.write(2, b'lost'); f.write('whole')"
    assert shell(project, "<&- >&- 2>&-", sys.executable, "-c", code).returncode == 0
    assert (project / "kept").read_text() == "whole"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("command", [("ci/main.py", "hello", "--dry-run"), RONDEL[1:]])
def test_a_full_disk_is_reported_in_a_sentence(project: Path, command: tuple[str, ...]) -> None:
    done = shell(project, ">/dev/full", sys.executable, *command)
    assert done.returncode == 1
    assert done.stderr.splitlines()[0] == "the operating system reports: No space left on device"


def test_characters_that_a_terminal_lacks_are_replaced(project: Path) -> None:
    done = shell(project, "", *RONDEL, "--help", PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("usage: rondel COMMAND ?")


def test_a_missing_folder_is_reported_in_a_sentence(project: Path) -> None:
    (project / "gone").mkdir()
    done = shell(project, "", "sh", "-c", 'cd gone && rmdir ../gone && exec "$@"', "sh", *RONDEL, "runs")
    assert done.returncode == 1
    assert done.stderr.startswith("the current folder no longer exists\n")


def test_a_read_only_project_is_reported_in_a_sentence() -> None:
    def body() -> int:
        raise OSError(errno.EROFS, "Read-only file system", "/p/.rondel")

    told: list[RondelError] = []
    assert run_guarded(body, told.append) == 1
    assert told[0].render().splitlines() == [
        "/p/.rondel: the operating system reports: Read-only file system",
        f"  → {HINTS[errno.EROFS]}",
    ]


def test_a_defect_keeps_its_traceback() -> None:
    def body() -> int:
        raise FileNotFoundError(errno.ENOENT, "No such file or directory", "x")

    assert machine_error(FileNotFoundError(errno.ENOENT, "x")) is None
    with pytest.raises(FileNotFoundError):
        run_guarded(body, pytest.fail)
