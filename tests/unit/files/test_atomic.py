"""Atomic writes: modes, links, failures."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest

from rondel.files.atomic import link_or_copy, private_folder, write_atomic

if TYPE_CHECKING:
    from pathlib import Path


def test_a_write_that_fails_leaves_the_old_content_and_no_draft(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "capsule.json"
    write_atomic(file, b"old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_atomic(file, b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["capsule.json"]
    assert file.read_bytes() == b"old"


def test_a_file_keeps_its_mode(tmp_path: Path) -> None:
    file = tmp_path / "run.sh"
    file.write_bytes(b"old")
    file.chmod(0o750)
    write_atomic(file, b"new")
    assert (file.read_bytes(), file.stat().st_mode & 0o777) == (b"new", 0o750)
    write_atomic(file, b"newer", mode=0o600)
    assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("follow", [True, False])
def test_a_symbolic_link_is_followed_or_replaced(tmp_path: Path, follow: bool) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_bytes(b"old")
    link.symlink_to(target)
    write_atomic(link, b"new", follow_links=follow)
    assert link.is_symlink() is follow
    assert link.read_bytes() == b"new"
    assert target.read_bytes() == (b"new" if follow else b"old")


def test_a_file_is_linked_over_an_older_one(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "folder/target"
    source.write_bytes(b"new")
    target.parent.mkdir()
    target.write_bytes(b"old")
    link_or_copy(source, target)
    assert target.samefile(source)
    assert os.listdir(target.parent) == ["target"]


def test_a_private_folder_is_private_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        private_folder(tmp_path / "new")
        (tmp_path / "old").mkdir(mode=0o755)
        private_folder(tmp_path / "old")
    finally:
        os.umask(before)
    for name in ("new", "old"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o700
