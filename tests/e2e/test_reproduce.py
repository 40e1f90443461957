"""`rondel reproduce` for real: a failed run's stage again, in a worktree, in a container of the embedded engine."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from capsule_project import BIN, environ, git, make_project, pipeline, rondel
from engines import on_dagger

from rondel.record import load

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.container

FAILING = "prepare:\n  step: 2\ntrain:\n  rate: 500\n  fail: true\n"
MODE = {"TRAIN_MODE": "odd"}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project whose training failed: with uncommitted parameters and a file that git does not know.

    Preparation ran in the same run, so `dvc.lock` of the commit knows nothing of what training read.
    """
    root = make_project(tmp_path_factory.mktemp("reproduce") / "project")
    (root / "params.yaml").write_text(FAILING)
    (root / "src/extra.txt").write_text("git does not know this\n")
    done = pipeline(root, "train", code=10, env=MODE)
    run = load(root)[1]
    assert f"resume: python ci/main.py --resume {run.id}" in done.stderr
    assert f"reproduce: rondel reproduce {run.id}" in done.stderr
    (root / "failed-run").write_text(run.id)
    # What is here now is something else: nothing of it may be used.
    (root / "params.yaml").write_text("prepare:\n  step: 7\ntrain:\n  rate: 1\n  fail: false\n")
    (root / "src/extra.txt").unlink()
    (root / "dvc.lock").unlink()
    (root / "counts.json").unlink()
    yield root
    rondel(root, "ui", "--stop", code=None)


@pytest.fixture(scope="module")
def failed(project: Path) -> str:
    return (project / "failed-run").read_text()


def tree(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and not {".rondel", ".git"} & set(path.relative_to(root).parts)
    }


def test_a_failed_stage_fails_the_same_way_and_the_users_tree_is_left_alone(
    project: Path, failed: str
) -> None:
    before, head = tree(project), git(project, "rev-parse", "HEAD")
    done = rondel(project, "reproduce", failed)
    assert f"the same outcome: train failed with exit code 7, as in run {failed}" in done.stdout
    assert "the reason: fail is set, mode odd" in done.stderr
    assert "params.yaml" in done.stdout  # shown before it ran
    assert "src/extra.txt" in done.stdout
    assert tree(project) == before
    assert git(project, "rev-parse", "HEAD") == head
    assert git(project, "worktree", "list").count("\n") == 1
    assert list((project / ".rondel/worktrees").iterdir()) == []
    again = load(project)[1]
    assert again.reproduces == failed
    original = load(project, failed)[1]
    assert again.stage("train").inputs == original.stage("train").inputs
    assert again.git.changed["params.yaml"] == original.git.changed["params.yaml"]
    # What preparation had brought back by then is there, too.
    new = set(again.git.untracked.items()) - set(original.git.untracked.items())
    assert {path for path, _ in new} == {"counts.json", "dvc.lock"}
    assert again.git.untracked["src/extra.txt"] == original.git.untracked["src/extra.txt"]
    assert again.stage("train").image is not None
    assert again.stage("train").image.digest == original.stage("train").image.digest  # type: ignore[union-attr]


def test_a_fix_is_tried_by_a_parameter_and_the_verdict_names_it(project: Path, failed: str) -> None:
    done = rondel(project, "reproduce", failed, "-P", "train.fail=false", code=30)
    assert "a different outcome: train succeeded" in done.stdout
    assert "the first input that differs: parameters train.fail: True then, False now" in done.stdout
    again = load(project)[1]
    assert again.stage("train").metrics == {"auc": 0.5, "n": 51}  # 101 lines, every second one: step is 2
    said = json.loads(rondel(project, "parity", failed, again.id, "--json", code=30).stdout)
    assert said["first"]["entry"] == "train.fail"
    assert [each["entry"] for each in said["inputs"]] == ["train.fail"]
    assert "entry" in rondel(project, "parity", failed, again.id, code=30).stdout


def test_parity_of_a_run_with_its_reproduction(project: Path, failed: str) -> None:
    rondel(project, "reproduce", failed)
    again = load(project)[1].id
    assert "the same: train" in rondel(project, "parity", failed, again).stdout


def test_the_worktree_is_kept_when_asked_and_cleaned_up_otherwise(project: Path, failed: str) -> None:
    done = rondel(project, "reproduce", failed, "--keep")
    kept = project / done.stdout.rpartition("its worktree: ")[2].strip()
    assert (kept / "src/extra.txt").read_text() == "git does not know this\n"
    assert (kept / "counts.json").read_text() == '{"lines": 51}'
    rondel(project, "reproduce", failed)
    assert kept.is_dir()
    # One that a killed process left is removed by the next.
    (kept.parent / f"{kept.name}.kept").unlink()
    rondel(project, "reproduce", failed)
    assert not kept.exists()


def test_a_run_is_found_by_its_mlflow_run(project: Path, failed: str) -> None:
    record = load(project, failed)[1].stage("train")
    assert record.mlflow is not None
    done = rondel(project, "reproduce", record.mlflow.run_id, "--yes")
    assert "the same outcome" in done.stdout


def test_an_exported_capsule_is_only_run_after_it_was_shown_and_agreed_to(
    project: Path, failed: str, tmp_path: Path
) -> None:
    said = rondel(project, "runs", "export", failed, "-o", tmp_path / "run.capsule").stdout
    assert said.startswith("sha256:")
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "-q", str(project), str(clone))
    refused = rondel(clone, "reproduce", tmp_path / "run.capsule", code=20, stdin=subprocess.DEVNULL)
    assert "python ci/main.py train --only" in refused.stdout
    assert "confirm with --yes" in refused.stderr
    assert not list((clone / ".rondel").glob("worktrees/*"))
    # The clone's `.dvc/config` leads to a remote of its own, where nothing is: where the data lies has to be said.
    where = {"DVC_REMOTE_URL": str(project / ".rondel/remote")}
    done = rondel(clone, "reproduce", tmp_path / "run.capsule", "--yes", env=where)
    assert "the same outcome: train failed with exit code 7" in done.stdout
    rondel(clone, "ui", "--stop", code=None)


def test_a_stage_that_is_not_the_same_every_time_is_found_out(tmp_path: Path) -> None:
    root = make_project(tmp_path / "project")
    (root / "params.yaml").write_text(
        "prepare:\n  step: 1\ntrain:\n  rate: 1\n  fail: false\n  noise: true\n"
    )
    pipeline(root, "train")
    run = load(root)[1].id
    assert (
        "the same outcome: prepare succeeded" in rondel(root, "reproduce", run, "--stage", "prepare").stdout
    )
    done = rondel(root, "reproduce", run, "--stage", "train", code=31)
    assert "output model.bin: md5:" in done.stdout
    assert "no recorded input differs" in done.stdout
    assert (
        "the inputs are the same, but"
        in rondel(root, "parity", run, load(root)[1].id, "--stage", "train", code=31).stdout
    )
    why = rondel(root, "why", "train").stdout
    assert "train" in why
    rondel(root, "ui", "--stop", code=None)


def test_the_unknown_is_refused_with_a_sentence(project: Path, failed: str) -> None:
    assert "has no stage 'trian'" in rondel(project, "reproduce", failed, "--stage", "trian", code=24).stderr
    assert "there is no run" in rondel(project, "reproduce", "19990101", code=24).stderr
    assert (
        "needs a terminal"
        in rondel(project, "reproduce", failed, "--shell", "after", code=20, stdin=subprocess.DEVNULL).stderr
    )


# In the display of Dagger's CLI the shell opens later than the text that announces it.
PROMPT = "/work#" if on_dagger() else "discards its changes"


def converse(
    words: list[object], cwd: Path, replies: list[tuple[str, str]], seconds: float = 180
) -> tuple[str, int]:
    """What a command shows on a terminal; each reply is typed when its prompt has been shown."""
    child, door = pty.fork()
    if child == 0:
        os.chdir(cwd)
        command = [str(word) for word in words]
        os.execve(command[0], command, {**environ(), "TERM": "xterm"})
    fcntl.ioctl(door, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 200, 0, 0))
    seen, fresh, waiting = "", "", list(replies)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if select.select([door], [], [], 0.2)[0]:
            try:
                data = os.read(door, 65536)
            except OSError:
                break
            if not data:
                break
            text = data.decode(errors="replace")
            seen, fresh = seen + text, fresh + text
        if waiting and waiting[0][0] in fresh:
            time.sleep(0.3)
            os.write(door, waiting.pop(0)[1].encode())
            fresh = ""
    else:
        os.kill(child, 9)
    os.close(door)
    _, status = os.waitpid(child, 0)
    assert not waiting, f"never asked {waiting}: {seen[-3000:]}"
    return seen, os.waitstatus_to_exitcode(status)


def test_a_shell_opens_just_before_the_failing_command(project: Path, failed: str) -> None:
    seen, code = converse(
        [BIN / "rondel", "reproduce", failed, "--shell", "before"],
        project,
        [
            (
                PROMPT,
                "ls half-done.txt; wc -w < data/prepared.txt; echo mode=$TRAIN_MODE; exit\n",
            )
        ],
    )
    assert "before its command" in seen
    assert "python src/train.py" in seen
    assert "cannot access 'half-done.txt'" in seen
    assert "\n51" in seen
    assert "mode=odd" in seen
    assert "the same outcome" in seen
    assert code == 0


def test_a_shell_opens_in_what_the_failing_command_left(project: Path, failed: str) -> None:
    seen, code = converse(
        [BIN / "rondel", "reproduce", failed, "--shell", "after"],
        project,
        [(PROMPT, "cat half-done.txt; exit\n")],
    )
    assert "after its command" in seen
    assert "51 51" in seen
    assert "the same outcome" in seen
    assert code == 0


@pytest.mark.parametrize(
    ("when", "third"), [("before", "third=no"), ("after", "third=half")], ids=["before", "after"]
)
def test_a_shell_reaches_a_command_of_the_plain_dagger_api(
    project: Path, raw: str, when: str, third: str
) -> None:
    look = "echo $(cat first.txt second.txt) third=$(cat third.txt 2>/dev/null || echo no); exit\n"
    seen, code = converse(
        [BIN / "rondel", "reproduce", raw, "--shell", when],
        project,
        [(PROMPT, look)],
    )
    assert f"first second {third}" in seen
    # Not at the command that succeeded. The CLI's display paints its lines more than once.
    assert on_dagger() or seen.count("discards its changes") == 1
    assert "the same outcome" in seen
    assert code == 0


@pytest.fixture(scope="module")
def raw(project: Path) -> str:
    pipeline(project, "raw", code=10)
    return load(project)[1].id
