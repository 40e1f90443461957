"""Another container swaps paths in a shared volume for links while a command is prepared."""

from __future__ import annotations

import ctypes
import os
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import pytest

from rondel.engine.sandbox.spec import (
    BindMount,
    ExecRefused,
    OverlayMount,
    SandboxError,
    SecretFileMount,
    SnapshotFileMount,
    TmpfsMount,
    VolumeMount,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rondel.engine.store import Snapshot, Store
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


@pytest.mark.parametrize("readonly", [False, True])
@pytest.mark.parametrize("prefix", ["", "/oldroot"])
async def test_a_mount_in_a_volume_makes_nothing_outside_of_it(
    run: Run, tmp_path: Path, prefix: str, readonly: bool
) -> None:
    volume, outside = tmp_path / "volume", tmp_path / "outside"
    for folder in (volume / "d", outside):
        folder.mkdir(parents=True)
    link = volume / "link"
    link.symlink_to(f"{prefix}{outside}")
    mounts = (
        BindMount(path="/c", source=volume) if readonly else VolumeMount(path="/c", source=volume),
        TmpfsMount(path="/c/d/memory"),
        SecretFileMount(path="/c/d/secret", value=b"value"),
    )
    seen: list[bytes] = []
    with swapping(volume / "d", link) as swaps:
        for _ in range(COMMANDS):
            with suppress(ExecRefused, SandboxError):
                done = await run("sh", "-c", "echo x > /c/d/memory/x; cat /c/d/secret", mounts=mounts)
                seen.append(done.stdout.data)
    assert swaps[0] > COMMANDS
    assert list(outside.iterdir()) == []
    assert set(seen) <= {b"value", b""}
    assert all(not path.read_bytes() for path in volume.rglob("secret"))


async def test_mounts_in_a_read_only_volume_are_writable_and_it_is_not(run: Run, tmp_path: Path) -> None:
    (tmp_path / "volume").mkdir()
    mounts = (BindMount(path="/c", source=tmp_path / "volume"), TmpfsMount(path="/c/memory"))
    done = await run(
        "sh", "-c", "echo x > /c/memory/x && cat /c/memory/x; echo x > /c/x || echo no", mounts=mounts
    )
    assert done.stdout.data == b"x\nno\n"
    assert [path.name for path in (tmp_path / "volume").iterdir()] == ["memory"]


async def test_mounts_in_a_volume_cover_it_and_leave_it_alone(
    run: Run, tmp_path: Path, base: Snapshot, store: Store
) -> None:
    async with store.draft(base) as draft:
        draft.write("/kept/file", b"of the snapshot")
        snapshot = await draft.commit()
    volume, secret = tmp_path / "volume", b"value"
    (volume / "memory").mkdir(parents=True)
    (volume / "memory/hidden").write_text("x")
    mounts = (
        VolumeMount(path="/c", source=volume),
        TmpfsMount(path="/c/memory", size=1 << 20),
        TmpfsMount(path="/c/memory/inner"),
        SecretFileMount(path="/c/deep/er/secret", value=secret),
        OverlayMount(path="/c/tree", snapshot=snapshot, subpath="/kept"),
        SnapshotFileMount(path="/c/one", snapshot=snapshot, subpath="/kept/file", readonly=True),
    )
    script = (
        "ls /c/memory; stat -c %a /c/memory; cat /c/deep/er/secret /c/tree/file /c/one;"
        "echo new > /c/own; echo new > /c/tree/new; echo no > /c/memory/inner/x; cp /bin/true /c/memory;"
        "/c/memory/true || echo not executable; echo no > /c/one || echo read-only"
    )
    for _ in range(2):
        done = await run("sh", "-c", f"({script}) 2>&1", mounts=mounts)
        text = done.stdout.data
        assert text.startswith(b"inner\n1777\nvalueof the snapshotof the snapshot"), text
        assert b"not executable" not in text
        assert b"read-only" in text
        assert sorted(path.name for path in (volume / "memory").iterdir()) == ["hidden"]
        assert (volume / "own").read_text() == "new\n"
        assert not any(path.read_bytes() for path in (volume / "deep/er/secret", volume / "one"))
        assert not list((volume / "tree").iterdir())
        assert store.view(done.mounts["/c/tree"]).read("/kept/new") == b"new\n"
