from __future__ import annotations

import hashlib
import os
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from rondel.cli import main
from rondel.errors import RecordError
from rondel.git.state import read_git
from rondel.record import Capsule, Git, RunFolder, StageRecord
from rondel.record.snapshot import keep_code
from rondel.reproduce import worktree
from rondel.reproduce.worktree import create_worktree, remove_unused, restore_results, results_before
from rondel.secrets.masker import Masker

if TYPE_CHECKING:
    from pathlib import Path

ID = "20261123-200000-aaaaaa"


def git(root: Path, *words: str) -> str:
    command = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", *words]
    return subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    (root / "ci").mkdir(parents=True)
    (root / "ci/main.py").write_text("print()\n")
    (root / "a.txt").write_text("a\n")
    (root / ".gitignore").write_text("/.rondel/\n")
    git(root, "init", "-q")
    git(root, "add", "-A")
    git(root, "commit", "-qm", "one")
    return root


def capsule(found: Git, **fields: object) -> Capsule:
    made = Capsule(
        schema_version=1,
        id=ID,
        state="failed",
        pipeline="p",
        file="ci/main.py",
        created="2026-11-23T20:00:00Z",
        git=found,
    )
    return replace(made, **fields)  # type: ignore[arg-type]


def snapshot(root: Path) -> tuple[RunFolder, Capsule]:
    state = read_git(root)
    found = Git(commit=state.commit, diff=state.diff, dirty=state.dirty, untracked=dict(state.untracked))
    folder = RunFolder.of(root, ID)
    return folder, capsule(keep_code(folder, root, found, Masker()))


def hostile(root: Path, diff: str, **fields: object) -> tuple[RunFolder, Capsule]:
    folder = RunFolder.of(root, ID)
    folder.path.mkdir(parents=True)
    (folder.path / "code.diff").write_text(diff)
    return folder, capsule(Git(commit=read_git(root).commit, diff="code.diff", **fields))  # type: ignore[arg-type]


def listing(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if ".git" not in path.parts}


def test_changed_files_come_from_the_diff_not_from_the_capsule(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "a.txt").write_text("changed\n")
    folder, run = snapshot(project)
    stage = StageRecord(name="train", kind="pure", state="failed")
    folder.save(replace(run, git=replace(run.git, changed={"README.md": "0" * 64}), stages=[stage]))
    monkeypatch.chdir(project)
    assert main(["reproduce", ID, "--dry-run"]) == 0
    assert "  changed   a.txt\n" in capsys.readouterr().out


def test_the_code_of_a_run_is_restored(project: Path) -> None:
    (project / "a.txt").write_text("changed\n")
    (project / "new.sh").write_text("#!/bin/sh\n")
    (project / "new.sh").chmod(0o755)
    folder, run = snapshot(project)
    (project / "a.txt").write_text("something else\n")
    tree = create_worktree(project, folder, run)
    assert (tree.root / "a.txt").read_text() == "changed\n"
    assert os.access(tree.root / "new.sh", os.X_OK)
    again = read_git(tree.root)
    assert again.diff == (folder.path / "code.diff").read_text()
    assert dict(again.untracked) == run.git.untracked
    assert (project / "a.txt").read_text() == "something else\n"
    tree.remove()
    assert git(project, "worktree", "list").count("\n") == 1
    assert list((project / worktree.WORKTREES).iterdir()) == []


def test_hooks_of_the_repository_are_not_run(project: Path) -> None:
    hook = project / ".git/hooks/post-checkout"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\ntouch {project}/hooked\n")
    hook.chmod(0o755)
    folder, run = snapshot(project)
    create_worktree(project, folder, run).remove()
    assert not (project / "hooked").exists()


NEW = "diff --git a/{0} b/{0}\nnew file mode {1}\nindex 0000000..1111111\n--- /dev/null\n+++ b/{0}\n@@ -0,0 +1 @@\n+{2}\n"


@pytest.mark.parametrize(
    "diff",
    [
        NEW.format("../outside.txt", "100644", "evil"),
        NEW.format("ci/../../outside.txt", "100644", "evil"),
        NEW.format(".git/hooks/post-checkout", "100755", "evil"),
        NEW.format("ci/.GIT/config", "100644", "evil"),
        "diff --git a/a.txt b/../outside.txt\nsimilarity index 100%\nrename from a.txt\nrename to ../outside.txt\n",
        "no diff at all\n",
        "diff --git a/a.txt b/a.txt\n--- a/a.txt\n+++ b/a.txt\n@@ -1 +1 @@\n-not what is there\n+b\n",
        NEW.format("link", "120000", "/etc").rstrip("\n") + "\n\\ No newline at end of file\n",
        NEW.format("link", "120000", "../../../..").rstrip("\n") + "\n\\ No newline at end of file\n",
    ],
)
def test_a_bad_diff_is_refused_and_leaves_nothing_behind(project: Path, diff: str) -> None:
    folder, run = hostile(project, diff)
    before, above = listing(project), listing(project.parent)
    with pytest.raises(RecordError):
        create_worktree(project, folder, run)
    assert listing(project) - before <= {".rondel/worktrees"}
    assert listing(project.parent) - above <= {"project/.rondel/worktrees"}
    assert git(project, "worktree", "list").count("\n") == 1


def test_a_file_is_not_written_through_a_link_of_the_repository(project: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (project / "out").symlink_to(tmp_path / "outside")
    git(project, "add", "-A")
    git(project, "commit", "-qm", "two")
    digest = hashlib.sha256(b"evil").hexdigest()
    folder = RunFolder.of(project, ID)
    (folder.path / "untracked").mkdir(parents=True)
    (folder.path / "untracked" / digest).write_bytes(b"evil")
    run = capsule(Git(commit=read_git(project).commit, untracked={"out/evil.txt": digest}))
    with pytest.raises(RecordError, match="leaves the project"):
        create_worktree(project, folder, run)
    assert list((tmp_path / "outside").iterdir()) == []


def test_a_file_that_was_changed_in_the_capsule_is_refused(project: Path) -> None:
    (project / "new.txt").write_text("new\n")
    folder, run = snapshot(project)
    (folder.path / "untracked" / run.git.untracked["new.txt"]).write_text("other\n")
    with pytest.raises(RecordError, match="was changed in the capsule"):
        create_worktree(project, folder, run)


def test_a_commit_that_is_only_on_the_remote_is_fetched(project: Path, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "-q", str(project), str(clone))
    (project / "a.txt").write_text("newer\n")
    git(project, "commit", "-qam", "two")
    folder, run = snapshot(project)
    tree = create_worktree(clone, folder, run)
    assert (tree.root / "a.txt").read_text() == "newer\n"
    tree.remove()
    unknown = replace(run, git=replace(run.git, commit="0" * 40))
    with pytest.raises(RecordError, match="has no commit 0000"):
        create_worktree(clone, folder, unknown)


def test_a_project_in_a_folder_of_its_repository(tmp_path: Path) -> None:
    top = tmp_path / "mono"
    root = top / "teams/one"
    (root / "ci").mkdir(parents=True)
    (root / "ci/main.py").write_text("print()\n")
    (top / "shared.txt").write_text("1\n")
    git(top, "init", "-q")
    git(top, "add", "-A")
    git(top, "commit", "-qm", "one")
    (top / "shared.txt").write_text("2\n")
    (root / "ci/main.py").write_text("print(2)\n")
    (root / "new.txt").write_text("new\n")
    folder, run = snapshot(root)
    tree = create_worktree(root, folder, replace(run, git=replace(run.git, prefix="teams/one")))
    assert tree.root == tree.top / "teams/one"
    assert (tree.top / "shared.txt").read_text() == "2\n"
    assert (tree.root / "ci/main.py").read_text() == "print(2)\n"
    assert (tree.root / "new.txt").read_text() == "new\n"
    tree.remove()


def test_abandoned_worktrees_are_removed_and_kept_and_used_ones_stay(project: Path) -> None:
    folder, run = snapshot(project)
    abandoned, kept, used = (create_worktree(project, folder, run) for _ in range(3))
    kept.keep()
    kept.lock.close()
    abandoned.lock.close()
    assert remove_unused(project) == (abandoned.top.name,)
    assert not abandoned.top.exists()
    assert kept.top.is_dir()
    assert used.top.is_dir()
    used.remove()
    kept.remove()


# -- results of earlier stages


LOCK = "schema: '2.0'\nstages:\n  prepare:\n    cmd: p\n    md5: {}\n  other:\n    cmd: o\n    md5: {}\n"


def result(folder: RunFolder, step: str, files: dict[str, str], *, dvc: bool) -> None:
    place = folder.path / "results" / step
    place.mkdir(parents=True)
    if dvc:
        (place / "result.json").write_text("{}")
        place /= "files"
    for name, text in files.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(text)


def test_results_of_earlier_stages_are_restored_and_locks_merged(tmp_path: Path) -> None:
    folder, root = RunFolder(tmp_path / "run"), tmp_path / "tree"
    root.mkdir()
    (root / "dvc.lock").write_text(LOCK.format("old", "old"))
    # Both started from the same lock, so the second to end has the first one's old entry.
    result(folder, "prepare/prepare-2", {"dvc.lock": LOCK.format("new", "old"), "counts.json": "1"}, dvc=True)
    result(folder, "prepare/prepare-1", {"counts.json": "of the attempt that failed"}, dvc=True)
    result(folder, "other/other-1", {"dvc.lock": LOCK.format("old", "newer")}, dvc=True)
    result(folder, "report/sh-0-1", {"report/page.html": "<p>"}, dvc=False)
    records = [
        StageRecord(name="prepare", kind="pure", state="ran", attempts=2),
        StageRecord(name="other", kind="pure", state="ran", attempts=1),
        StageRecord(name="report", kind="pure", state="ran", attempts=1),
    ]
    laid = restore_results(root, folder, records)
    assert set(laid) == {"dvc.lock", "counts.json", "report/page.html"}
    assert (root / "dvc.lock").read_text() == LOCK.format("new", "newer")
    assert (root / "counts.json").read_text() == "1"
    assert (root / "report/page.html").read_text() == "<p>"


def test_only_results_of_stages_that_ended_before_are_restored() -> None:
    def stage(name: str, state: str, started: str, finished: str | None) -> StageRecord:
        return StageRecord(name=name, kind="pure", state=state, started=started, finished=finished)  # type: ignore[arg-type]

    run = capsule(
        Git(),
        stages=[
            stage("late", "ran", "1", "9"),
            stage("b", "ran", "1", "3"),
            stage("a", "ran", "1", "2"),
            stage("broken", "failed", "1", "2"),
            stage("train", "failed", "4", "5"),
        ],
    )
    assert [each.name for each in results_before(run, "train")] == ["a", "b"]
