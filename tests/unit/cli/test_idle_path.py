"""A run in which nothing changed, on a real project in a folder: what it loads, prints and leaves."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from rondel.cache import DvcCacheEntry, StageCacheEntry, save_entry
from rondel.cache.lookup import key_of
from rondel.data import load_project, stage_inputs
from rondel.pipeline import Pipeline
from rondel.record import CallRecord, load
from rondel.runner.disk_project import DiskProject
from rondel.runner.keys import stage_key
from rondel.settings import load_settings

if TYPE_CHECKING:
    from pathlib import Path

HEAVY = (
    "dagger", "mlflow", "dvc", "rich", "httpx", "graphql", "gql", "lark", "anyio", "asyncio", "uvicorn",
    "pandas", "sklearn", "ssl", "importlib.resources", "sqlite3",
    "rondel.engine", "rondel.runner.execute", "rondel.runner.services", "rondel.environment.run_environment",
)  # fmt: skip

MAIN = """
from rondel import Pipeline, StageContext

pipeline = Pipeline()
prepare = pipeline.dvc("prepare")


@pipeline.stage(needs=[prepare])
async def evaluate(ctx: StageContext) -> None:
    await ctx.gate("auc >= 0.5", metrics="metrics.json", model="m")


if __name__ == "__main__":
    pipeline.main()
"""


def md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    files = {
        "pyproject.toml": '[project]\nname = "p"\n',
        "Containerfile": "FROM python:3.11-slim AS stage\nCOPY uv.lock .\n",
        "uv.lock": "lock\n",
        "prepare.py": "print('x')\n",
        "params.yaml": "n: 1\n",
        "dvc.yaml": "stages:\n  prepare:\n    cmd: python prepare.py\n    deps: [prepare.py]\n    params: [n]\n",
        "ci/main.py": MAIN,
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    lock = {
        "schema": "2.0",
        "stages": {
            "prepare": {
                "cmd": "python prepare.py",
                "deps": [{"path": "prepare.py", "hash": "md5", "md5": md5(files["prepare.py"]), "size": 11}],
                "params": {"params.yaml": {"n": 1}},
            }
        },
    }
    (tmp_path / "dvc.lock").write_text(json.dumps(lock))
    (tmp_path / ".dvc").mkdir()
    subprocess.run(["git", "init", "-q", "."], cwd=tmp_path, check=True)
    succeed(tmp_path)
    return tmp_path


def succeed(root: Path) -> None:
    """Put the memories of successful stages in place, made as a run makes them."""
    disk = DiskProject(load_settings(root), {})
    prepare = Pipeline().dvc("prepare")
    uses = (CallRecord(kind="dvc", name="prepare"),)
    key = stage_key(prepare, uses, disk, {}, host_image=True)
    save_entry(root, StageCacheEntry(key=key, run="r1", stage="prepare", uses=uses))
    stage = disk.dvc_stage("prepare")
    (found,) = disk.dvc_inputs("prepare", {})
    inputs = stage_inputs(load_project(root), "prepare")
    made = key_of(stage, inputs, disk.shared_parts(), on_host=True, undeclared={})
    assert found.command == inputs.cmd
    save_entry(root, DvcCacheEntry(key=made, run="r1", address="prepare"))
    code = "import sys; sys.path.insert(0, 'ci'); import main; from rondel.cache import code_parts; import json, pathlib; "
    code += "print(json.dumps(code_parts(main.evaluate.body, pathlib.Path.cwd())))"
    out = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    uses = (CallRecord(kind="gate", name="m", details={"rules": ["auc >= 0.5"], "metrics": "metrics.json"}),)
    key = stage_key(prepare, uses, disk, {}, host_image=True)
    from rondel.cache import make_key

    key = make_key({**key.parts, "code": json.loads(out.stdout)})
    save_entry(root, StageCacheEntry(key=key, run="r1", stage="evaluate", uses=uses, metrics={"auc": 0.71}))


def run(
    root: Path, *words: str, importtime: bool = False, given: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    left_out = ("DAGGER", "_EXPERIMENTAL_DAGGER", "RONDEL", "MLFLOW", "CI", "GITLAB", "JENKINS", "GITHUB")
    environ = {name: value for name, value in os.environ.items() if not name.startswith(left_out)}
    environ |= given or {}
    flags = ["-X", "importtime"] if importtime else []
    return subprocess.run(
        [sys.executable, *flags, "ci/main.py", *words],
        cwd=root,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_a_run_with_nothing_to_do_loads_nothing_heavy_and_starts_nothing(project: Path) -> None:
    done = run(project, "evaluate", importtime=True)
    assert done.returncode == 0, done.stderr
    loaded = {
        line.rpartition("|")[2].strip()
        for line in done.stderr.splitlines()
        if line.startswith("import time:")
    }
    assert "rondel.runner.run" in loaded
    found = {name for name in loaded for heavy in HEAVY if name == heavy or name.startswith(f"{heavy}.")}
    assert not found
    assert not (project / ".rondel" / "mlflow").exists()


def loaded_of_ci(project: Path, **given: str) -> set[str]:
    done = run(project, "evaluate", importtime=True, given=given)
    assert done.returncode == 0, done.stderr
    names = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    return {name for name in names if name.startswith("rondel.ci.") or name in {"gitlab", "api4jenkins"}}


def test_outside_of_ci_no_ci_system_is_loaded(project: Path) -> None:
    assert loaded_of_ci(project) == {"rondel.ci.providers"}
    assert loaded_of_ci(project, JENKINS_URL="http://j/") >= {"rondel.ci.providers.jenkins"}


def test_in_ci_only_this_system_is_loaded_and_nothing_heavy(project: Path) -> None:
    loaded = loaded_of_ci(project, GITLAB_CI="true")
    assert "rondel.ci.providers.gitlab" in loaded
    assert not loaded & {"rondel.ci.providers.jenkins", "gitlab", "api4jenkins"}


def test_a_run_with_nothing_to_do_writes_a_capsule(project: Path) -> None:
    done = run(project, "evaluate")
    assert "= prepare cached: unchanged since run r1" in done.stdout
    folder, capsule = load(project)
    assert capsule.state == "succeeded"
    assert [record.state for record in capsule.stages] == ["cached", "cached"]
    assert capsule.stage("evaluate").metrics == {"auc": 0.71}
    assert capsule.engine is None
    assert capsule.mlflow is None
    assert capsule.arguments == ["evaluate"]
    assert f"run {capsule.id} succeeded" in done.stdout
    assert sorted(path.name for path in folder.path.iterdir()) == ["capsule.json", "report.html", "untracked"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (("params.yaml", "n: 2\n"), "parameter n changed from 1 to 2"),
        (("prepare.py", "print('y')\n"), "input prepare.py changed"),
        (("uv.lock", "other\n"), "the image's file uv.lock changed"),
        (("dvc.lock", "schema: '2.0'\nstages: {}\n"), "dvc.lock does not have it"),
    ],
)
def test_a_dry_run_says_why_a_stage_would_run(project: Path, change: tuple[str, str], reason: str) -> None:
    (project / change[0]).write_text(change[1])
    done = run(project, "prepare", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert f"prepare: runs, {reason}" in done.stdout
    assert not (project / ".rondel" / "runs").exists()


@pytest.fixture
def commands(project: Path) -> Path:
    """A folder of commands for a PATH without any Dagger or container runtime."""
    folder = project / ".rondel" / "bin"
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("git", "sh"):
        (folder / name).symlink_to(shutil.which(name) or name)
    return folder


def command(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{text}\n")
    (folder / name).chmod(0o755)


def test_a_dry_run_shows_the_whole_plan(project: Path, commands: Path) -> None:
    path = {"PATH": str(commands)}
    done = run(project, "evaluate", "--dry-run", "--no-cache", "-P", "n=5", given=path)
    assert done.stdout.splitlines() == [
        "image: Containerfile, target stage",
        "engine: embedded (there is no Dagger CLI on the PATH)",
        "",
        "1. prepare",
        "   prepare: runs, --no-cache",
        "     dvc prepare: python prepare.py",
        "     n = 5",
        "2. evaluate",
        "   evaluate: runs, --no-cache",
        "     after prepare",
        "     gate of m:",
        "       auc >= 0.5",
    ]


def test_a_dry_run_with_nothing_to_do_needs_no_engine(project: Path, commands: Path) -> None:
    command(commands, "dagger", "exit 1")
    command(commands, "docker", f": > {project}/asked")
    done = run(project, "evaluate", "--dry-run", given={"PATH": str(commands)})
    assert "engine: not needed" in done.stdout.splitlines()
    assert not (project / "asked").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["evalute"], "there is no stage 'evalute'\n  → did you mean 'evaluate'?"),
        (["evaluate", "--nocache"], "did you mean '--no-cache'?"),
        (["evaluate", "-P", "m=1"], "no stage of this run has a parameter 'm'"),
        (["evaluate", "--engine", "podman"], "'podman' is none of auto, dagger, embedded"),
        (["--resume", "evaluate"], "put the stage first: evaluate --resume"),
        ([], "no stage to run"),
    ],
)
def test_a_wrong_command_line_starts_nothing(project: Path, words: list[str], message: str) -> None:
    done = run(project, *words)
    assert (done.returncode, done.stdout) == (20, "")
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (project / ".rondel" / "runs").exists()


def test_a_bad_rule_is_reported_with_its_line_before_anything_starts(project: Path) -> None:
    file = project / "ci" / "main.py"
    file.write_text(MAIN.replace("auc >= 0.5", "auc >== 0.5"))
    done = run(project, "evaluate")
    assert done.returncode == 20
    line = MAIN.splitlines().index('    await ctx.gate("auc >= 0.5", metrics="metrics.json", model="m")') + 1
    assert f"ci/main.py:{line}: " in done.stderr
    assert not (project / ".rondel" / "runs").exists()


def test_list_shows_the_stages(project: Path) -> None:
    lines = run(project, "--list").stdout.splitlines()
    assert [line.split()[:2] for line in lines[1:]] == [["prepare", "pure"], ["evaluate", "pure"]]
