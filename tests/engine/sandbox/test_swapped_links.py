"""Another container swaps paths in a shared volume for links while a command is prepared."""

from __future__ import annotations

import ctypes
import os
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import pytest

from rondel.engine.sandbox.spec import ExecRefused, VolumeMount

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.engine.sandbox.conftest import Run

pytestmark = [pytest.mark.anyio, pytest.mark.container]

RENAMEAT2, AT_FDCWD, EXCHANGE = {"x86_64": 316, "aarch64": 276}, -100, 2
COMMANDS = 40


@contextmanager
def swapping(one: Path, other: Path) -> Iterator[list[int]]:
    """Exchange two paths as fast as it goes; yields how often it did."""
    libc, done, count = ctypes.CDLL(None), threading.Event(), [0]
    names = [os.fsencode(one), os.fsencode(other)]
    number = RENAMEAT2[os.uname().machine]

    def swap() -> None:
        while not done.is_set():
            assert libc.syscall(number, AT_FDCWD, names[0], AT_FDCWD, names[1], EXCHANGE) == 0
            count[0] += 1

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        yield count
    finally:
        done.set()
        thread.join()


@pytest.mark.parametrize("swapped", ["file", "folder"])
async def test_standard_input_never_comes_from_outside_of_a_volume(
    run: Run, tmp_path: Path, swapped: str
) -> None:
    volume, outside = tmp_path / "volume", tmp_path / "outside"
    for folder in (volume / "d", outside):
        folder.mkdir(parents=True)
    (volume / "d/in").write_text("own")
    (outside / "in").write_text("canary")
    (outside / "in").chmod(0o600)
    path = volume / "d/in" if swapped == "file" else volume / "d"
    link = path.with_name("link")
    link.symlink_to(outside / "in" if swapped == "file" else outside)
    seen: list[bytes] = []
    with swapping(path, link) as swaps:
        for _ in range(COMMANDS):
            with suppress(ExecRefused):
                mounts = (VolumeMount(path="/c", source=volume),)
                seen.append((await run("cat", mounts=mounts, redirect_stdin="/c/d/in")).stdout.data)
    assert swaps[0] > COMMANDS
    assert set(seen) <= {b"own"}
