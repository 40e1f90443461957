"""``.gitlab-ci.yml`` run by gitlab-ci-local with its shell executor, each job in a folder of its own."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest
from ci_project import (
    TOP,
    artifacts,
    capsules,
    change,
    follow_the_last_line,
    git,
    make_ci_project,
    run_gitlab,
    zipped,
)

from tests.unit.reproduce.recording_server import recording_server

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.container

REPORTS = ".rondel/reports"


def bare(project: Path) -> Path:
    target = project.with_name(f"{project.name}.git")
    git(project, "clone", "-q", "--bare", str(project), str(target))
    return target


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bare(make_ci_project(tmp_path_factory.mktemp("single") / "p", "gitlab"))


@pytest.fixture(scope="module")
def stages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bare(make_ci_project(tmp_path_factory.mktemp("stages") / "p", "gitlab", layout="stages"))


@pytest.fixture
def clone(tmp_path: Path, team_tracking: None) -> Callable[[Path], Path]:
    def clone(origin: Path) -> Path:
        root = tmp_path / "clone"
        git(tmp_path, "clone", "-q", str(origin), str(root))
        git(root, "config", "user.email", "ci@example.org")
        git(root, "config", "user.name", "CI")
        (root / ".git" / "info" / "exclude").write_text(".gitlab-ci-local/\n")
        return root

    return clone


def test_the_whole_pipeline_runs_and_its_artifacts_are_in_their_places(
    single: Path, clone: Callable[[Path], Path]
) -> None:
    root = clone(single)
    done = run_gitlab(root)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "json schema validated" in done.stdout + done.stderr
    kept = artifacts(root, "pipeline")
    (capsule,) = capsules(kept / ".rondel" / "runs")
    assert [(record.name, record.state) for record in capsule.stages] == [
        ("prepare", "ran"),
        ("train", "ran"),
        ("check", "ran"),
    ]
    assert capsule.ci is not None
    assert capsule.ci.provider == "gitlab"
    assert (kept / "dvc.lock").exists()
    assert (kept / "metrics.json").exists()
    assert (kept / REPORTS / "verdict.txt").read_text().startswith("gate of check passed: 1 of 1 rules hold")
    outputs = dict(line.split("=", 1) for line in (kept / REPORTS / "outputs.env").read_text().splitlines())
    assert outputs["RONDEL_RUN_ID"] == capsule.id
    assert outputs["RONDEL_RUN_GATE"] == "passed"
    assert (kept / outputs["RONDEL_RUN_CAPSULE"]).exists()
    log = (root / ".gitlab-ci-local" / "output" / "pipeline.log").read_text()
    folded = re.findall(r"section_start:\d+:(\w+)\[collapsed=true\]", log)
    assert folded == ["rondel_prepare", "rondel_train", "rondel_check"]
    assert len(re.findall(r"section_end:\d+:", log)) == 3


def test_a_gate_that_fails_fails_the_job_and_its_report_is_kept(
    single: Path, clone: Callable[[Path], Path]
) -> None:
    root = clone(single)
    change(root, "params.yaml", "rate: 0.1", "rate: 0.01")
    done = run_gitlab(root)
    assert done.returncode != 0
    kept = artifacts(root, "pipeline")
    (capsule,) = capsules(kept / ".rondel" / "runs")
    assert (capsule.state, capsule.exit_code) == ("failed", 11)
    assert (kept / REPORTS / "verdict.txt").read_text().startswith("gate of check not passed: 0 of 1")
    cases = ET.parse(kept / REPORTS / "junit.xml").getroot().iter("testcase")
    assert {case.get("name") for case in cases if case.find("failure") is not None} == {
        "check",
        "auc >= 0.55",
    }
    assert 'rondel_gate_passed{stage="check",model="small"} 0' in (kept / REPORTS / "metrics.txt").read_text()


def test_a_stage_that_fails_leaves_a_capsule_that_says_why_and_is_reproduced_elsewhere(
    single: Path, clone: Callable[[Path], Path], tmp_path: Path
) -> None:
    root = clone(single)
    change(root, "params.yaml", "fail: false", "fail: true")
    git(root, "push", "-q", "origin", "HEAD:refs/heads/broken")
    with recording_server() as server:
        done = run_gitlab(root, CI_JOB_URL=f"{server.url}/team/p/-/jobs/7")
        assert done.returncode != 0
        kept = artifacts(root, "pipeline")
        (capsule,) = capsules(kept / ".rondel" / "runs")
        assert (capsule.state, capsule.exit_code) == ("failed", 10)
        record = capsule.stage("train")
        assert record.state == "failed"
        assert record.log is not None
        log = kept / ".rondel" / "runs" / capsule.id / record.log
        assert "the reason is printed here" in log.read_text()
        assert "the reason is printed here" in done.stdout
        assert "again: python ci/main.py train --only" in done.stdout + done.stderr
        server.answers["/api/v4/projects/team%2Fp/jobs/7/artifacts"] = (200, zipped(kept))
        shown = (root / ".gitlab-ci-local" / "output" / "pipeline.log").read_text()
        again = follow_the_last_line(shown, single, tmp_path / "laptop")
    assert again.returncode == 0, again.stdout + again.stderr
    assert f"the same outcome: train failed with exit code 7, as in run {capsule.id}" in again.stdout
    assert "the reason is printed here" in again.stdout + again.stderr


def test_the_approval_job_starts_by_hand_and_says_who_approved(
    single: Path, clone: Callable[[Path], Path]
) -> None:
    root = clone(single)
    done = run_gitlab(root, "--list-csv")
    assert re.search(r"^deploy;.*;manual;", done.stdout, re.MULTILINE), done.stdout
    done = run_gitlab(root, "--manual", "deploy", GITLAB_USER_LOGIN="mira")
    assert done.returncode == 0, done.stdout + done.stderr
    last = capsules(artifacts(root, "deploy") / ".rondel" / "runs")[-1]
    assert [(record.name, record.state) for record in last.stages] == [("deploy", "ran")]
    log = artifacts(root, "deploy") / ".rondel" / "runs" / last.id / "logs" / "deploy.log"
    assert "approved for production by mira" in log.read_text()


def test_a_schedule_starts_the_job_that_is_for_it(single: Path, clone: Callable[[Path], Path]) -> None:
    root = clone(single)
    assert "monitor" not in run_gitlab(root, "--list-csv").stdout
    assert "monitor" in run_gitlab(root, "--list-csv", source="schedule").stdout


def test_a_change_of_something_else_starts_nothing(single: Path, clone: Callable[[Path], Path]) -> None:
    root = clone(single)
    (root / "README.md").write_text("# hello\n")
    git(root, "add", "README.md")
    git(root, "commit", "-qm", "Say hello")
    assert "pipeline" not in run_gitlab(root, "--list-csv", source="push").stdout
    change(root, "params.yaml", "rate: 0.1", "rate: 0.2")
    assert "pipeline" in run_gitlab(root, "--list-csv", source="push").stdout


def test_a_job_for_each_stage_hands_its_state_on(stages: Path, clone: Callable[[Path], Path]) -> None:
    root = clone(stages)
    done = run_gitlab(root)
    assert done.returncode == 0, done.stdout + done.stderr
    for job in ("prepare", "train", "check"):
        last = capsules(artifacts(root, job) / ".rondel" / "runs")[-1]
        assert [(record.name, record.state) for record in last.stages] == [(job, "ran")]
    lock = (artifacts(root, "train") / "dvc.lock").read_text()
    assert all(f"  {name}:" in lock for name in ("prepare", "helper", "train"))
    verdict = (artifacts(root, "check") / REPORTS / "verdict.txt").read_text()
    assert verdict.startswith("gate of check passed")


def test_a_file_that_gitlab_would_refuse_is_refused(single: Path, clone: Callable[[Path], Path]) -> None:
    root = clone(single)
    text = (root / ".gitlab-ci.yml").read_text()
    (root / ".gitlab-ci.yml").write_text(text.replace("interruptible: true", "interruptible: sometimes"))
    done = run_gitlab(root, "--list")
    assert done.returncode != 0
    assert "interruptible" in done.stdout + done.stderr


def test_the_reference_pipeline_runs_from_its_own_file(clone: Callable[[Path], Path], tmp_path: Path) -> None:
    root = clone(TOP)
    git(root, "remote", "set-head", "origin", "--auto")
    # The file's image is for the docker executor; here the job's tools are on the PATH.
    text = (root / ".gitlab-ci.yml").read_text()
    (root / ".gitlab-ci.yml").write_text(text.replace("  image: $RONDEL_RUNNER_IMAGE\n", ""))
    # What another project left in the engine's DVC cache would be restored, and then no model is logged here.
    done = run_gitlab(root, "pipeline", RONDEL_CACHE="false")
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    last = capsules(artifacts(root, "pipeline") / ".rondel" / "runs")[-1]
    assert last.state == "succeeded"
    assert any(verdict.passed for record in last.stages for verdict in record.verdicts)
    assert (artifacts(root, "pipeline") / "metrics.json").exists()
