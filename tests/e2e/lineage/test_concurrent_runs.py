"""Runs at the same time, and files that are edited during a run."""

from __future__ import annotations

import shutil
import signal
from typing import TYPE_CHECKING

import pytest

from lineage.project import Project, plan, states, wait_for
from rondel.record import Capsule, list_runs

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.container


def test_two_runs_of_one_pipeline_make_each_result_once(project: Project) -> None:
    project.edit("src/train.py", "VERSION = 1", "VERSION = 1; import time; time.sleep(3)")
    processes = [project.popen(), project.popen()]
    said = ["".join(process.communicate(timeout=600)) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    runs = [run for _, run in list_runs(project.root) if isinstance(run, Capsule)][:2]
    assert sorted(run.stage("train").state for run in runs) == ["cached", "ran"]
    first = next(run for run in runs if run.stage("train").state == "ran")
    second = next(run for run in runs if run.stage("train").state == "cached")
    assert first.id in second.stage("train").reason
    assert "just finished it" in second.stage("train").reason
    assert any(f"train: waiting for run {first.id} to finish the same stage" in text for text in said)
    assert second.stage("train").metrics == first.stage("train").metrics
    assert project.metrics() == project.truth()


def test_what_waits_goes_on_when_the_other_run_is_killed(project: Project) -> None:
    project.edit("src/train.py", "VERSION = 1", "VERSION = 1; import time; time.sleep(5)")
    first = project.popen("-v")
    wait_for(first, "> python3 src/train.py")
    second = project.popen()
    wait_for(second, "to finish the same stage")
    first.send_signal(signal.SIGKILL)
    first.communicate()
    out, err = second.communicate(timeout=600)
    assert second.returncode == 0, out + err
    assert states(project)["train"] == "ran"
    assert project.metrics() == project.truth()


def test_two_clones_share_no_result(project: Project, tmp_path: Path) -> None:
    other = Project(shutil.copytree(project.root, tmp_path / "other", symlinks=True), dict(project.environ))
    for each, factor in ((project, 6), (other, 7)):
        each.edit("src/helper.py", "FACTOR = 1", f"FACTOR = {factor}")
        each.edit("src/train.py", "VERSION = 1", "VERSION = 2")
    processes = [each.popen() for each in (project, other)]
    said = ["".join(process.communicate(timeout=600)) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    for each in (project, other):
        assert states(each)["train"] == "ran"
        assert each.metrics() == each.truth()


def test_a_file_that_is_edited_while_its_stage_runs_is_not_taken_for_what_ran(project: Project) -> None:
    project.edit("src/train.py", "VERSION = 1", "VERSION = 1; import time; time.sleep(3)")
    process = project.popen("-v")
    wait_for(process, "> python3 src/train.py")
    project.edit("src/train.py", "VERSION = 1", "VERSION = 2")
    assert process.wait(timeout=600) in {0, 23}
    process.communicate()
    assert plan(project)["train"][0] == "runs"
    project.run()
    assert states(project)["train"] == "ran"
    assert project.metrics() == project.truth()


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [("src/helper.py", "FACTOR = 1", "FACTOR = 7"), ("Containerfile", "ARG FLAG=1", "ARG FLAG=2")],
)
def test_what_is_edited_while_an_earlier_stage_runs_is_not_taken_for_what_ran(
    project: Project, name: str, old: str, new: str
) -> None:
    """Workspace and image are those of when the run began, for all of its stages."""
    project.edit("src/prepare.sh", "cat", "sleep 3; cat")
    project.edit("src/train.py", "VERSION = 1", "VERSION = 2")
    process = project.popen("-v")
    wait_for(process, "> sh src/prepare.sh")
    project.edit(name, old, new)
    process.communicate(timeout=600)
    assert process.returncode == 0
    assert project.metrics() != project.truth()
    assert plan(project)["train"][0] == "runs"
    project.run()
    assert states(project)["train"] == "ran"
    assert project.metrics() == project.truth()
