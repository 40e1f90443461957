"""A CI system that Rondel does not know: one module with a provider, and one registration, are enough."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from made_up.kettle import KETTLE, NOTES, KettleConsole, detect

from rondel.ci.commit.plan import plan_commit
from rondel.ci.providers import REGISTRY, Registration
from rondel.cli import ci, init, pipeline
from rondel.cli.doctor_ci import examine_job
from rondel.cli.frontend import open_frontend
from rondel.cli.reproduce import main as reproduce
from rondel.errors import ConfigurationError, EngineUnavailable
from rondel.pipeline import load_pipeline
from rondel.record import Capsule, CiJob, Git, load
from rondel.reproduce.capsule_source import find_capsule
from rondel.settings import CiOptions, load_settings

if TYPE_CHECKING:
    from pathlib import Path


PIPELINE = """
from rondel import Pipeline, StageContext

pipeline = Pipeline()


@pipeline.stage
async def train(ctx: StageContext) -> None:
    await ctx.sh("true")


if __name__ == "__main__":
    pipeline.main()
"""


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(REGISTRY, "kettle", Registration(("KETTLE",), lambda: KETTLE))
    for name in [name for name in os.environ if name.startswith(("CI", "GITLAB", "JENKINS", "GITHUB"))]:
        monkeypatch.delenv(name)
    NOTES.clear()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "ci").mkdir()
    (tmp_path / "ci/main.py").write_text(PIPELINE)
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'p'\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_it_is_detected_with_its_job(project: Path) -> None:
    frontend = open_frontend(project, {"KETTLE": "1", "CI": "true"})
    assert frontend.context == detect({"KETTLE": "1"})
    assert isinstance(frontend.console(load_settings(project)), KettleConsole)
    assert open_frontend(project, {}).context is None


def test_its_file_is_written_and_checked(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ci.main(["generate", "kettle"]) == 0
    command = "dagger run python ci/main.py train"
    assert f"brew pipeline on $RONDEL_RUNNER_IMAGE: {command}" in (project / "kettle.txt").read_text()
    assert ci.main(["check"]) == 0
    assert "kettle.txt: up to date" in capsys.readouterr().out
    (project / "ci/main.py").write_text(PIPELINE.replace("train", "learn"))
    assert ci.main(["check", "kettle"]) == ci.DRIFTED
    shown = capsys.readouterr()
    assert f"-brew pipeline on $RONDEL_RUNNER_IMAGE: {command}" in shown.out
    assert "rondel ci generate kettle" in shown.err
    with pytest.raises(ConfigurationError, match="there is no CI system 'teapot'") as caught:
        ci.main(["check", "teapot"])
    assert "kettle" in (caught.value.hint or "")


def test_a_new_project_gets_its_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert init.main([str(tmp_path / "new"), "--dry-run"]) == 0
    assert "kettle.txt" in capsys.readouterr().out.splitlines()


def test_a_run_is_shown_recorded_and_reported_there(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in {"KETTLE": "1", "KETTLE_TOKEN": "hot-water", "PATH": "/usr/bin:/bin"}.items():
        monkeypatch.setenv(name, value)
    # No engine, so the run ends before its first stage, with a record and reports.
    monkeypatch.setenv("RONDEL_ENGINE", "dagger")
    code = pipeline.main(load_pipeline(project / "ci/main.py"), ["train"])
    assert code == EngineUnavailable.exit_code
    shown = capsys.readouterr()
    assert "♨ run " in shown.out
    assert "put a note on 3" in shown.out
    page = ".rondel/reports/report.html"
    assert f"report: https://kettle.example/brew/7/kept/{page}" in shown.err
    assert (project / page).exists()
    assert "rondel reproduce https://kettle.example/brew/7" in shown.err
    ((token, sign, body),) = NOTES
    assert (token, sign) == ("hot-water", "<!-- rondel: brew -->")
    assert body.startswith(sign)
    capsule = load(project)[1]
    assert capsule.ci == CiJob(provider="kettle", url="https://kettle.example/brew/7", id="7", name="brew")
    assert capsule.options["ci"] is True


def test_its_jobs_are_reproduced(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = find_capsule(project, "https://kettle.example/brew/7", {})
    assert (found.kind, found.capsule.pipeline, found.is_local) == ("kettle", "p", False)
    assert reproduce(["https://kettle.example/brew/7", "--dry-run"]) == 0
    assert "train" in capsys.readouterr().out


def test_results_are_committed_its_way() -> None:
    capsule = Capsule(
        schema_version=1, id="r1", state="succeeded", pipeline="p", file="", created="", git=Git(branch="x")
    )
    wanted = plan_commit(capsule, detect({"KETTLE": "1"}), CiOptions(commit_message="Brew"), {})
    assert (wanted.branch, wanted.author) == ("main", "Kit <kit@kettle.example>")
    assert wanted.options == ("pour=main: Brew",)


def test_doctor_describes_its_job(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KETTLE", "1")
    monkeypatch.setenv("KETTLE_TOKEN", "hot-water")
    monkeypatch.setenv("RONDEL_COMMIT", "1")
    findings, document = examine_job(None)
    texts = {each.subject: each.text for each in findings}
    assert texts["ci"].startswith("Kettle, job brew, merge request 3, branch main")
    assert "the kettle is locked" in texts["commit"]
    assert texts["note"] == "to merge request 3: a token is set"
    assert document["ci"]["provider"] == "kettle"
