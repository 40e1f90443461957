"""A project made by `rondel init` runs as it is; its image is installed from the package index."""

from __future__ import annotations

import subprocess
import uuid
from typing import TYPE_CHECKING

import pytest
from ci_project import BIN, capsules, environment, git, stop_server

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.network, pytest.mark.container]


def run(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        words, cwd=root, env=environment(), capture_output=True, text=True, check=False, timeout=900
    )


def test_a_new_project_runs_as_it_is(tmp_path: Path) -> None:
    made = run(tmp_path, str(BIN / "rondel"), "init", "flowers")
    assert made.returncode == 0, made.stderr
    root = tmp_path / "flowers"
    # Results are shared by everything that this user runs here: another run of this test may have left the same.
    for script in ("prepare", "train", "evaluate"):
        with (root / "src" / f"{script}.py").open("a") as file:
            file.write(f"# {uuid.uuid4()}\n")
    git(root, "add", "-A")
    git(root, "commit", "-qm", "Begin")
    try:
        done = run(root, "dagger", "run", "python", "ci/main.py", "evaluate")
        assert done.returncode == 0, done.stdout + done.stderr
        (capsule,) = capsules(root / ".rondel" / "runs")
        assert [record.state for record in capsule.stages] == ["ran", "ran", "ran"]
        assert capsule.stage("evaluate").verdicts[0].passed
        git(root, "add", "-A")
        assert git(root, "diff", "--cached", "--name-only").split() == ["dvc.lock", "metrics.json"]
    finally:
        stop_server(root)
