from __future__ import annotations

import pytest

from rondel.engine import namespace
from rondel.engine.sandbox import (
    Network,
    OverlayMount,
    SandboxError,
    SecretFileMount,
    SnapshotFileMount,
    TmpfsMount,
    VolumeMount,
)
from rondel.engine.store import Snapshot

pytestmark = [pytest.mark.anyio, pytest.mark.container]


def sh(script: str) -> tuple[str, str, str]:
    return ("sh", "-c", script)


@pytest.fixture
async def tree(store) -> Snapshot:
    async with store.draft(Snapshot()) as draft:
        draft.write("/d/f", b"orig\n")
        draft.write("/d/in/x", b"x\n", uid=0)
        return await draft.commit()


async def test_writes_to_a_mounted_directory_become_its_own_snapshot(run, store, tree, base):
    mount = OverlayMount(path="/m", snapshot=tree, subpath="/d")
    done = await run(*sh("echo two >> /m/f; echo n > /m/in/new; rm /m/in/x; ls /m"), mounts=(mount,))
    after = store.view(done.mounts["/m"])
    assert done.stdout.data == b"f\nin\n"
    assert after.read("/d/f") == b"orig\ntwo\n"
    assert [entry.path for entry in after.scandir("/d/in")] == ["/d/in/new"]
    assert store.view(tree).read("/d/f") == b"orig\n"
    assert done.snapshot == base  # the mount point is nobody's write


async def test_an_unchanged_mount_stays_what_it_was(run, tree):
    done = await run(*sh("cat /m/d/f"), mounts=(OverlayMount(path="/m", snapshot=tree),))
    assert done.mounts["/m"] == tree


async def test_an_empty_directory_can_be_mounted_and_written(run, store):
    done = await run(*sh("echo x > /m/f"), mounts=(OverlayMount(path="/m", snapshot=Snapshot()),))
    assert store.view(done.mounts["/m"]).read("/f") == b"x\n"


async def test_a_read_only_mount_refuses_writes(run, tree):
    done = await run(*sh("echo x > /m/f"), mounts=(OverlayMount(path="/m", snapshot=tree, readonly=True),))
    assert done.exit_code != 0
    assert b"Read-only" in done.stderr.data
    assert "/m" not in done.mounts


async def test_mounts_within_mounts_are_made_parents_first(run, store, tree):
    mounts = (
        OverlayMount(path="/m/in/deep", snapshot=tree),
        OverlayMount(path="/m", snapshot=tree, subpath="/d"),
    )
    done = await run(*sh("ls /m /m/in /m/in/deep"), mounts=mounts)
    assert done.stdout.data == b"/m:\nf\nin\n\n/m/in:\ndeep\nx\n\n/m/in/deep:\nd\n"
    assert done.mounts["/m"] == tree


async def test_a_mounted_file_is_writable_and_keeps_its_mode(run, store, tree):
    mount = SnapshotFileMount(path="/etc/thing", snapshot=tree, subpath="/d/f", mode=0o600)
    done = await run(*sh("stat -c %a /etc/thing; echo more >> /etc/thing"), mounts=(mount,))
    assert done.stdout.data == b"600\n"
    assert store.view(done.mounts["/etc/thing"]).read("/d/f") == b"orig\nmore\n"
    assert store.view(tree).read("/d/f") == b"orig\n"


async def test_a_mounted_file_that_nobody_wrote_stays_what_it_was(run, tree):
    mount = SnapshotFileMount(path="/deep/er/f", snapshot=tree, subpath="/d/f")
    done = await run("cat", "/deep/er/f", mounts=(mount,))
    assert done.mounts == {"/deep/er/f": tree}


async def test_the_owner_of_a_mounted_file(run, tree, identity):
    mount = SnapshotFileMount(path="/f", snapshot=tree, subpath="/d/f", owner=(65534, 65534))
    done = await run("stat", "-c", "%u:%g", "/f", mounts=(mount,))
    expected = b"0:0\n" if identity.mode is namespace.Mode.SINGLE else b"65534:65534\n"
    assert done.stdout.data == expected


async def test_a_mount_point_behind_a_link_is_found_and_named_as_asked_for(run, store, base, tree):
    async with store.draft(base) as draft:
        draft.symlink("/srv", "/alias")
        root = await draft.commit()
    done = await run(*sh("cat /srv/m/f; echo y > /alias/m/f"), root=root,
                     mounts=(OverlayMount(path="/alias/m", snapshot=tree, subpath="/d"),))  # fmt: skip
    assert done.stdout.data == b"orig\n"
    assert store.view(done.mounts["/alias/m"]).read("/d/f") == b"y\n"


async def test_a_mount_point_behind_an_absolute_link_stays_in_the_container(run, store, base, tree, tmp_path):
    async with store.draft(base) as draft:
        draft.symlink(str(tmp_path), "/out")
        root = await draft.commit()
    done = await run("cat", f"{tmp_path}/m/f", root=root,
                     mounts=(OverlayMount(path="/out/m", snapshot=tree, subpath="/d"),))  # fmt: skip
    assert done.stdout.data == b"orig\n"
    assert list(tmp_path.iterdir()) == []


async def test_temporary_mounts_have_a_size_and_leave_nothing(run, base):
    script = "head -c 500000 /dev/zero > /t/a && echo fits; head -c 5000000 /dev/zero > /t/b 2>/dev/null || echo full"
    done = await run(*sh(script), mounts=(TmpfsMount(path="/t", size=1 << 20),))
    assert done.stdout.data == b"fits\nfull\n"
    assert done.snapshot == base


async def test_a_secret_is_a_file_in_memory_with_mode_and_owner(run, store, base, identity):
    value = b"hush-4711-hush"
    mounts = (
        SecretFileMount(path="/run/s/tok", value=value),
        SecretFileMount(path="/tok", value=value, mode=0o444, uid=65534, gid=65534),
    )
    script = "stat -c '%a %u:%g %s' /run/s/tok /tok; stat -f -c %T /tok; wc -c < /run/s/tok"
    done = await run(*sh(script), mounts=mounts, secrets=(value,))
    owner = "0:0" if identity.mode is namespace.Mode.SINGLE else "65534:65534"
    assert done.stdout.data.decode().split("\n") == [
        "400 0:0 14", f"444 {owner} 14", "tmpfs", "14", "",
    ]  # fmt: skip
    assert done.snapshot == base
    found = [path for path in store.root.rglob("*") if path.is_file() and value in path.read_bytes()]
    assert found == []


async def test_volumes_keep_what_commands_write_even_when_they_fail(run, store):
    folder = await store.volumes.prepare("test-volume")
    mount = VolumeMount(path="/c", source=folder)
    assert (await run(*sh("echo one > /c/f; exit 1"), mounts=(mount,))).exit_code == 1
    assert (await run("cat", "/c/f", mounts=(mount,))).stdout.data == b"one\n"


async def test_redirects_into_mounts_land_there(run, store, tree):
    folder = await store.volumes.prepare("redirect-volume")
    mounts = (OverlayMount(path="/m", snapshot=tree), VolumeMount(path="/c", source=folder))
    done = await run(
        *sh("echo o; echo e >&2"), mounts=mounts, redirect_stdout="/m/d/o", redirect_stderr="/c/e"
    )
    assert store.view(done.mounts["/m"]).read("/d/o") == b"o\n"
    assert (folder / "e").read_bytes() == b"e\n"


async def test_the_root_cannot_be_mounted_over(run, tree):
    with pytest.raises(SandboxError, match="cannot mount at /"):
        await run("true", mounts=(OverlayMount(path="/", snapshot=tree),))


async def test_without_a_network_there_is_only_loopback(run):
    done = await run(*sh("ls /proc/self/net >/dev/null; tail -n +3 /proc/net/dev | cut -d: -f1"),
                     network=Network.NONE)  # fmt: skip
    assert done.stdout.data.split() == [b"lo"]
