from __future__ import annotations

import hashlib

from rondel.git.state import read_git


def test_a_clean_tree(project_root, git):
    state = read_git(project_root)
    assert state.commit == git("rev-parse", "HEAD").strip()
    assert (state.branch, state.dirty, state.diff, dict(state.untracked)) == ("main", False, "", {})


def test_changes_and_new_files_are_seen(project_root, git):
    (project_root / "params.yaml").write_text("train: {}\n")
    (project_root / "new file.txt").write_text("ä")
    state = read_git(project_root)
    assert state.dirty
    assert "+train: {}" in state.diff
    assert state.untracked == {"new file.txt": hashlib.sha256("ä".encode()).hexdigest()}


def test_what_rondel_itself_wrote_makes_no_tree_dirty(project_root, git):
    (project_root / ".gitignore").write_text("/models/\n")
    git("commit", "-qam", "two")
    (project_root / ".rondel").mkdir(exist_ok=True)
    (project_root / ".rondel" / "x").write_text("x")
    assert not read_git(project_root).dirty


def test_a_rename_is_a_change(project_root, git):
    git("mv", "metrics.json", "other.json")
    assert read_git(project_root).dirty
    assert not read_git(project_root).untracked


def test_a_detached_head_has_no_branch(project_root, git, monkeypatch):
    git("checkout", "-q", "--detach")
    monkeypatch.setenv("CI_COMMIT_REF_NAME", "feature")
    assert read_git(project_root).branch is None


def test_a_repository_without_a_commit(project_root, tmp_path, git):
    import shutil
    import subprocess

    shutil.rmtree(project_root / ".git")
    subprocess.run(["git", "init", "-q"], cwd=project_root, check=True)
    subprocess.run(["git", "add", "dvc.yaml"], cwd=project_root, check=True)
    state = read_git(project_root)
    assert state.commit is None
    assert state.dirty
    assert "prepare" in state.diff


def test_a_shallow_clone_says_so(project_root, git, tmp_path):
    import subprocess

    git("commit", "-q", "--allow-empty", "-m", "two")
    url = f"file://{project_root}"
    subprocess.run(["git", "clone", "-q", "--depth", "1", url, str(tmp_path / "c")], check=True)
    state = read_git(tmp_path / "c")
    assert state.shallow
    assert state.remote_url == url


def test_no_repository_and_no_git_are_no_error(project_root, monkeypatch):
    assert read_git(project_root).commit is None
    monkeypatch.setenv("PATH", "/nonexistent")
    assert read_git(project_root).commit is None


def test_a_project_in_a_subfolder_sees_its_own_files(project_root, git):
    (project_root / "sub").mkdir()
    (project_root / "sub" / "a.txt").write_text("a")
    (project_root / "elsewhere.txt").write_text("b")
    assert list(read_git(project_root / "sub").untracked) == ["a.txt"]
