"""``Jenkinsfile`` run by jenkins-pipeline-unit, with ``sh`` steps that truly run; see tests/ci-tools/jenkins."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from ci_project import (
    TOOLS,
    TOP,
    artifacts,
    capsules,
    change,
    environment,
    follow_the_last_line,
    git,
    installed,
    make_ci_project,
    run_gitlab,
    stop_server,
    zipped,
)

from rondel.parity import compare_runs
from tests.unit.reproduce.recording_server import recording_server

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.container

OPENS = [
    word
    for name in ("java.lang", "java.lang.invoke", "java.util")
    for word in ("--add-opens", f"java.base/{name}=ALL-UNNAMED")
]
REPORTS = ".rondel/reports"


@pytest.fixture(scope="session")
def classpath() -> str:
    folder = installed(
        "java",
        ("java", "mvn"),
        ("pom.xml",),
        ["mvn", "-q", "-B", "dependency:copy-dependencies", "-DoutputDirectory=lib"],
    )
    return f"{folder}/lib/*"


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_ci_project(tmp_path_factory.mktemp("jenkins") / "p", "jenkins", "gitlab")


@dataclass
class Jenkins:
    """A workspace, and builds in it."""

    classpath: str
    root: Path
    archive: Path
    builds: int = 0
    output: str = ""
    environment: dict[str, str] = field(default_factory=dict)

    def build(self, **given: Any) -> dict[str, Any]:
        self.builds += 1
        place = self.archive.parent
        fact, result = place / "build.json", place / "result.json"
        result.unlink(missing_ok=True)
        variables = {
            "CI": "true",
            "JENKINS_URL": "http://jenkins.example/",
            "BUILD_URL": f"http://jenkins.example/job/p/{self.builds}/",
            "JOB_NAME": "p",
            "BUILD_ID": str(self.builds),
            "BRANCH_NAME": "main",
            **self.environment,
        }
        job = {"causes": ["UserIdCause"], "changes": [], "credentials": {}, "approver": None}
        job |= {"environment": variables, "archive": str(self.archive), **given}
        fact.write_text(json.dumps(job))
        program = str(TOOLS / "jenkins" / "RunJenkinsfile.groovy")
        words = ["java", *OPENS, "-cp", self.classpath, "groovy.ui.GroovyMain", program]
        done = subprocess.run(
            [*words, "Jenkinsfile", str(fact), str(result)],
            cwd=self.root,
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
        self.output = done.stdout + done.stderr
        assert result.exists(), self.output
        found: dict[str, Any] = json.loads(result.read_text())
        assert (done.returncode == 0) == (found["result"] == "SUCCESS")
        return found


@pytest.fixture
def jenkins(classpath: str, origin: Path, tmp_path: Path, team_tracking: None) -> Jenkins:
    root = tmp_path / "workspace"
    git(tmp_path, "clone", "-q", str(origin), str(root))
    git(root, "config", "user.email", "ci@example.org")
    git(root, "config", "user.name", "CI")
    return Jenkins(classpath, root, tmp_path / "archive")


def states(build: dict[str, Any]) -> dict[str, str]:
    return {stage["name"]: stage["state"] for stage in build["stages"]}


def test_the_whole_pipeline_runs_and_is_archived(jenkins: Jenkins) -> None:
    build = jenkins.build(approver=None)
    # The pipeline ran; nobody was there for the approval, which ends a build in Jenkins.
    assert build["result"] == "ABORTED", jenkins.output
    assert states(build)["pipeline"] == "ran"
    assert build["commands"] == [
        {"command": "dagger run python ci/main.py check", "exit": 0, "stage": "pipeline"}
    ]
    (capsule,) = capsules(jenkins.archive / ".rondel" / "runs")
    assert capsule.state == "succeeded"
    assert [record.state for record in capsule.stages] == ["ran", "ran", "ran"]
    assert capsule.ci is not None
    assert (capsule.ci.provider, capsule.ci.url) == ("jenkins", "http://jenkins.example/job/p/1/")
    assert build["junit"]["failed"] == 0
    assert build["junit"]["names"] == ["prepare", "train", "check", "auc >= 0.55"]
    assert build["description"].startswith("gate of check passed: 1 of 1 rules hold")
    assert {f"{REPORTS}/report.md", "dvc.lock", "metrics.json"} <= set(build["archived"])


def test_an_approval_is_asked_for_and_recorded(jenkins: Jenkins) -> None:
    build = jenkins.build(approver="mira")
    assert build["result"] == "SUCCESS", jenkins.output
    assert build["asked"] == "deploy: approve production?"
    assert [command["stage"] for command in build["commands"]] == ["pipeline", "deploy"]
    last = capsules(jenkins.archive / ".rondel" / "runs")[-1]
    assert [(record.name, record.state) for record in last.stages] == [("deploy", "ran")]
    log = jenkins.archive / ".rondel" / "runs" / last.id / "logs" / "deploy.log"
    assert "approved for production by mira" in log.read_text()


def test_nothing_is_asked_on_another_branch(jenkins: Jenkins) -> None:
    jenkins.environment["BRANCH_NAME"] = "feature"
    build = jenkins.build()
    assert build["result"] == "SUCCESS", jenkins.output
    assert states(build) == {"pipeline": "ran", "deploy": "skipped", "monitor": "skipped"}


def test_a_gate_that_fails_fails_the_build(jenkins: Jenkins) -> None:
    change(jenkins.root, "params.yaml", "rate: 0.1", "rate: 0.01")
    build = jenkins.build(approver="mira")
    assert build["result"] == "FAILURE"
    assert [command["exit"] for command in build["commands"]] == [11]
    assert build["description"].startswith("gate of check not passed")
    assert build["junit"]["failed"] == 2
    (capsule,) = capsules(jenkins.archive / ".rondel" / "runs")
    assert capsule.exit_code == 11


def test_a_stage_that_fails_leaves_a_capsule_and_is_reproduced_elsewhere(
    jenkins: Jenkins, origin: Path, tmp_path: Path
) -> None:
    change(jenkins.root, "params.yaml", "fail: false", "fail: true")
    git(jenkins.root, "push", "-q", "origin", "HEAD:refs/heads/broken")
    with recording_server() as server:
        jenkins.environment["BUILD_URL"] = f"{server.url}/job/p/1/"
        build = jenkins.build(approver="mira")
        assert build["result"] == "FAILURE"
        assert [command["exit"] for command in build["commands"]] == [10]
        (capsule,) = capsules(jenkins.archive / ".rondel" / "runs")
        assert capsule.stage("train").state == "failed"
        assert "the reason is printed here" in jenkins.output
        assert "again: python ci/main.py train --only" in jenkins.output
        assert "section_start" not in jenkins.output
        archive = zipped(jenkins.archive, "archive/")
        server.answers["/job/p/1/artifact/*zip*/archive.zip"] = (200, archive)
        again = follow_the_last_line(jenkins.output, origin, tmp_path / "laptop")
    assert again.returncode == 0, again.stdout + again.stderr
    assert f"the same outcome: train failed with exit code 7, as in run {capsule.id}" in again.stdout


def test_a_timer_starts_what_is_scheduled_before_anybody_is_asked(jenkins: Jenkins) -> None:
    build = jenkins.build(causes=["TimerTrigger"])
    assert build["cron"] == "H 4 * * *"
    assert [command["stage"] for command in build["commands"]] == ["pipeline", "monitor"]


def test_a_change_of_something_else_runs_nothing(jenkins: Jenkins) -> None:
    build = jenkins.build(causes=["BranchEventCause"], changes=["README.md"])
    assert set(states(build).values()) == {"skipped"}
    assert build["commands"] == []
    assert not (jenkins.root / ".rondel" / "runs").exists()


def test_a_shell_that_only_pretends_is_found_out(jenkins: Jenkins) -> None:
    """What these tests stand on: without a command that truly ran there is no capsule."""
    file = jenkins.root / "Jenkinsfile"
    file.write_text(file.read_text().replace("sh 'dagger run", "sh 'true dagger run"))
    build = jenkins.build(approver="mira")
    assert build["result"] == "SUCCESS"
    assert capsules(jenkins.archive / ".rondel" / "runs") == []
    assert build["junit"] is None


def test_a_directive_that_jenkins_does_not_know_fails_the_build(jenkins: Jenkins) -> None:
    file = jenkins.root / "Jenkinsfile"
    file.write_text(file.read_text().replace("buildDiscarder(", "buildRetainer("))
    assert jenkins.build()["result"] == "FAILURE"
    assert "buildRetainer" in jenkins.output


def test_gitlab_jenkins_and_a_laptop_have_the_same_inputs_and_outputs(
    jenkins: Jenkins, tmp_path: Path
) -> None:
    jenkins.environment["BRANCH_NAME"] = "feature"
    jenkins.build()
    origin = git(jenkins.root, "config", "remote.origin.url")
    laptop, gitlab = tmp_path / "laptop", tmp_path / "gitlab"
    for root in (laptop, gitlab):
        git(tmp_path, "clone", "-q", origin, str(root))
    (gitlab / ".git" / "info" / "exclude").write_text(".gitlab-ci-local/\n")
    done = subprocess.run(
        ["dagger", "run", "python", "ci/main.py", "check"],
        cwd=laptop,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    done = run_gitlab(gitlab)
    assert done.returncode == 0, done.stdout + done.stderr
    folders = [jenkins.root, laptop, artifacts(gitlab, "pipeline")]
    first, *others = [capsules(folder / ".rondel" / "runs")[-1] for folder in folders]
    assert [run.ci.provider if run.ci else None for run in (first, *others)] == ["jenkins", None, "gitlab"]
    assert {"prepare", "train"} <= {record.name for record in first.stages if record.outputs}
    for other in others:
        parity = compare_runs(first, other)
        assert parity.verdict == "same", parity


def test_the_reference_pipeline_runs_from_its_own_file(classpath: str, tmp_path: Path) -> None:
    root = tmp_path / "clone"
    git(tmp_path, "clone", "-q", str(TOP), str(root))
    text = (root / "Jenkinsfile").read_text()
    (root / "Jenkinsfile").write_text(text.replace("sh 'make test'", "sh 'true'"))
    # What another project left in the engine's DVC cache would be restored, and then no model is logged here.
    environ = {"RONDEL_RUNNER_IMAGE": "registry.example/runner", "RONDEL_CACHE": "false"}
    jenkins = Jenkins(classpath, root, tmp_path / "archive", environment=environ)
    try:
        found = jenkins.build()
    finally:
        stop_server(root)
    assert found["image"] == "registry.example/runner"
    # All of it, up to the approval that nobody is there to give.
    assert states(found) == {"test": "ran", "pipeline": "ran", "release": "failed"}, jenkins.output[-6000:]
    assert found["result"] == "ABORTED"
    assert found["description"].startswith("gate of evaluate passed")
    last = capsules(jenkins.archive / ".rondel" / "runs")[-1]
    assert last.state == "succeeded"
    assert (jenkins.archive / "metrics.json").exists()


def test_a_commit_that_changes_nothing_of_it_skips_the_reference_pipeline(
    classpath: str, tmp_path: Path
) -> None:
    text = (TOP / "Jenkinsfile").read_text().replace("sh 'make test'", "sh 'true'")
    (tmp_path / "Jenkinsfile").write_text(text)
    build = Jenkins(classpath, tmp_path, tmp_path / "out" / "archive")
    build.archive.parent.mkdir()
    found = build.build(causes=["BranchEventCause"], changes=["docs/index.md"])
    assert found["result"] == "SUCCESS", build.output
    assert states(found) == {"test": "ran", "pipeline": "skipped", "release": "skipped"}
