"""The repository as a stage gets it, put together here as its container is."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from rondel.git.repository import KEPT, Repository, head_commit, read_repository

if TYPE_CHECKING:
    from pathlib import Path


def git(root: Path, *words: str) -> str:
    command = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", *words]
    return subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    root = tmp_path / "origin"
    (root / "sub").mkdir(parents=True)
    git(root, "init", "-q", "-b", "main")
    for number in range(3):
        (root / "sub" / "file.txt").write_text(f"{number}\n")
        git(root, "add", "-A")
        git(root, "commit", "-qm", f"commit {number}")
    git(root, "tag", "v1")
    return root


def put_together(repository: Repository, work: Path) -> Path:
    """As `with_repository` does, without an engine."""
    target = work / ".git"
    shutil.rmtree(target, ignore_errors=True)
    for name in ("refs/heads", "objects/info"):
        (target / name).mkdir(parents=True)
    for source in (repository.folder, *(place.parent for place in repository.alternates)):
        for name in KEPT if source == repository.folder else ("objects",):
            if (source / name).is_dir():
                skip = shutil.ignore_patterns("alternates")
                shutil.copytree(source / name, target / name, dirs_exist_ok=True, ignore=skip)
            elif (source / name).is_file():
                shutil.copy(source / name, target / name)
    (target / "HEAD").write_text(repository.head)
    (target / "config").write_text(repository.config)
    if repository.index:
        shutil.copy(repository.index, target / "index")
    return work


def copy_of(root: Path, tmp_path: Path) -> Path:
    repository = read_repository(root)
    assert repository is not None
    work = tmp_path / "work"
    shutil.copytree(root, work, ignore=shutil.ignore_patterns(".git"))
    return put_together(repository, work)


def test_a_stage_sees_the_commit_the_history_and_what_is_changed(origin: Path, tmp_path: Path) -> None:
    git(origin, "pack-refs", "--all")
    (origin / "sub" / "file.txt").write_text("changed\n")
    work = copy_of(origin, tmp_path)
    assert git(work, "rev-parse", "HEAD") == git(origin, "rev-parse", "HEAD") == head_commit(origin)
    assert git(work, "describe", "--tags") == "v1"
    assert git(work, "rev-parse", "--abbrev-ref", "HEAD") == "main"
    assert git(work, "rev-list", "--count", "HEAD") == "3"
    assert git(work, "status", "--porcelain") == "M sub/file.txt"


def test_a_linked_worktree_has_its_own_head(origin: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    git(origin, "worktree", "add", "-q", "-b", "feature", str(other), "HEAD~1")
    assert (other / ".git").is_file()
    work = copy_of(other, tmp_path)
    assert git(work, "rev-parse", "HEAD") == git(other, "rev-parse", "HEAD")
    assert git(work, "rev-parse", "--abbrev-ref", "HEAD") == "feature"
    assert git(work, "status", "--porcelain") == ""


def test_a_shallow_clone_stays_one(origin: Path, tmp_path: Path) -> None:
    shallow = tmp_path / "shallow"
    git(tmp_path, "clone", "-q", "--depth", "1", f"file://{origin}", str(shallow))
    work = copy_of(shallow, tmp_path)
    assert git(work, "rev-parse", "HEAD") == git(origin, "rev-parse", "HEAD")
    assert git(work, "rev-list", "--count", "HEAD") == "1"


def test_objects_of_a_reference_clone_come_along(origin: Path, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "-q", "--shared", str(origin), str(clone))
    work = copy_of(clone, tmp_path)
    shutil.rmtree(origin)
    assert git(work, "rev-list", "--count", "HEAD") == "3"


def test_a_folder_below_the_top_has_the_commit_and_no_index(origin: Path, tmp_path: Path) -> None:
    repository = read_repository(origin / "sub")
    assert repository is not None
    assert repository.index is None
    work = copy_of(origin / "sub", tmp_path)
    assert git(work, "rev-parse", "HEAD") == git(origin, "rev-parse", "HEAD")


def test_neither_hooks_nor_credentials_come_along(origin: Path, tmp_path: Path) -> None:
    git(origin, "remote", "add", "origin", "https://ci:s3cr3t@git.example.org/a.git")
    git(origin, "config", "http.extraheader", "AUTHORIZATION: basic s3cr3t")
    (origin / ".git/hooks/post-checkout").write_text("#!/bin/sh\n")
    work = copy_of(origin, tmp_path)
    assert git(work, "remote", "get-url", "origin") == "https://git.example.org/a.git"
    assert "s3cr3t" not in (work / ".git/config").read_text()
    assert not (work / ".git/hooks").exists()


def test_without_a_commit_or_a_repository_there_is_no_head(tmp_path: Path) -> None:
    assert read_repository(tmp_path) is None
    assert head_commit(tmp_path) is None
    git(tmp_path, "init", "-q", ".")
    assert head_commit(tmp_path) is None
