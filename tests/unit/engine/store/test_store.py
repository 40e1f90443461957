from __future__ import annotations

import asyncio
import hashlib
import json
import os
import sqlite3
import time

import pytest

from rondel.engine.store import (
    OperationResult,
    Output,
    PathError,
    Snapshot,
    Store,
    StoreCorrupt,
    StoreFull,
    StoreReadOnly,
    StoreTooNew,
)
from rondel.engine.store.errors import translate

pytestmark = pytest.mark.anyio


async def layer(store: Store, name: str, size: int = 10) -> Snapshot:
    async with store.draft(Snapshot()) as draft:
        draft.write(f"/{name}", b"x" * size)
        return await draft.commit()


async def test_results_survive_the_session_and_need_what_they_stand_on(store, tmp_path):
    snapshot = await layer(store, "f")
    blob = store.blobs.put(b"long output")
    result = OperationResult(
        snapshot=snapshot,
        mounts={"/m": snapshot},
        exit_code=3,
        stdout=Output(blob=blob, size=11),
        stderr=Output.of(b"\xff\x00"),
        meta={"a": 1},
        created=5.0,
    )
    store.record("op", result)
    other = Store.open(tmp_path / "store")
    try:
        assert other.result("op") == result
        assert other.read(result.stdout) == b"long output"
        assert other.result("unknown") is None
        other.index.remove("layer", snapshot.layers)
        assert other.result("op") is None
    finally:
        other.close(sync=False)


async def test_what_was_written_before_a_crash_of_the_machine_is_not_trusted(store, tmp_path):
    lost, kept = await layer(store, "lost"), await layer(store, "kept")
    store.record("lost", OperationResult(snapshot=lost))
    store.record("kept", OperationResult(snapshot=kept))
    store.close(sync=False)
    with sqlite3.connect(store.root / "index.db") as db:
        db.execute("UPDATE objects SET boot = 'another boot' WHERE id = ?", lost.layers)
        db.execute("UPDATE objects SET boot = NULL WHERE id = ?", kept.layers)
    db.close()
    dead = store.root / "s/1234567890abcdef"
    dead.touch()
    again = Store.open(tmp_path / "store")
    try:
        assert again.result("lost") is None
        assert again.result("kept") is not None
        assert os.listdir(store.root / "l") == list(kept.layers)
        with pytest.raises(StoreCorrupt, match="no longer there"):
            again.view(lost)
    finally:
        again.close(sync=False)


async def test_sync_makes_everything_durable(store):
    await layer(store, "f")
    assert store.index.unsynced() == 1
    store.sync()
    assert store.index.unsynced() == 0


async def test_dead_sessions_are_swept_and_live_ones_left_alone(store, tmp_path):
    root = store.root
    dead = root / "t/17a4cfde0000abcd"
    (dead / "1/u").mkdir(parents=True)
    (dead / "1/w/work").mkdir(parents=True)
    (dead / "1/w/work").chmod(0)
    (root / "s/17a4cfde0000abcd").touch()
    (root / "l/litter").mkdir()
    other = Store.open(tmp_path / "store")
    try:
        assert sorted(os.listdir(root / "t")) == sorted([store.session.name, other.session.name])
        assert os.listdir(root / "l") == []
    finally:
        other.close(sync=False)


async def test_collection_takes_the_least_recently_used_and_spares_live_sessions(store, tmp_path):
    old, new = await layer(store, "old", 100_000), await layer(store, "new", 100_000)
    blob = store.blobs.put(b"y" * 50_000)
    store.record("old", OperationResult(snapshot=old))
    assert await store.collect(0) == 0  # all of it was used in this session
    store.close(sync=False)
    with sqlite3.connect(store.root / "index.db") as db:
        db.execute("UPDATE objects SET used = 1 WHERE id = ?", old.layers)
        db.execute("UPDATE objects SET used = 2 WHERE id = ?", new.layers)
        db.execute("UPDATE objects SET used = 3 WHERE kind = 'blob'")
    db.close()
    again = Store.open(tmp_path / "store")
    try:
        total = again.usage().collectable_bytes
        assert await again.collect(total) == 0
        assert await again.collect(total - 1) > 0
        assert os.listdir(store.root / "l") == list(new.layers)
        assert again.result("old") is None
        assert again.alive(new)
        await again.collect(0)
        assert os.listdir(store.root / "l") == list(new.layers)  # now it is used
        assert not again.blobs.has(blob)
    finally:
        again.close(sync=False)


async def test_nothing_used_since_the_oldest_live_session_is_collected(store, tmp_path):
    snapshot = await layer(store, "f")
    other = Store.open(tmp_path / "store")
    try:
        assert await other.collect(0) == 0
        assert store.alive(snapshot)
    finally:
        other.close(sync=False)


async def test_a_damaged_blob_is_named_and_forgotten(store):
    digest = store.blobs.put(b"good")
    path = store.blobs.path(digest)
    path.write_bytes(b"evil")
    with pytest.raises(StoreCorrupt, match="damaged"):
        store.blobs.read(digest)
    assert not store.blobs.has(digest)
    path.parent.mkdir(exist_ok=True)
    digest = store.blobs.put(b"good")
    store.blobs.path(digest).write_bytes(b"longer than good")
    with pytest.raises(StoreCorrupt, match="damaged"):
        store.blobs.path(digest)


async def test_a_file_is_taken_as_a_blob_as_it_is_if_it_is_the_right_one(store):
    digest = f"sha256:{hashlib.sha256(b'layer').hexdigest()}"
    arrived = store.new_path()
    arrived.write_bytes(b"layer")
    number = arrived.stat().st_ino
    assert store.blobs.take(arrived, expected=digest) == digest
    assert store.blobs.path(digest).stat().st_ino == number
    assert not arrived.exists()
    arrived.write_bytes(b"other")
    with pytest.raises(StoreCorrupt, match="does not match the digest"):
        store.blobs.take(arrived, expected=digest)
    assert not arrived.exists()
    assert store.blobs.read(digest) == b"layer"


async def test_a_blob_that_is_not_what_was_asked_for_is_refused(store):
    digest = store.blobs.put(b"good")
    with pytest.raises(StoreCorrupt, match="does not match the digest"):
        store.blobs.put(b"bad", expected=digest)
    assert os.listdir(store.scratch) == []


@pytest.mark.parametrize("digest", ["sha256:../../etc/passwd", "md5:abc", "sha256:" + "G" * 64, ""])
async def test_a_digest_is_never_a_path(store, digest):
    with pytest.raises(StoreCorrupt, match="not a digest"):
        store.blobs.path(digest)


async def test_a_newer_store_is_refused(store, tmp_path):
    store.close()
    (store.root / "format").write_text(json.dumps({"version": 99}))
    with pytest.raises(StoreTooNew, match="newer version"):
        Store.open(tmp_path / "store")


async def test_a_damaged_format_or_index_is_named(store, tmp_path):
    store.close()
    (store.root / "format").write_text("{")
    with pytest.raises(StoreCorrupt, match="damaged"):
        Store.open(tmp_path / "store")
    (store.root / "format").unlink()
    (store.root / "index.db").write_bytes(b"not a database" * 100)
    with pytest.raises(StoreCorrupt, match="index"):
        Store.open(tmp_path / "store")


def test_errors_of_the_disk_are_translated(tmp_path):
    assert isinstance(translate(OSError(28, "No space left on device"), tmp_path), StoreFull)
    assert isinstance(translate(OSError(122, "Disk quota exceeded"), tmp_path), StoreFull)
    assert isinstance(translate(OSError(30, "Read-only file system"), tmp_path), StoreReadOnly)
    assert isinstance(translate(sqlite3.OperationalError("database or disk is full"), tmp_path), StoreFull)
    assert isinstance(
        translate(sqlite3.OperationalError("attempt to write a readonly database"), tmp_path), StoreReadOnly
    )
    assert translate(OSError(2, "No such file"), tmp_path) is None


async def test_locks_exclude_each_other_across_stores_and_wake_waiters(store, tmp_path):
    other = Store.open(tmp_path / "store")
    order: list[str] = []

    async def hold(which: Store, name: str) -> None:
        async with which.lock("x"):
            order.append(f"+{name}")
            await asyncio.sleep(0.02)
            order.append(f"-{name}")

    try:
        await asyncio.gather(*(hold(which, str(n)) for n, which in enumerate((store, other, store, other))))
    finally:
        other.close(sync=False)
    assert len(order) == 8
    assert all(order[n][1:] == order[n + 1][1:] for n in range(0, 8, 2))
    assert os.listdir(store.root / "k") == []


async def test_a_waiting_lock_can_be_cancelled(store):
    async with store.lock("x"):
        task = asyncio.ensure_future(store.lock("x").__aenter__())
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    async with asyncio.timeout(1), store.lock("x"):
        pass


async def test_shared_holders_share_and_an_exclusive_one_waits(store):
    async with store.volumes.use("v", exclusive=False), store.volumes.use("v", exclusive=False):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.03), store.volumes.use("v", exclusive=True):
                pass
    async with asyncio.timeout(1), store.volumes.use("v", exclusive=True):
        pass


async def test_volumes_start_as_copies_and_outlive_sessions(store, tmp_path):
    source = await layer(store, "seed")
    path = await store.volumes.prepare("k", source=source)
    assert (path / "seed").read_bytes() == b"x" * 10
    (path / "seed").write_bytes(b"changed")
    assert store.view(source).read("/seed") == b"x" * 10
    other = Store.open(tmp_path / "store")
    try:
        again = await other.volumes.prepare("k", source=source)
        assert (again / "seed").read_bytes() == b"changed"
        assert other.volumes.keys() == ["k"]
    finally:
        other.close(sync=False)


async def test_a_volume_in_use_is_not_removed(store):
    await store.volumes.prepare("k")
    async with store.volumes.use("k", exclusive=False):
        assert store.volumes.remove("k") is False
    assert store.volumes.remove("k") is True
    assert store.volumes.keys() == []


async def test_a_volume_from_a_missing_folder_is_refused_and_leaves_nothing(store):
    source = await layer(store, "seed")
    with pytest.raises(PathError):
        await store.volumes.prepare("k", source=source, subpath="/nope")
    assert os.listdir(store.root / "v") == os.listdir(store.scratch) == []


async def test_exports_merge_replace_and_wipe(store, tmp_path):
    async with store.draft(Snapshot()) as draft:
        draft.write("/d/f", b"new", mode=0o4755)
        draft.write("/d/sub/g", b"g")
        draft.symlink("f", "/d/l")
        snapshot = await draft.commit()
    out = tmp_path / "out"
    (out / "sub").mkdir(parents=True)
    (out / "f").write_bytes(b"old")
    (out / "other").write_bytes(b"stays")
    await store.export(store.view(snapshot), "/d", out)
    assert sorted(path.name for path in out.iterdir()) == ["f", "l", "other", "sub"]
    assert ((out / "f").read_bytes(), oct((out / "f").stat().st_mode & 0o7777)) == (b"new", "0o755")
    await store.export(store.view(snapshot), "/d", out, wipe=True)
    assert sorted(path.name for path in out.iterdir()) == ["f", "l", "sub"]
    await store.export(store.view(snapshot), "/d/f", tmp_path / "deep/er/file")
    assert (tmp_path / "deep/er/file").read_bytes() == b"new"


async def test_exports_never_write_through_links(store, tmp_path):
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "f").write_bytes(b"mine")
    out = tmp_path / "out"
    out.mkdir()
    async with store.draft(Snapshot()) as draft:
        draft.symlink(str(victim), "/x")
        draft.symlink(str(victim / "f"), "/y")
        links = await draft.commit()
    async with store.draft(Snapshot()) as draft:
        draft.write("/x/f", b"evil")
        draft.write("/y", b"evil")
        files = await draft.commit()
    await store.export(store.view(links), "/", out)
    await store.export(store.view(files), "/", out)
    assert (victim / "f").read_bytes() == b"mine"
    assert (out / "x/f").read_bytes() == (out / "y").read_bytes() == b"evil"
    await store.export(store.view(links), "/", out, wipe=True)
    assert (victim / "f").read_bytes() == b"mine"


async def test_documents_are_shared_between_sessions(store, tmp_path):
    other = Store.open(tmp_path / "store")
    try:
        store.index.put("kind", "key", {"a": [1, "ü"]})
        assert other.index.get("kind", "key") == {"a": [1, "ü"]}
        other.index.delete("kind", "key")
        assert store.index.get("kind", "key") is None
    finally:
        other.close(sync=False)


async def test_the_store_is_closed_to_other_users(store):
    assert store.root.stat().st_mode & 0o777 == 0o700
    assert time.time() - store.session.started < 60
