"""What of this machine goes into the host image, while the machine is in use."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from rondel.engine.images import host_tree

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_what_vanishes_from_etc_meanwhile_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    listed = os.listdir

    def with_a_ghost(path: str) -> list[str]:
        return [*listed(path), "no-such-file-here"]

    monkeypatch.setattr(os, "listdir", with_a_ghost)
    found = [name for name, _ in host_tree.etc_files()]
    assert "os-release" in found
    assert not any(name.endswith("no-such-file-here") for name in found)


def test_a_link_of_etc_that_is_gone_when_it_is_copied_is_left_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    status = os.lstat("/proc/self/exe")
    monkeypatch.setattr(host_tree, "etc_files", lambda: iter([("rondel-no-such-link", status)]))
    host_tree._make_etc(tmp_path / "etc")
    assert "rondel-no-such-link" not in os.listdir(tmp_path / "etc")


def test_folders_that_vanish_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "there" / "inner").mkdir(parents=True)
    grafts = {"/opt/there": str(tmp_path / "there"), "/opt/gone": str(tmp_path / "gone")}
    host_tree.make_folders(tmp_path / "made", grafts)
    assert (tmp_path / "made" / "opt" / "there" / "inner").is_dir()
    assert list((tmp_path / "made" / "opt" / "gone").iterdir()) == []


def test_what_a_job_in_place_keeps_in_etc_is_no_part_of_the_image() -> None:
    assert "rondel" in host_tree._ETC_HIDDEN
