from __future__ import annotations

import os
import stat

import pytest

from rondel.engine.store import PathError, Snapshot

pytestmark = pytest.mark.anyio


async def made(store, base, act) -> Snapshot:
    async with store.draft(base) as draft:
        act(draft)
        return await draft.commit()


def paths(store, snapshot) -> list[str]:
    return [entry.path for entry in store.view(snapshot).walk()]


async def test_parents_are_made_for_everybody_to_enter(store):
    snapshot = await made(store, Snapshot(), lambda d: d.write("/a/b/c", b"x", mode=0o600))
    view = store.view(snapshot)
    assert [oct(view.resolve(path).mode & 0o7777) for path in ("/a", "/a/b", "/a/b/c")] == [
        "0o755",
        "0o755",
        "0o600",
    ]


async def test_nothing_done_is_the_base_itself(store):
    base = await made(store, Snapshot(), lambda d: d.write("/f", b""))
    assert await made(store, base, lambda d: None) == base


async def test_an_uncommitted_draft_leaves_nothing(store):
    async with store.draft(Snapshot()) as draft:
        draft.write("/f", b"x")
    assert os.listdir(store.root / "l") == []
    assert os.listdir(store.scratch) == []


async def test_links_are_followed_inside_the_root_only(store, tmp_path):
    def act(draft):
        draft.mkdir("/real")
        draft.symlink("/real", "/abs")
        draft.symlink("../../../real", "/up")
        draft.symlink(str(tmp_path), "/host")
        draft.write("/abs/one", b"1")
        draft.write("/up/two", b"2")
        draft.write("/host/three", b"3")

    snapshot = await made(store, Snapshot(), act)
    view = store.view(snapshot)
    assert view.read("/real/one") == b"1"
    assert view.read("/real/two") == b"2"
    assert view.read(f"{tmp_path}/three") == b"3"
    assert not (tmp_path / "three").exists()


async def test_removed_names_are_hidden_and_may_come_back(store):
    base = await made(store, Snapshot(), lambda d: (d.write("/d/old", b""), d.write("/f", b"")))
    gone = await made(store, base, lambda d: (d.remove("/d"), d.remove("/f")))
    assert paths(store, gone) == []
    back = await made(store, gone, lambda d: (d.mkdir("/d"), d.write("/d/new", b"")))
    assert paths(store, back) == ["/d", "/d/new"]


async def test_a_directory_made_anew_in_the_same_draft_shows_nothing_old(store):
    base = await made(store, Snapshot(), lambda d: d.write("/d/old", b""))
    snapshot = await made(store, base, lambda d: (d.remove("/d"), d.mkdir("/d"), d.write("/d/new", b"")))
    assert paths(store, snapshot) == ["/d", "/d/new"]


async def test_removing_what_is_not_there_says_so(store):
    async with store.draft(Snapshot()) as draft:
        assert draft.remove("/nope") is False
        assert draft.remove("/nope/deeper") is False
        assert (await draft.commit()) == Snapshot()


async def test_files_and_directories_replace_each_other(store):
    base = await made(store, Snapshot(), lambda d: (d.write("/a/x", b""), d.write("/b", b"")))
    snapshot = await made(
        store, base, lambda d: (d.write("/a", b"file"), d.mkdir("/b"), d.write("/b/y", b""))
    )
    assert paths(store, snapshot) == ["/a", "/b", "/b/y"]


async def test_metadata_of_the_base_changes_in_a_copy(store):
    base = await made(store, Snapshot(), lambda d: d.write("/f", b"x", mtime_ns=5))
    snapshot = await made(store, base, lambda d: d.set_meta("/f", mode=0o600, mtime_ns=7))
    assert stat.S_IMODE(store.view(base).resolve("/f").mode) == 0o644
    entry = store.view(snapshot).resolve("/f")
    assert (stat.S_IMODE(entry.mode), entry.mtime_ns) == (0o600, 7)


async def test_hard_links_share_their_content(store):
    base = await made(store, Snapshot(), lambda d: d.write("/f", b"x"))
    snapshot = await made(store, base, lambda d: d.hardlink("/f", "/g"))
    view = store.view(snapshot)
    assert view.resolve("/f").real.stat().st_ino == view.resolve("/g").real.stat().st_ino
    assert view.resolve("/f").real.stat().st_ino != store.view(base).resolve("/f").real.stat().st_ino


@pytest.mark.parametrize("path", ["/", "", "/a/..", "/a/."])
async def test_impossible_names_are_refused(store, path):
    async with store.draft(Snapshot()) as draft:
        with pytest.raises(PathError, match="invalid argument"):
            draft.write(path, b"")


async def test_a_path_below_a_file_is_refused(store):
    base = await made(store, Snapshot(), lambda d: d.write("/f", b""))
    async with store.draft(base) as draft:
        with pytest.raises(PathError, match="not a directory"):
            draft.write("/f/below", b"")


async def test_copied_trees_merge_filter_and_change_owner(store):
    source = await made(
        store,
        Snapshot(),
        lambda d: (d.write("/s/a", b"a"), d.write("/s/skip/b", b""), d.symlink("a", "/s/l")),
    )
    base = await made(store, Snapshot(), lambda d: d.write("/t/keep", b""))

    def act(draft):
        draft.copy_tree(store.view(source), "/s", "/t", keep=lambda name, entry: name != "skip", mode=0o640)

    snapshot = await made(store, base, act)
    view = store.view(snapshot)
    assert paths(store, snapshot) == ["/t", "/t/a", "/t/keep", "/t/l"]
    assert (view.read("/t/l"), stat.S_IMODE(view.resolve("/t/a").mode)) == (b"a", 0o640)


async def test_a_copied_file_is_never_seen_twice_under_one_inode(store):
    """`cp` takes two names of one inode for the same file."""
    source = await made(store, Snapshot(), lambda d: d.write("/f", b"x"))
    base = await made(store, Snapshot(), lambda d: d.copy_tree(store.view(source), "/", "/one"))
    twice = await made(store, base, lambda d: d.copy_tree(store.view(source), "/", "/two"))
    own = await made(store, twice, lambda d: d.copy_tree(store.view(twice), "/one", "/three"))
    view = store.view(own)
    inodes = {view.resolve(f"/{name}/f").real.stat().st_ino for name in ("one", "two", "three")}
    assert len(inodes) == 3


async def test_copies_from_the_host_keep_bits_and_times_but_no_setuid(store, tmp_path):
    source = tmp_path / "src"
    (source / "d").mkdir(parents=True)
    (source / "d/f").write_bytes(b"data")
    (source / "d/f").chmod(0o4755)
    os.utime(source / "d/f", ns=(1, 10**18))
    (source / "l").symlink_to("/etc/passwd")
    os.mkfifo(source / "pipe")
    snapshot = await made(
        store, Snapshot(), lambda d: d.copy_host(source, ["d", "d/f", "l", "pipe", "vanished"], "/x")
    )
    view = store.view(snapshot)
    assert paths(store, snapshot) == ["/x", "/x/d", "/x/d/f", "/x/l"]
    assert (stat.S_IMODE(view.resolve("/x/d/f").mode), view.resolve("/x/d/f").mtime_ns) == (0o755, 10**18)
    assert view.resolve("/x/l", follow=False).link == "/etc/passwd"


async def test_views_answer_missing_things_in_go_words(store):
    snapshot = await made(
        store, Snapshot(), lambda d: (d.write("/f", b""), d.symlink("loop", "/loop"), d.mkdir("/d"))
    )
    view = store.view(snapshot)
    for path, words in (("/no", "no such file or directory"), ("/f/x", "not a directory"),
                        ("/loop", "too many levels of symbolic links")):  # fmt: skip
        with pytest.raises(PathError, match=words):
            view.resolve(path)
    with pytest.raises(PathError, match="is a directory"):
        view.read("/d")
    with pytest.raises(PathError, match="not a directory"):
        view.scandir("/f")
