"""A process that is shut in reads and writes only what it was given."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from rondel.files import landlock

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = """
import os, sys
from rondel.files import landlock
own, outside = sys.argv[1:]
landlock.restrict_to_paths(read=landlock.python_paths(), write=[own, "/dev/null", "/does/not/exist"])
import json, shutil, sqlite3, ssl
os.mkdir(f"{own}/a")
os.mkdir(f"{own}/b")
open(f"{own}/a/file", "w").write("x")
# A restriction of other access that a parent has makes rename(2) fail with EXDEV between folders.
shutil.move(f"{own}/a/file", f"{own}/b/file")
os.truncate(f"{own}/b/file", 0)
open("/dev/null", "w").write("x")
tries = {
    "read": lambda: open(f"{outside}/key").read(),
    "list": lambda: os.listdir(outside),
    "write": lambda: open(f"{outside}/new", "w"),
    "truncate": lambda: os.truncate(f"{outside}/key", 0),
    "remove": lambda: os.unlink(f"{outside}/key"),
    "move in": lambda: os.rename(f"{outside}/key", f"{own}/key"),
    "by a link": lambda: (os.symlink(outside, f"{own}/link"), open(f"{own}/link/key").read()),
    "by a child": lambda: os.posix_spawn(sys.executable, [sys.executable, "-c", "1"], {}) and os.listdir(outside),
}
for name, action in tries.items():
    try:
        action()
        print(name)
    except OSError as error:
        assert error.errno in (13, 18), (name, error)
"""


@pytest.mark.skipif(landlock.version() < landlock.PATHS_SINCE, reason="this kernel has no Landlock")
def test_only_the_given_paths_are_reached(tmp_path: Path) -> None:
    own, outside = tmp_path / "own", tmp_path / "outside"
    own.mkdir()
    outside.mkdir()
    (outside / "key").write_text("canary")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(own), str(outside)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert (outside / "key").read_text() == "canary"
    assert sorted(path.name for path in outside.iterdir()) == ["key"]
