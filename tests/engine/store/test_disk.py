"""A full and a read-only disk, for real: small file systems in memory."""

from __future__ import annotations

import ctypes
import os

import pytest

from rondel.engine import namespace
from rondel.engine.store import OperationResult, Snapshot, Store, StoreFull, StoreReadOnly

pytestmark = [pytest.mark.anyio, pytest.mark.container]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def disk(tmp_path):
    namespace.become_root()
    folder = tmp_path / "disk"
    folder.mkdir()
    namespace.mount_tmpfs(folder, size=2 * 1024 * 1024)
    yield folder
    namespace.unmount(folder)


async def test_a_full_disk_is_named_and_what_was_good_stays_good(disk):
    store = Store.open(disk / "s")
    async with store.draft(Snapshot()) as draft:
        draft.write("/good", b"g" * 1000)
        good = await draft.commit()
    store.record("good", OperationResult(snapshot=good))
    with pytest.raises(StoreFull, match="no space left"):  # noqa: PT012 - both may fill the disk
        async with store.draft(Snapshot()) as draft:
            draft.write("/big", b"x" * (4 << 20))
            await draft.commit()
    with pytest.raises(StoreFull, match="no space left"):
        store.blobs.put(b"y" * (4 << 20))
    assert store.view(good).read("/good") == b"g" * 1000
    assert store.result("good") == OperationResult(snapshot=good)
    assert os.listdir(store.scratch) == []
    store.close()
    again = Store.open(disk / "s")
    assert again.result("good") == OperationResult(snapshot=good)
    assert await again.collect(0) == 0  # it is in use
    again.close()
    last = Store.open(disk / "s")
    assert await last.collect(0) > 0
    assert last.result("good") is None
    last.close()


async def test_a_read_only_disk_is_named(disk):
    Store.open(disk / "s").close()
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.mount(None, os.fsencode(disk), None, ctypes.c_ulong(32 | 1), None) == 0
    with pytest.raises(StoreReadOnly, match="cannot be written"):
        Store.open(disk / "s")
