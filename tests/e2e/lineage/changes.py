"""The changes of the lineage cases: one function for each case in ``cases.yaml``."""

from __future__ import annotations

import os
import shutil
import signal
from typing import TYPE_CHECKING

import yaml

from lineage.project import STAGES, Project, states, wait_for
from rondel.record import load

if TYPE_CHECKING:
    from collections.abc import Callable

CHANGES: dict[str, Callable[[Project], None]] = {}
"""The function that makes the change of each case."""


def change(name: str) -> Callable[[Callable[[Project], None]], Callable[[Project], None]]:
    """Register a function that makes the change of the case ``name``."""

    def add(function: Callable[[Project], None]) -> Callable[[Project], None]:
        CHANGES[name] = function
        return function

    return add


@change("nothing changed")
def nothing(project: Project) -> None:
    pass


# -- the image


@change("a variable of the image changed")
def image_variable(project: Project) -> None:
    project.edit("Containerfile", "ARG FLAG=1", "ARG FLAG=2")


@change("the image went back to an earlier recipe")
def image_back(project: Project) -> None:
    project.edit("Containerfile", "ARG FLAG=1", "ARG FLAG=2")
    project.run()
    assert project.metrics()["flag"] == 2
    project.edit("Containerfile", "ARG FLAG=2", "ARG FLAG=1")


@change("a build argument was added")
def build_argument(project: Project) -> None:
    with (project.root / "pyproject.toml").open("a") as file:
        file.write('[tool.rondel.build-args]\nFLAG = "3"\n')


@change("a file that the image copies changed")
def copied_file(project: Project) -> None:
    project.edit("requirements.txt", "none", "still none")


@change("a file that the image copies by an argument changed")
def file_by_argument(project: Project) -> None:
    copies = "ARG FILE=requirements.txt\nCOPY ${FILE} /opt/\nCOPY <<EOF /opt/note\nCOPY is no instruction here\nEOF"
    project.edit("Containerfile", "COPY requirements.txt /opt/", copies)
    project.run()
    project.edit("requirements.txt", "none", "still none")


@change("a file that .dockerignore leaves out changed")
def ignored_file(project: Project) -> None:
    project.edit("Containerfile", "COPY requirements.txt /opt/", "COPY . /opt/")
    (project.root / ".dockerignore").write_text("*\n!requirements.txt\n")
    (project.root / "notes.txt").write_text("1\n")
    project.run()
    (project.root / "notes.txt").write_text("2\n")


@change("another target of the Containerfile changed")
def other_target(project: Project) -> None:
    project.edit("Containerfile", "ENV OTHER=1", "ENV OTHER=2")


@change("the stages use another target")
def target(project: Project) -> None:
    with (project.root / "pyproject.toml").open("a") as file:
        file.write('target = "other"\n')


# -- variables and secrets


@change("a variable of the stages changed")
def variable(project: Project) -> None:
    project.environ["SEED"] = "5"
    project.run()
    project.environ["SEED"] = "6"


@change("a variable that the stages do not get changed")
def other_variable(project: Project) -> None:
    project.environ["OTHER_SEED"] = "5"


@change("a secret was added")
def secret(project: Project) -> None:
    with (project.root / "pyproject.toml").open("a") as file:
        file.write('secrets = ["TOKEN"]\n')
    project.environ["TOKEN"] = "one-secret-value"


@change("the value of a secret changed")
def other_secret(project: Project) -> None:
    secret(project)
    project.run()
    project.environ["TOKEN"] = "another-secret-value"
    for file in (project.root / ".rondel").rglob("*"):
        if file.is_file():
            assert b"secret-value" not in file.read_bytes(), file


# -- parameters


@change("a parameter changed")
def parameter(project: Project) -> None:
    project.edit("params.yaml", "0.1", "0.2")


@change("a parameter went back to an earlier value")
def parameter_back(project: Project) -> None:
    parameter(project)
    project.run()
    project.edit("params.yaml", "0.2", "0.1")


@change("a parameter that no stage uses changed")
def other_parameter(project: Project) -> None:
    project.edit("params.yaml", "other: 1", "other: 2")


@change("the parameter file was reformatted")
def parameter_layout(project: Project) -> None:
    project.write(**{"params.yaml": "# anew\nother: 1\ntrain: {rate: 0.10}\n"})


@change("-P gave another value")
def override(project: Project) -> None:
    project.words = ["-P", "train.rate=0.3"]


@change("-P gave the value that the file has")
def same_override(project: Project) -> None:
    project.words = ["-P", "train.rate=0.1"]


@change("a run came after one with -P")
def after_override(project: Project) -> None:
    before = {
        name: (project.root / name).read_bytes() for name in ("dvc.lock", "rondel.lock", "metrics.json")
    }
    project.run("-P", "train.rate=0.3")
    assert load(project.root)[1].stage("train").metrics["rate"] == 0.3
    assert {name: (project.root / name).read_bytes() for name in before} == before
    assert project.git("status", "--porcelain") == ""
    project.run("-P", "train.rate=0.3")
    assert states(project) == dict.fromkeys(STAGES, "cached")
    assert load(project.root)[1].stage("train").metrics["rate"] == 0.3
    assert project.git("status", "--porcelain") == ""


@change("a run came after one with -P and --apply")
def after_apply(project: Project) -> None:
    project.run("-P", "train.rate=0.3", "--apply")
    assert "rate: 0.3" in (project.root / "params.yaml").read_text()
    assert project.metrics()["rate"] == 0.3


# -- code and data


@change("a declared file changed")
def code(project: Project) -> None:
    project.edit("src/train.py", "VERSION = 1", "VERSION = 2")


@change("a declared file changed and went back")
def code_back(project: Project) -> None:
    code(project)
    project.run()
    project.edit("src/train.py", "VERSION = 2", "VERSION = 1")


@change("a declared file was touched")
def touched(project: Project) -> None:
    os.utime(project.root / "src/train.py")


@change("a declared file changed, with the size and the time of before")
def same_times(project: Project) -> None:
    before = (project.root / "src/train.py").stat()
    code(project)
    os.utime(project.root / "src/train.py", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (project.root / "src/train.py").stat().st_size == before.st_size


@change("a declared file changed, and is older than before")
def older(project: Project) -> None:
    code(project)
    os.utime(project.root / "src/train.py", (10**9, 10**9))


@change("a file that the command reads and does not declare changed")
def undeclared(project: Project) -> None:
    project.edit("src/helper.py", "FACTOR = 1", "FACTOR = 5")


@change("an empty package file that the command opens got content")
def package_file(project: Project) -> None:
    (project.root / "src/__init__.py").touch()
    project.edit("src/train.py", "import helper", "import helper; open('src/__init__.py').read()")
    project.run()
    project.write(**{"src/__init__.py": "x = 1\n"})


@change("a file of settings that the command reads changed")
def settings_file(project: Project) -> None:
    project.edit("src/train.py", "import helper", "import helper; open('pyproject.toml').read()")
    project.run()
    with (project.root / "pyproject.toml").open("a") as file:
        file.write("# more\n")


@change("a file that no command reads changed")
def unused(project: Project) -> None:
    project.edit("src/unused.py", "x = 1", "x = 2")


@change("the data at the start changed")
def data(project: Project) -> None:
    (project.root / "data/raw.txt").write_text("one two three four\n")
    project.dvc("add", "-q", "data/raw.txt")
    project.dvc("push", "-q", "data/raw.txt.dvc")


@change("an input of a stage that runs inside another one changed")
def inner_input(project: Project) -> None:
    (project.root / "src/ingest.txt").write_text("abc def\n")


@change("an earlier stage made the same result again")
def same_again(project: Project) -> None:
    project.edit("src/prepare.sh", "cat", "# a comment\ncat")


# -- dvc.yaml


@change("a command changed")
def command(project: Project) -> None:
    project.edit("dvc.yaml", "python3 src/train.py", "python3 -u src/train.py")


@change("a description was added to dvc.yaml")
def description(project: Project) -> None:
    project.edit(
        "dvc.yaml", "    cmd: python3 src", "    desc: trains\n    meta: {by: me}\n    cmd: python3 src"
    )


@change("an output was added")
def output(project: Project) -> None:
    project.edit("dvc.yaml", "outs: [model.bin]", "outs: [model.bin, extra.bin]")


@change("a stage is frozen and its input changed")
def frozen(project: Project) -> None:
    project.edit("dvc.yaml", "    cmd: python3 src", "    frozen: true\n    cmd: python3 src")
    code(project)


@change("a stage is always changed")
def always(project: Project) -> None:
    project.edit("dvc.yaml", "    cmd: python3 src", "    always_changed: true\n    cmd: python3 src")


# -- ci/main.py


@change("a comment in ci/main.py changed")
def comment(project: Project) -> None:
    project.edit("ci/main.py", "# of a model", "# of a model, in bytes")


@change("the code of a stage in ci/main.py changed")
def stage_code(project: Project) -> None:
    project.edit(
        "ci/main.py", '    await ctx.dvc("evaluate")', '    await ctx.dvc("evaluate")\n    print("more")'
    )


@change("a rule of the gate changed")
def rule(project: Project) -> None:
    project.edit("ci/main.py", "SMALLEST = 1", "SMALLEST = 2")


# -- the working tree


@change("a metrics file was deleted")
def metrics_deleted(project: Project) -> None:
    (project.root / "metrics.json").unlink()


@change("a metrics file was edited")
def metrics_edited(project: Project) -> None:
    (project.root / "metrics.json").write_text('{"rate": 99}')


@change("dvc.lock was deleted")
def lock_deleted(project: Project) -> None:
    (project.root / "dvc.lock").unlink()


@change("an entry of dvc.lock was edited")
def lock_edited(project: Project) -> None:
    project.edit("dvc.lock", md5_of_model(project), "abcd" * 8)


def md5_of_model(project: Project) -> str:
    entry = yaml.safe_load((project.root / "dvc.lock").read_text())["stages"]["train"]
    return next(out["md5"] for out in entry["outs"] if out["path"] == "model.bin")


@change("the remote lost the model")
def lost(project: Project) -> None:
    digest = md5_of_model(project)
    (project.root / ".rondel/remote/files/md5" / digest[:2] / digest[2:]).unlink()


# -- branches, clones, other projects


@change("another branch was checked out and left again")
def branch(project: Project) -> None:
    project.git("switch", "-qc", "other")
    project.edit("params.yaml", "0.1", "0.4")
    project.run()
    assert states(project) == {"prepare": "cached", "train": "ran", "evaluate": "ran"}
    project.git("commit", "-qam", "other")
    project.git("switch", "-q", "main")
    project.run()
    assert states(project) == dict.fromkeys(STAGES, "cached")
    project.git("switch", "-q", "other")
    project.run()
    assert states(project) == dict.fromkeys(STAGES, "cached")
    assert project.metrics()["rate"] == 0.4
    project.git("switch", "-q", "main")


def clone(project: Project, *without: str) -> None:
    """Go on in a fresh clone, which has the same remote and nothing else that git does not know."""
    fresh = project.root.with_name("clone")
    project.git("clone", "-q", str(project.root), str(fresh))
    shutil.copytree(project.root / ".rondel/remote", fresh / ".rondel/remote")
    (fresh / "data").mkdir(exist_ok=True)
    shutil.copy(project.root / "data/raw.txt", fresh / "data/raw.txt")
    shutil.copy(project.root / "scores.json", fresh / "scores.json")
    project.root = fresh
    for name in without:
        (fresh / name).unlink()


@change("a fresh clone has dvc.lock and rondel.lock")
def fresh_clone(project: Project) -> None:
    clone(project)


@change("a fresh clone has dvc.lock alone")
def bare_clone(project: Project) -> None:
    clone(project, "rondel.lock")


@change("a fresh clone has another image")
def other_image(project: Project) -> None:
    clone(project)
    image_variable(project)


@change("a fresh clone has an entry that somebody else made")
def other_maker(project: Project) -> None:
    clone(project)
    project.edit("dvc.lock", md5_of_model(project), "abcd" * 8)


@change("a fresh clone lacks a metrics file that DVC keeps")
def lacking(project: Project) -> None:
    clone(project, "scores.json")


@change("a twin project has another undeclared file")
def twin(project: Project) -> None:
    clone(project)
    undeclared(project)


@change("the project was moved")
def moved(project: Project) -> None:
    project.root = project.root.rename(project.root.with_name("elsewhere"))


# -- runs and attempts


@change("an attempt failed in between")
def failed(project: Project) -> None:
    project.edit("src/train.py", "VERSION = 1", "raise SystemExit(3)")
    project.run(code=10)
    assert states(project)["train"] == "failed"
    project.edit("src/train.py", "raise SystemExit(3)", "VERSION = 1")


@change("an attempt was killed in between")
def killed(project: Project) -> None:
    project.edit("src/train.py", "VERSION = 1", "VERSION = 1; import time; time.sleep(600)")
    process = project.popen("-v")
    wait_for(process, "> python3 src/train.py")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    project.edit("src/train.py", "VERSION = 1; import time; time.sleep(600)", "VERSION = 1")


@change("--no-cache")
def no_cache(project: Project) -> None:
    project.words = ["--no-cache"]


@change("a run came after one with --no-cache")
def after_no_cache(project: Project) -> None:
    project.run("--no-cache")
    assert states(project) == dict.fromkeys(STAGES, "ran")


@change("--only")
def only(project: Project) -> None:
    project.target = "train"
    project.words = ["--only"]


# -- who runs it, and where


@change("another locale and another time zone")
def locale(project: Project) -> None:
    project.environ |= {"LC_ALL": "C", "LANG": "tr_TR.UTF-8", "TZ": "Asia/Tokyo"}


@change("another home and another user's name")
def user(project: Project) -> None:
    home = project.root.with_name("home")
    home.mkdir()
    project.environ |= {"HOME": str(home), "USER": "somebody", "LOGNAME": "somebody"}


@change("another folder to start from")
def folder(project: Project) -> None:
    project.start = "src"


@change("more jobs and verbose output")
def options(project: Project) -> None:
    project.words = ["--jobs", "7", "-v", "--keep-going"]
