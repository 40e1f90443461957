"""A small DVC project with a pipeline of every kind of stage, and the tools that run its CI files."""

from __future__ import annotations

import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest
from test_data_stages import make_project

from rondel.record.codec import decode

if TYPE_CHECKING:
    from rondel.record import Capsule

TOP = Path(__file__).parents[2]
TOOLS = TOP / "tests" / "ci-tools"
BIN = Path(sys.executable).parent

MAIN = '''\
from rondel import Pipeline, StageContext

pipeline = Pipeline("small")
prepare = pipeline.dvc("prepare")
train = pipeline.dvc("train", needs=[prepare])


@pipeline.stage(needs=[train], timeout=600)
async def check(ctx: StageContext) -> None:
    """Only a model that is good enough goes on."""
    await ctx.gate("auc >= 0.55", metrics="metrics.json", model="small")


@pipeline.effect(needs=[check], approval="production")
async def deploy(ctx: StageContext) -> None:
    """Put it where people use it."""
    await ctx.sh("echo deployed the model")


@pipeline.effect(on="schedule")
async def monitor(ctx: StageContext) -> None:
    """Look at what is deployed."""
    await ctx.sh("echo looked at it")


if __name__ == "__main__":
    pipeline.main()
'''

IDENTITY = ("-c", "user.name=CI", "-c", "user.email=ci@example.org")

TRACKING: dict[str, str] = {}
"""Where jobs log to: filled by the fixture ``team_tracking``; empty, each job has a server of its own."""


def git(root: Path, *words: str) -> str:
    """Run git in the project; its output."""
    done = subprocess.run(["git", *IDENTITY, *words], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def make_ci_project(root: Path, *systems: str, layout: str = "single") -> Path:
    """A committed project whose CI files are made by ``rondel ci generate``."""
    root.mkdir(parents=True, exist_ok=True)
    make_project(root)
    (root / "ci").mkdir()
    (root / "ci" / "main.py").write_text(MAIN)
    options = f'\n[tool.rondel.ci]\nimage = ""\nlayout = "{layout}"\n'
    with (root / "pyproject.toml").open("a") as file:
        file.write(options)
    # A remote that jobs on different runners share.
    remote = root.parent / f"{root.name}-remote"
    shutil.move(root / ".rondel" / "remote", remote)
    (root / ".dvc" / "config").write_text(
        f"[core]\n    remote = team\n['remote \"team\"']\n    url = {remote}\n"
    )
    done = subprocess.run(
        [BIN / "rondel", "ci", "generate", *systems], cwd=root, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    git(root, "add", "-A")
    git(root, "commit", "-qm", "CI")
    return root


def change(root: Path, path: str, old: str, new: str) -> None:
    """Commit a change of one file."""
    text = (root / path).read_text()
    assert old in text
    (root / path).write_text(text.replace(old, new))
    git(root, "commit", "-qam", f"Change {path}")


def environment(**extra: str) -> dict[str, str]:
    """A job's environment: of this process, without what leads elsewhere."""
    gone = ("DAGGER_", "DVC_", "MLFLOW_", "AWS_", "CI_", "GITLAB", "RONDEL_")
    keep = ("RONDEL_ENGINE_HOME",)
    kept = {
        name: value
        for name, value in os.environ.items()
        if name in keep or (not name.startswith(gone) and name != "CI")
    }
    path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    # Node gives a shell a socket for its input; bash then takes itself for one that rshd started and reads
    # ~/.bashrc, which may put another Python first. It does so in the outermost shell only.
    return {**kept, **TRACKING, "PATH": path, "SHLVL": "2", "GIT_AUTHOR_NAME": "CI", **extra}


def capsules(folder: Path) -> list[Capsule]:
    """The capsules below a folder of runs, oldest first."""
    found = sorted(folder.glob("*/capsule.json"))
    return [decode(path.read_bytes(), str(path)) for path in found]


def stop_server(root: Path) -> None:
    """End the project's MLflow server."""
    subprocess.run(
        [BIN / "rondel", "ui", "--stop"], cwd=root, env=environment(), check=False, capture_output=True
    )


def zipped(folder: Path, prefix: str = "") -> bytes:
    """The files below ``folder`` as a server gives a job's artifacts: one zip archive."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for path in sorted(each for each in folder.rglob("*") if each.is_file()):
            archive.write(path, f"{prefix}{path.relative_to(folder).as_posix()}")
    return made.getvalue()


def follow_the_last_line(shown: str, origin: Path, laptop: Path) -> subprocess.CompletedProcess[str]:
    """What a person does after a job failed: the command that it printed last, in a clone of their own."""
    (command,) = re.findall(r"^on your machine: rondel (reproduce \S+)$", shown, re.MULTILINE)
    git(laptop.parent, "clone", "-q", str(origin), str(laptop))
    try:
        return subprocess.run(
            [BIN / "rondel", *command.split(), "--yes"],
            cwd=laptop,
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
    finally:
        stop_server(laptop)


def missing(reason: str) -> NoReturn:
    """Skip for the lack of a tool, but where all of them have to be there."""
    if os.environ.get("RONDEL_TEST_TOOLS") == "required":
        pytest.fail(reason)
    pytest.skip(reason)


def _with_headers() -> dict[str, str]:
    """This environment; modules that npm compiles find the headers beside Node instead of downloading them."""
    node = shutil.which("node")
    if node is None:
        return dict(os.environ)
    prefix = Path(node).resolve().parents[1]
    found = (prefix / "include" / "node" / "node.h").exists()
    return dict(os.environ) | ({"npm_config_nodedir": str(prefix)} if found else {})


def installed(name: str, needs: tuple[str, ...], pins: tuple[str, ...], command: list[str]) -> Path:
    """The folder of a set of tools, installed once for each content of the files that pin them."""
    absent = [tool for tool in needs if not shutil.which(tool)]
    if absent:
        missing(f"this test needs {', '.join(absent)}")
    digest = hashlib.sha256(b"".join((TOOLS / pin).read_bytes() for pin in pins)).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "rondel-tests")
    folder = cache / f"{name}-{digest}"
    if not (folder / "complete").exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for pin in pins:
            shutil.copy(TOOLS / pin, folder)
        done = subprocess.run(
            command, cwd=folder, env=_with_headers(), capture_output=True, text=True, check=False, timeout=900
        )
        if done.returncode:
            missing(f"{name} could not be installed: {(done.stdout + done.stderr)[-500:]}")
        (folder / "complete").touch()
    return folder


def gitlab_ci_local() -> Path:
    """The program of gitlab-ci-local."""
    folder = installed(
        "npm",
        ("node", "npm", "rsync", "bash"),
        ("package.json", "package-lock.json"),
        ["npm", "ci", "--no-audit", "--no-fund"],
    )
    return folder / "node_modules" / "gitlab-ci-local" / "src" / "index.js"


def run_gitlab(
    root: Path, *words: str, source: str = "web", **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run jobs of the project's ``.gitlab-ci.yml``, each with a shell in a folder of its own."""
    given = {"GITLAB_CI": "true", "CI_PIPELINE_SOURCE": source, **variables}
    flags = [word for name, value in given.items() for word in ("--variable", f"{name}={value}")]
    return subprocess.run(
        ["node", str(gitlab_ci_local()), "--shell-isolation", *flags, *words],
        cwd=root,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )


def artifacts(root: Path, job: str) -> Path:
    """What a job of gitlab-ci-local has kept."""
    return root / ".gitlab-ci-local" / "artifacts" / job
