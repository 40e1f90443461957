"""A small DVC project in git, as a team would have it, for reproducing and resuming its runs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

TOP = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
DVC = BIN / "dvc"

DVC_YAML = """\
stages:
  prepare:
    cmd: python src/prepare.py
    deps: [src/prepare.py, data/raw.txt]
    params: [prepare]
    outs: [data/prepared.txt]
    metrics:
      - counts.json: {cache: false}
  train:
    cmd: python src/train.py
    deps: [src/train.py, data/prepared.txt]
    params: [train]
    outs: [model.bin]
    metrics:
      - metrics.json: {cache: false}
"""
PREPARE = """\
import json, yaml
step = yaml.safe_load(open("params.yaml"))["prepare"]["step"]
lines = open("data/raw.txt").read().split()[::step]
open("data/prepared.txt", "w").write("\\n".join(lines))
json.dump({"lines": len(lines)}, open("counts.json", "w"))
"""
TRAIN = """\
import json, os, sys, time, yaml
parameters = yaml.safe_load(open("params.yaml"))["train"]
lines = open("data/prepared.txt").read().split()
counted = json.load(open("counts.json"))["lines"]
open("half-done.txt", "w").write(f"{len(lines)} {counted}")
if parameters["fail"]:
    print("the reason: fail is set, mode", os.environ.get("TRAIN_MODE"))
    sys.exit(7)
rate = parameters["rate"] if not parameters.get("noise") else time.time_ns() % 1000
open("model.bin", "w").write(f"{rate} {sum(int(n) for n in lines)}")
json.dump({"auc": rate / 1000, "n": len(lines)}, open("metrics.json", "w"))
"""
MAIN = """\
from rondel import Pipeline, StageContext

pipeline = Pipeline()
prepare = pipeline.dvc("prepare")
train = pipeline.dvc("train", needs=[prepare])


@pipeline.stage(needs=[train])
async def check(ctx: StageContext) -> None:
    await ctx.sh("test -e ok.txt || { echo not yet; echo left > behind.txt; exit 5; }")


@pipeline.stage
async def raw(ctx: StageContext) -> None:
    await ctx.sh("echo first > first.txt")
    made = ctx.container().with_exec(["sh", "-c", "echo second > second.txt"])
    await made.with_exec(["sh", "-c", "echo half > third.txt; test -e ok.txt"]).stdout()


@pipeline.effect(needs=[train])
async def announce(ctx: StageContext) -> None:
    await ctx.sh("echo announced")


@pipeline.stage(needs=[announce])
async def after(ctx: StageContext) -> None:
    await ctx.sh("test -e ok.txt || exit 4")


if __name__ == "__main__":
    pipeline.main()
"""
PROJECT = """\
[project]
name = "capsules"

[tool.rondel]
environment = ["TRAIN_MODE"]
"""


def run(
    *words: object, cwd: Path, code: int | None = 0, env: dict[str, str] | None = None, **more: object
) -> subprocess.CompletedProcess[str]:
    """Run a command in an environment without CI, sessions and MLflow; its exit code must be ``code``."""
    done = subprocess.run(
        [str(word) for word in words],
        cwd=cwd,
        env={**environ(), **(env or {})},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
        **more,  # type: ignore[call-overload]
    )
    assert code is None or done.returncode == code, (
        f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    )
    return done


def environ() -> dict[str, str]:
    dropped = (
        "DAGGER",
        "MLFLOW_",
        "AWS_",
        "DVC_",
        "GIT_",
        "RONDEL_RE",
        "RONDEL_SHELL",
        "GITLAB_",
        "JENKINS_",
        "CI_",
    )
    kept = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    kept.pop("CI", None)
    return {**kept, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "DVC_NO_ANALYTICS": "1"}


def git(root: Path, *words: str) -> str:
    return run("git", "-c", "user.name=t", "-c", "user.email=t@example.org", *words, cwd=root).stdout


def make_project(root: Path, *, remote: str | None = None, env: dict[str, str] | None = None) -> Path:
    """The project, committed, its data added and pushed to the remote."""
    files = {
        "pyproject.toml": PROJECT,
        "dvc.yaml": DVC_YAML,
        "params.yaml": "prepare:\n  step: 1\ntrain:\n  rate: 500\n  fail: false\n",
        "src/prepare.py": PREPARE,
        "src/train.py": TRAIN,
        "ci/main.py": MAIN,
        # DVC's run-cache outlives a test: each project has data of its own.
        "data/raw.txt": "\n".join(map(str, [time.time_ns(), *range(100)])),
        ".gitignore": "/.rondel/\n/model.bin\n/data/prepared.txt\n/data/raw.txt\n",
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    # The project's own image: it is built already where anybody ran `make train`.
    shutil.copy(TOP / "Containerfile", root)
    (root / "image").mkdir()
    for name in ("pyproject.toml", "uv.lock"):
        shutil.copy(TOP / name, root / "image" / name)
    text = (
        (root / "Containerfile")
        .read_text()
        .replace("pyproject.toml uv.lock ./", "image/pyproject.toml image/uv.lock ./")
    )
    (root / "Containerfile").write_text(text)
    git(root, "init", "-q", "-b", "main")
    run(DVC, "init", "-q", cwd=root)
    (root / ".dvc/config").write_text(
        f"[core]\n    remote = team\n['remote \"team\"']\n    url = {remote or '../.rondel/remote'}\n"
    )
    (root / "data/.gitignore").unlink(missing_ok=True)
    run(DVC, "add", "-q", "data/raw.txt", cwd=root)
    run(DVC, "push", "-q", cwd=root, env=env)
    git(root, "add", "-A")
    git(root, "commit", "-qm", "one")
    return root


def pipeline(
    root: Path, *words: str, code: int | None = 0, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return run(sys.executable, "ci/main.py", *words, cwd=root, code=code, env=env)


def rondel(
    root: Path, *words: object, code: int | None = 0, env: dict[str, str] | None = None, **more: object
) -> subprocess.CompletedProcess[str]:
    return run(BIN / "rondel", *words, cwd=root, code=code, env=env, **more)
