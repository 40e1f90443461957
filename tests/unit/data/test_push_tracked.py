"""Data that was added with a real DVC, handed to a remote that is a folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rondel.data import load_project
from rondel.data.push_tracked import push_tracked_data

DVC = Path(sys.executable).with_name("dvc")


def dvc(root: Path, *words: str) -> None:
    environ = {**os.environ, "DVC_SITE_CACHE_DIR": str(root.parent / "site")}
    done = subprocess.run(
        [str(DVC), *words], cwd=root, capture_output=True, text=True, check=False, env=environ
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    (root / "folder/sub").mkdir(parents=True)
    (root / "one.txt").write_text("one")
    (root / "folder/a.txt").write_text("a")
    (root / "folder/sub/b.txt").write_text("b")
    dvc(root, "init", "-q", "--no-scm")
    dvc(root, "add", "-q", "one.txt", "folder")
    return root


def test_what_the_remote_lacks_is_handed_over_once(root: Path, tmp_path: Path) -> None:
    remote = tmp_path / "remote"
    assert push_tracked_data(load_project(root), remote, {}) == ("folder", "one.txt")
    assert push_tracked_data(load_project(root), remote, {}) == ()
    dvc(root, "remote", "add", "-q", "-d", "far", str(remote))
    shutil.rmtree(root / ".dvc/cache")
    shutil.rmtree(root / "folder")
    (root / "one.txt").unlink()
    dvc(root, "pull", "-q")
    assert (root / "folder/sub/b.txt").read_text() == "b"
    assert (root / "one.txt").read_text() == "one"


def test_what_the_cache_lacks_too_stays_missing(root: Path, tmp_path: Path) -> None:
    remote = tmp_path / "remote"
    digest = load_project(root).tracked["folder"].hash
    assert digest is not None
    name = digest.partition(":")[2]
    (root / ".dvc/cache/files/md5" / name[:2] / name[2:]).unlink()
    assert push_tracked_data(load_project(root), remote, {}) == ("one.txt",)
    assert not list(remote.rglob("*.dir"))


def test_a_cache_elsewhere_is_looked_into(root: Path, tmp_path: Path) -> None:
    (root / ".dvc/cache").rename(tmp_path / "cache")
    assert push_tracked_data(load_project(root), tmp_path / "remote", {}) == ()
    dvc(root, "cache", "dir", "-q", str(tmp_path / "cache"))
    assert push_tracked_data(load_project(root), tmp_path / "remote", {}) == ("folder", "one.txt")
