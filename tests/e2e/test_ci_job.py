"""What a CI job does by itself: ends in time, keeps secrets, trusts no fork, gives results back."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pytest
from ci_project import capsules, environment, git, make_ci_project, stop_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.container

GITLAB = {
    "CI": "true",
    "GITLAB_CI": "true",
    "CI_JOB_URL": "https://gitlab.example/p/-/jobs/7",
    "CI_JOB_NAME": "pipeline",
    "CI_SERVER_URL": "https://gitlab.example",
    "CI_PROJECT_ID": "42",
    "CI_COMMIT_BRANCH": "main",
    "CI_DEFAULT_BRANCH": "main",
}
FORK = {
    **GITLAB,
    "CI_COMMIT_BRANCH": "",
    "CI_MERGE_REQUEST_IID": "5",
    "CI_MERGE_REQUEST_PROJECT_ID": "42",
    "CI_MERGE_REQUEST_SOURCE_PROJECT_ID": "99",
    "CI_MERGE_REQUEST_SOURCE_BRANCH_NAME": "main",
}
GRACE = 5
"""Seconds that Jenkins gives a process group between SIGTERM and SIGKILL; GitLab gives more."""

SECRET = "hunter2-hunter2"

EXTRA = '''

@pipeline.stage
async def tell(ctx: StageContext) -> None:
    """Print what nobody should see, and much of everything."""
    import os
    import subprocess

    print("in the function:", os.environ.get("API_SECRET"))
    subprocess.run(["sh", "-c", "echo in its program: $API_SECRET; seq 1 300000"], check=True)
    await ctx.sh("echo in the container: $API_SECRET; seq 1 300000")


@pipeline.stage
async def slow(ctx: StageContext) -> None:
    """Take long."""
    await ctx.sh("echo it runs; sleep 600")

'''


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = make_ci_project(tmp_path_factory.mktemp("job") / "p", "gitlab")
    main = project / "ci" / "main.py"
    main.write_text(
        main.read_text().replace('\nif __name__ == "__main__"', f'{EXTRA}\nif __name__ == "__main__"')
    )
    git(project, "commit", "-qam", "More stages")
    bare = project.with_name("p.git")
    git(project, "clone", "-q", "--bare", str(project), str(bare))
    return bare


@pytest.fixture
def checkout(origin: Path, tmp_path: Path) -> Iterator[Path]:
    """A checkout as a runner makes it: one commit, detached."""
    root = tmp_path / "job"
    git(tmp_path, "clone", "-q", "--depth", "1", f"file://{origin}", str(root))
    git(root, "checkout", "-q", "--detach")
    yield root
    stop_server(root)


@pytest.fixture
def job(checkout: Path, team_tracking: None) -> Path:
    """The same for a job that logs to a server of its team."""
    return checkout


def run(root: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["dagger", "run", "python", "ci/main.py", *words],
        cwd=root,
        env=environment(**variables),
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )


def test_a_cancelled_job_ends_within_its_grace_period_and_leaves_a_capsule(checkout: Path) -> None:
    process = subprocess.Popen(
        ["dagger", "run", "python", "ci/main.py", "slow"],
        cwd=checkout,
        env=environment(**GITLAB),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 300
        logs: list[Path] = []
        while not any("it runs" in log.read_text() for log in logs):
            assert process.poll() is None, process.communicate()[0]
            assert time.monotonic() < deadline
            time.sleep(0.1)
            logs = list(checkout.glob(".rondel/runs/*/logs/slow.log"))
        os.killpg(process.pid, signal.SIGTERM)  # as runners do it: to all processes of the job
        shown, _ = process.communicate(timeout=GRACE)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    assert process.returncode == 130, shown
    (capsule,) = capsules(checkout / ".rondel" / "runs")
    assert (capsule.state, capsule.exit_code) == ("interrupted", 130)
    assert capsule.stage("slow").state == "cancelled"
    verdict = (checkout / ".rondel" / "reports" / "verdict.txt").read_text()
    assert verdict.startswith("interrupted: the run was interrupted by SIGTERM")


def test_the_console_stays_small_and_secrets_are_masked_everywhere(job: Path) -> None:
    done = run(job, "tell", "-v", **GITLAB, API_SECRET=SECRET, RONDEL_SECRETS="API_SECRET")
    assert done.returncode == 0, done.stderr
    shown = done.stdout + done.stderr
    assert len(shown.encode()) <= 1_000_000
    assert "in the function: ***" in shown
    assert "in its program: ***" in shown
    assert SECRET not in shown
    (log,) = job.glob(".rondel/runs/*/logs/tell.log")
    text = log.read_text()
    assert "in the container: ***" in text
    assert text.splitlines()[-1].endswith("300000")
    found = subprocess.run(
        ["grep", "-rl", SECRET, ".rondel"], cwd=job, capture_output=True, text=True, check=False
    )
    assert found.stdout == ""


def test_on_jenkins_the_console_stays_small_too(job: Path) -> None:
    done = run(job, "tell", "-v", CI="true", JENKINS_URL="http://jenkins.example/")
    assert done.returncode == 0, done.stderr
    shown = done.stdout + done.stderr
    assert 500_000 < len(shown.encode()) <= 1_000_000
    assert "the console's limit is reached" in shown
    assert shown.count("succeeded in") == 1


def test_a_forks_job_gets_no_secret_and_pushes_nothing(job: Path, origin: Path) -> None:
    remote = origin.parent / "p-remote"
    before = sorted(remote.rglob("*"))
    branches = git(origin, "for-each-ref")
    given = {"API_SECRET": SECRET, "RONDEL_SECRETS": "API_SECRET", "GITLAB_TOKEN": "glpat-x"}
    done = run(job, "train", "tell", "--commit", "--push", **FORK, **given)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "this is a fork's code" in done.stdout
    assert "in the function: None" in done.stdout
    assert sorted(remote.rglob("*")) == before
    assert git(origin, "for-each-ref") == branches
    (capsule,) = capsules(job / ".rondel" / "runs")
    assert capsule.secrets == []


def test_results_are_committed_to_the_branch_after_their_data_was_pushed(job: Path, origin: Path) -> None:
    done = run(job, "train", "--commit", **GITLAB, GITLAB_USER_NAME="Mira", GITLAB_USER_EMAIL="m@example.org")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "--commit: " in done.stdout
    assert git(origin, "log", "-1", "--format=%an <%ae>: %s", "main") == (
        "Mira <m@example.org>: Update results of prepare, train"
    )
    assert "[skip ci]" in git(origin, "log", "-1", "--format=%B", "main")
    given = git(origin, "show", "--name-only", "--format=", "main").split()
    assert given == ["dvc.lock", "metrics.json", "rondel.lock"]
    # Whoever has that commit, and the remote, has the data.
    fresh = job.with_name("fresh")
    git(job.parent, "clone", "-q", str(origin), str(fresh))
    pulled = subprocess.run(
        ["dvc", "pull", "-q", "model.bin", "data/helped.txt"],
        cwd=fresh,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert pulled.returncode == 0, pulled.stderr
    assert (fresh / "model.bin").read_text() == "model 0.1"
    again = run(job, "train", "--commit", **GITLAB)
    assert again.returncode == 0


def test_commit_without_push_is_refused(job: Path) -> None:
    done = run(job, "train", "--commit", "--no-push", **GITLAB)
    assert done.returncode == 20
    assert "--commit needs the data to be pushed" in done.stderr
    assert not (job / ".rondel" / "runs").exists()


def test_a_run_that_cannot_start_is_reported_too(job: Path) -> None:
    reports = job / ".rondel" / "reports"
    reports.mkdir(parents=True)
    (reports / "verdict.txt").write_text("succeeded: an older run\n")
    done = run(job, "trian", **GITLAB)
    assert done.returncode == 20
    assert (reports / "verdict.txt").read_text().startswith("not started: ")
    assert "did you mean" in (reports / "junit.xml").read_text()
    assert "RONDEL_RUN_EXIT_CODE=20" in (reports / "outputs.env").read_text()
    assert not (job / ".rondel" / "runs").exists()


def test_the_approval_that_nobody_gives_has_its_own_exit_code(job: Path) -> None:
    done = run(job, "deploy", "--only", **GITLAB)
    assert done.returncode == 12, done.stdout + done.stderr
    assert "waiting for approval" in (job / ".rondel" / "reports" / "verdict.txt").read_text()
    assert json.loads(next(job.glob(".rondel/runs/*/capsule.json")).read_text())["exit_code"] == 12
