"""DVC stages for real: in containers, with a real DVC, a real remote, a real git tree."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from engines import client_binary

from rondel.engines.choice import CLI

pytestmark = pytest.mark.container

TOP = Path(__file__).parents[2]
DVC = Path(sys.executable).with_name("dvc")

DVC_YAML = """\
stages:
  prepare:
    cmd: python src/prepare.py
    deps: [src/prepare.py, data/raw.txt]
    outs: [data/prepared]
  helper:
    cmd: python src/helper.py
    deps: [src/helper.py, data/prepared]
    outs: [data/helped.txt]
  train:
    cmd: python src/train.py
    deps: [src/train.py, data/helped.txt]
    params: [train]
    outs: [model.bin]
    metrics:
      - metrics.json: {cache: false}
    plots:
      - curve.csv
"""
PREPARE = """\
import os
os.makedirs("data/prepared", exist_ok=True)
lines = open("data/raw.txt").read().split()
for number in range(2):
    open(f"data/prepared/{number}.txt", "w").write("\\n".join(lines[number::2]))
"""
HELPER = """\
import glob
open("data/helped.txt", "w").write("".join(open(p).read() for p in sorted(glob.glob("data/prepared/*"))))
"""
TRAIN = """\
import json, os, sys, time
import yaml
parameters = yaml.safe_load(open("params.yaml"))["train"]
if parameters.get("fail"):
    print("the reason is printed here")
    sys.exit(7)
open("started.txt", "w").write("x")
time.sleep(parameters.get("sleep", 0))
open("model.bin", "w").write("model %s" % parameters["rate"])
json.dump({"auc": 0.5 + parameters["rate"]}, open("metrics.json", "w"))
open("curve.csv", "w").write("x,y\\n1,%s\\n" % parameters["rate"])
"""


def run(*args: str, cwd: Path, **env: str) -> str:
    done = subprocess.run(
        args, cwd=cwd, env={**os.environ, **env}, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def make_project(root: Path) -> Path:
    """A clone as a team would have it: committed, with data that was added and pushed."""
    files = {
        "dvc.yaml": DVC_YAML,
        "params.yaml": "train:\n  rate: 0.1\n  sleep: 0\n  fail: false\n",
        "src/prepare.py": PREPARE,
        "src/helper.py": HELPER,
        "src/train.py": TRAIN,
        "data/raw.txt": "\n".join(map(str, [time.time_ns(), *range(100)])),  # DVC's run-cache outlives a test
        ".gitignore": "/.rondel/\n/model.bin\n/curve.csv\n/data/prepared\n/data/helped.txt\n",
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    # The project's own image: it is built already where anybody ran `make train`.
    for name in ("Containerfile", "pyproject.toml", "uv.lock"):
        shutil.copy(TOP / name, root / name)
    git = ("git", "-c", "user.name=t", "-c", "user.email=t@example.org")
    run("git", "init", "-q", "-b", "main", cwd=root)
    run(str(DVC), "init", "-q", cwd=root)
    run(str(DVC), "remote", "add", "-q", "-d", "local", "../.rondel/remote", cwd=root)
    (root / ".dvc/config").write_text(
        "[core]\n    remote = local\n['remote \"local\"']\n    url = ../.rondel/remote\n"
    )
    run(str(DVC), "add", "-q", "data/raw.txt", cwd=root)
    run(str(DVC), "push", "-q", cwd=root)
    run(*git, "add", "-A", cwd=root)
    run(*git, "commit", "-qm", "one", cwd=root)
    return root


def command(root: Path, stages: list[str], **job: object) -> list[str]:
    text = json.dumps({"root": str(root), "stages": stages, "dvc_stages": ["prepare", "train"], **job})
    return [sys.executable, str(Path(__file__).with_name("drive_data.py")), text]


def environment(extra: dict[str, str] | None = None) -> dict[str, str]:
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("DAGGER_", "DVC_", "AWS_"))
    }
    return {**kept, CLI: str(client_binary()), **(extra or {})}


def drive(
    root: Path, stages: list[str], *, code: int = 0, env: dict[str, str] | None = None, **job: object
) -> tuple[list[dict[str, object]], str]:
    done = subprocess.run(
        command(root, stages, **job),
        cwd=root,
        env=environment(env),
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()], done.stderr


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in which both stages ran once."""
    root = make_project(tmp_path_factory.mktemp("data") / "project")
    found, _ = drive(root, ["prepare", "train"])
    assert [each["state"] for each in found] == ["ran", "ran"]
    return root


@pytest.fixture
def project(template: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(template, tmp_path / "project", symlinks=True))


def unique(root: Path) -> float:
    """A rate that no run of these tests had before: DVC's run-cache remembers every other."""
    return time.time_ns() / 1e19


def test_a_run_brings_back_what_belongs_to_the_user_and_pushes_the_rest(template):
    assert json.loads((template / "metrics.json").read_text()) == {"auc": 0.6}
    assert (template / "curve.csv").read_text() == "x,y\n1,0.1\n"
    assert not (template / "model.bin").exists()
    assert not (template / "started.txt").exists()
    # The stage between the pipeline's own two ran with the one that needs it.
    run(str(DVC), "pull", "-q", cwd=template)
    assert (template / "model.bin").read_text() == "model 0.1"
    assert json.loads(run(str(DVC), "status", "--json", cwd=template)) == {}
    for path in ("model.bin", "data/helped.txt"):
        (template / path).unlink()
    shutil.rmtree(template / "data/prepared")


def set_params(root: Path, **values: object) -> None:
    """Edit the project's own parameters."""
    file = root / "params.yaml"
    lines = file.read_text().splitlines()
    for name, value in values.items():
        lines = [
            f"  {name}: {json.dumps(value)}" if line.startswith(f"  {name}:") else line for line in lines
        ]
    file.write_text("\n".join([*lines, ""]))


def test_results_of_other_parameters_stay_out_of_the_working_tree(project):
    rate = unique(project)
    before = {name: (project / name).read_bytes() for name in ("dvc.lock", "metrics.json", "params.yaml")}
    found, _ = drive(project, ["train"], params={"train.rate": rate})
    assert found[0]["state"] == "ran"
    assert found[0]["metrics"] == {"auc": 0.5 + rate}
    assert {name: (project / name).read_bytes() for name in before} == before
    run(str(DVC), "pull", "-q", cwd=project)
    assert json.loads(run(str(DVC), "status", "--json", cwd=project)) == {}
    (tree,) = (lock.parent for lock in project.glob(".rondel/runs/*/tree/dvc.lock"))
    assert str(rate) in (tree / "dvc.lock").read_text()
    assert json.loads((tree / "metrics.json").read_text()) == {"auc": 0.5 + rate}


def test_a_failing_command_leaves_the_tree_alone(project):
    before = {name: (project / name).read_bytes() for name in ("dvc.lock", "metrics.json", "curve.csv")}
    _, said = drive(project, ["train"], code=10, params={"train.fail": True, "train.rate": unique(project)})
    assert "exit code 7" in said
    assert "the reason is printed here" in said
    assert {name: (project / name).read_bytes() for name in before} == before


def test_deleted_results_come_back(project):
    (project / "metrics.json").unlink()
    (project / "curve.csv").unlink()
    drive(project, ["train"])
    assert json.loads((project / "metrics.json").read_text()) == {"auc": 0.6}
    assert (project / "curve.csv").read_text() == "x,y\n1,0.1\n"


def test_without_the_cache_the_stage_runs_again(project):
    found, _ = drive(project, ["train"], settings={"cache": False})
    assert found[0]["state"] == "ran"


def test_a_file_changed_meanwhile_is_a_named_conflict(project):
    rate = unique(project)
    set_params(project, sleep=6, rate=rate)
    running = subprocess.Popen(
        command(project, ["train"]),
        cwd=project,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert running.stderr is not None
    for line in running.stderr:
        if "> python src/train.py" in line or "dvc stage train: python" in line:
            break
    time.sleep(1)
    (project / "metrics.json").write_text("mine")
    said = running.stderr.read()
    running.stderr.close()
    if running.stdout is not None:
        running.stdout.close()
    assert running.wait(timeout=300) == 23, said
    assert "metrics.json" in said
    assert (project / "metrics.json").read_text() == "mine"
    kept = list(project.glob(".rondel/runs/*/conflicts/train/metrics.json"))
    assert json.loads(kept[0].read_text()) == {"auc": 0.5 + rate}
    # The rest is in place.
    assert str(rate) in (project / "curve.csv").read_text()
    assert str(rate) in (project / "dvc.lock").read_text()


def test_a_killed_run_leaves_nothing_that_stops_the_next(project):
    before = {name: (project / name).read_bytes() for name in ("dvc.lock", "metrics.json")}
    running = subprocess.Popen(
        command(project, ["train"], params={"train.sleep": 60, "train.rate": unique(project)}),
        cwd=project,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert running.stderr is not None
    for line in running.stderr:
        if "> python src/train.py" in line or "dvc stage train: python" in line:
            break
    time.sleep(2)
    served = children(running.pid, "rondel.data.webdav")
    assert served
    running.kill()
    running.wait()
    running.stderr.close()
    deadline = time.monotonic() + 30
    while any(alive(pid) for pid in served) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(alive(pid) for pid in served)
    assert {name: (project / name).read_bytes() for name in before} == before
    rate = unique(project)
    found, _ = drive(project, ["train"], params={"train.rate": rate})
    assert found[0]["metrics"] == {"auc": 0.5 + rate}


def start(root: Path, **job: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command(root, ["prepare", "train"], **job),
        cwd=root,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_two_pipelines_at_once_share_cache_and_remote(project, tmp_path):
    shared = tmp_path / "shared"
    shutil.copytree(project / ".rondel/remote", shared)
    other = Path(shutil.copytree(project, tmp_path / "other", symlinks=True))
    rates = (unique(project), unique(project))
    for root, rate in zip((project, other), rates, strict=True):
        set_params(root, rate=rate)
    runs = [start(root, settings={"remote": str(shared)}) for root in (project, other)]
    said = [each.communicate(timeout=900)[0] for each in runs]
    assert [each.returncode for each in runs] == [0, 0], "\n".join(said)
    for root, rate in zip((project, other), rates, strict=True):
        assert json.loads((root / "metrics.json").read_text()) == {"auc": 0.5 + rate}
    for path in shared.glob("files/md5/*/*"):
        assert md5(path) == path.parent.name + path.name.removesuffix(".dir"), path


def test_two_runs_in_one_tree_do_not_break_it(project):
    set_params(project, rate=unique(project))
    runs = [start(project) for _ in range(2)]
    said = [each.communicate(timeout=900)[0] for each in runs]
    assert [each.returncode for each in runs] == [0, 0], "\n".join(said)
    run(str(DVC), "pull", "-q", cwd=project)
    assert json.loads(run(str(DVC), "status", "--json", cwd=project)) == {}


def test_data_that_was_added_is_handed_to_a_remote_of_this_machine(project):
    (project / "data/raw.txt").write_text(f"new data {time.time_ns()}")
    run(str(DVC), "add", "-q", "data/raw.txt", cwd=project)
    found, said = drive(project, ["prepare"])
    assert found[0]["state"] == "ran"
    assert "copied to the local DVC remote (like `dvc push`): data/raw.txt" in said


def test_data_that_is_nowhere_is_named(project):
    (project / "data/raw.txt").write_text(f"new data {time.time_ns()}")
    run(str(DVC), "add", "-q", "data/raw.txt", cwd=project)
    shutil.rmtree(project / ".dvc/cache")
    _, said = drive(project, ["prepare"], code=23)
    assert "can't fetch the inputs of dvc stage" in said
    assert "`dvc push data/raw.txt` if this clone has the data" in said


def test_inputs_that_the_cache_has_need_no_remote(project):
    shutil.rmtree(project / ".rondel/remote/files")
    for _ in range(2):
        found, said = drive(project, ["train"], params={"train.rate": unique(project)})
        assert found[0]["state"] == "ran", said


def test_a_remote_that_cannot_be_written_brings_nothing_back(project):
    before = (project / "dvc.lock").read_bytes()
    remote = project / ".rondel/remote/files"
    saved = remote.rename(project / "saved")
    remote.write_text("no folder")
    try:
        _, said = drive(project, ["train"], code=23, params={"train.rate": unique(project)})
    finally:
        remote.unlink()
        saved.rename(remote)
    assert "can't push the results" in said
    assert (project / "dvc.lock").read_bytes() == before


def test_new_data_reaches_every_stage(project):
    """DVC's own `--allow-missing` would take data that is not in the workspace for unchanged."""
    (project / "data/raw.txt").write_text(f"other data {time.time_ns()}")
    run(str(DVC), "add", "-q", "data/raw.txt", cwd=project)
    run(str(DVC), "push", "-q", cwd=project)
    found, said = drive(project, ["prepare", "train"])
    assert [each["state"] for each in found] == ["ran", "ran"], said
    assert "dvc stage helper: python src/helper.py" in said
    run(str(DVC), "pull", "-q", cwd=project)
    assert "other" in (project / "data/helped.txt").read_text()


def test_a_shell_command_returns_its_output_and_its_files(project):
    found, _ = drive(
        project,
        ["report"],
        sh="ls src && mkdir -p made && echo hello > made/a.txt && echo one > one.txt",
        outputs=["made/", "one.txt"],
    )
    assert str(found[0]["state"]).split() == ["helper.py", "prepare.py", "train.py"]
    assert (project / "made/a.txt").read_text() == "hello\n"
    assert (project / "one.txt").read_text() == "one\n"


def md5(path: Path) -> str:
    import hashlib

    return hashlib.md5(path.read_bytes()).hexdigest()


def children(pid: int, name: str) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == pid and name in (entry / "cmdline").read_text().replace("\0", " "):
                found.append(int(entry.name))
    return found


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_an_output_that_was_not_made_fails_the_stage_that_should_have(project):
    (project / "src/prepare.py").write_text(f"# {time.time_ns()}\n")
    before = (project / "dvc.lock").read_text()
    _, said = drive(project, ["prepare"], code=10)
    assert "data/prepared" in said
    assert (project / "dvc.lock").read_text() == before
