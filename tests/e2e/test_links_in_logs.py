"""Links that a stage prints, as they are told on a laptop and in a CI job with a server of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rondel.record import load

pytestmark = pytest.mark.container

BIN = Path(sys.executable).parent

FILES = {
    "pyproject.toml": '[project]\nname = "links"\n',
    "Containerfile": "FROM python:3.11-slim AS stage\nWORKDIR /work\n",
    "ci/main.py": """
from rondel import Pipeline, StageContext

pipeline = Pipeline()


@pipeline.stage
async def link(ctx: StageContext) -> None:
    await ctx.sh('echo "View run at: $MLFLOW_TRACKING_URI/#/experiments/1/runs/$MLFLOW_RUN_ID"')


if __name__ == "__main__":
    pipeline.main()
""",
    ".gitignore": ".rondel/\n",
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    subprocess.run(["git", "init", "-q", "."], cwd=tmp_path, check=True)
    return tmp_path


def run(root: Path, **more: str) -> str:
    kept = {
        name: text for name, text in os.environ.items() if not name.startswith(("CI", "DAGGER", "MLFLOW_"))
    }
    done = subprocess.run(
        ["python", "ci/main.py", "link"],
        cwd=root,
        env={**kept, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", **more},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    folder, _ = load(root)
    files = [path for path in (folder.log("link"), folder.path / "report.html") if path.is_file()]
    return "\n".join([done.stdout, done.stderr, *(path.read_text() for path in files)])


def test_on_a_laptop_the_link_opens_there(project: Path, team_server: str) -> None:
    told = run(project, MLFLOW_TRACKING_URI=team_server)
    _, capsule = load(project)
    record = capsule.stage("link").mlflow
    assert record is not None
    assert f"View run at: {team_server}/#/experiments/1/runs/{record.run_id}" in told
    assert "http://mlflow:" not in told
    assert capsule.mlflow is not None
    assert str(capsule.mlflow.url).startswith(team_server)


def test_of_a_server_that_ends_with_the_job_no_address_is_told(project: Path) -> None:
    told = run(project, CI="true")
    _, capsule = load(project)
    record = capsule.stage("link").mlflow
    assert record is not None
    assert f"View run at: run {record.run_id} on the MLflow server of this job" in told
    assert "http://mlflow:" not in told
    assert "http://127.0.0.1" not in told
    assert record.url is None
    assert capsule.mlflow is not None
    assert capsule.mlflow.url is None
