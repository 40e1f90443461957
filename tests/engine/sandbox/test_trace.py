"""Which files of a folder a command opened: all of them, none of anybody else's, or "not known"."""

from __future__ import annotations

import errno
import os
from functools import partial
from pathlib import Path

import anyio
import pytest

from rondel.engine.sandbox import (
    ExecRefused,
    Opened,
    OverlayMount,
    SecretFileMount,
    SnapshotFileMount,
    TmpfsMount,
    VolumeMount,
    folder_watch,
    tracing,
)
from rondel.engine.sandbox.folder_watch import FolderWatch
from rondel.engine.sandbox.inotify import Inotify
from rondel.engine.store import Snapshot

pytestmark = [pytest.mark.anyio, pytest.mark.container]

OVERFLOWING = 'for i in range(%d):\n    open("/work/a/0").close(); open("/work/a/7").close()'


def sh(script: str) -> tuple[str, str, str]:
    return ("sh", "-c", script)


def names(*found: str) -> Opened:
    return Opened(names=frozenset(found))


async def made(store, base, files, links=()) -> Snapshot:
    async with store.draft(base) as draft:
        for path, text in files.items():
            draft.write(path, text.encode(), mode=0o755 if text.startswith("#!") else 0o644)
        for path, target in links:
            draft.symlink(target, path)
        return await draft.commit()


@pytest.fixture
async def work(store, base) -> Snapshot:
    """A workspace: ``a/0`` to ``g/199`` in seven folders, and a program."""
    files = {f"/work/{'abcdefg'[number % 7]}/{number}": "x\n" for number in range(200)}
    return await made(store, base, files | {"/work/top": "t\n", "/work/bin/run.sh": "#!/bin/sh\necho ran\n"})


@pytest.fixture
def trace(run, work):
    """Run a script with the workspace traced: what was opened of it."""

    async def act(script: str, **more: object) -> Opened:
        done = await run(*sh(script), **{"root": work, "trace": "/work", "cwd": "/work", **more})
        assert done.exit_code == 0, done.stderr.data
        assert done.opened is not None
        return done.opened

    return act


async def test_every_file_that_is_opened_is_seen(trace):
    every = [f"{'abcdefg'[number % 7]}/{number}" for number in range(200)]
    assert await trace("cat */[0-9]*") == names(*every)


async def test_a_command_that_is_not_to_be_traced_says_nothing(run, work):
    assert (await run(*sh("cat /work/top"), root=work)).opened is None


async def test_what_is_only_looked_at_is_not_opened(trace):
    assert await trace("ls -lR . >/dev/null; test -e a/0; cat /etc/passwd >/dev/null") == names()


async def test_children_and_what_they_leave_in_the_background_count(trace):
    script = "sh -c 'sh -c \"cat a/0\"'; (cat b/1; exec sleep 0.2 <c/2) & python3 -c 'open(\"d/3\")'; wait"
    assert await trace(script) == names("a/0", "b/1", "c/2", "d/3")


async def test_a_program_of_the_folder_that_is_run_was_opened(trace):
    assert await trace("bin/run.sh") == names("bin/run.sh")


@pytest.mark.parametrize(
    "how",
    [
        {"user": "1234:1234"},
        {"init": False},
        {"insecure": True},
        {"stdin": b"in"},
        {"redirect_stdout": "out"},
    ],
    ids=lambda how: next(iter(how)),
)
async def test_it_makes_no_difference_how_the_command_runs(trace, how):
    assert await trace("cat top", **how) == names("top")


async def test_the_command_begins_only_when_the_folder_is_watched(run, work):
    # The first thing that happens in the container is that the kernel opens the program.
    done = await run("/work/bin/run.sh", root=work, trace="/work")
    assert (done.stdout.data, done.opened) == (b"ran\n", names("bin/run.sh"))


async def test_files_that_the_command_makes_itself_do_not_count(trace):
    script = "mkdir new; echo x > new/f; cat new/f; echo x > a/new; cat a/new; echo x >.n; mv .n b/1; cat b/1"
    assert await trace(script) == names()
    assert await trace("rm a/0; echo other > a/0; cat a/0") == names()


async def test_files_that_are_only_written_are_told_apart(trace):
    opened = await trace("echo x > a/0; echo x >> b/1; cat c/2; echo x > c/2; echo x > d/3; cat d/3")
    assert opened == Opened(names=frozenset({"a/0", "b/1", "c/2", "d/3"}), written=frozenset({"a/0", "b/1"}))


async def test_what_python_imports_is_seen(run, store, base):
    files = {"/work/src/__init__.py": "", "/work/src/helper.py": "X = 1\n", "/work/src/unused.py": ""}
    root = await made(store, base, files | {"/work/src/train.py": "from src.helper import X\nprint(X)\n"})
    script = "python3 -m src.train && python3 -m src.train"  # the second one finds the first one's bytecode
    done = await run(*sh(script), root=root, trace="/work", cwd="/work")
    assert done.opened == names("src/__init__.py", "src/train.py", "src/helper.py")


async def test_links_are_seen_as_what_they_lead_to(run, store, base):
    links = [("/work/link", "dir"), ("/work/alias", "dir/f"), ("/work/out", "/etc/passwd"), ("/w", "/work")]
    root = await made(store, base, {"/work/dir/f": "f\n", "/work/dir/g": "g\n"}, links)
    done = await run(*sh("cat /w/link/g /w/alias /w/out"), root=root, trace="/w")
    assert done.opened == names("dir/f", "dir/g")


async def test_names_that_are_no_text_are_told(run, store, base):
    root = await made(store, base, {"/work/caf\udce9": "x", "/work/new\nline": "x"})
    done = await run(*sh("cat /work/*"), root=root, trace="/work")
    assert done.opened == names("caf\udce9", "new\nline")


async def test_folders_of_tools_are_not_looked_into(run, store, base):
    files = {
        f"/work/{folder}/f": "x" for folder in (".git", "sub/.venv", "node_modules", ".dvc", "__pycache__")
    }
    root = await made(store, base, files)
    done = await run(*sh("cat /work/*/f /work/.*/f /work/sub/.venv/f"), root=root, trace="/work")
    assert done.opened == names(".dvc/f", "__pycache__/f")


async def test_two_commands_at_once_do_not_mix(trace, store, base):
    found = {}

    async def one(number: int) -> None:
        # Both have read when the first one ends: each waits for the other, through a file of a volume.
        script = (
            f"cat a/{number * 7}; touch /v/{number}; until [ -e /v/0 ] && [ -e /v/1 ]; do sleep 0.01; done"
        )
        found[number] = await trace(script, mounts=(VolumeMount(path="/v", source=volume),))

    volume = store.new_path()
    volume.mkdir()
    async with anyio.create_task_group() as group:
        group.start_soon(one, 0)
        group.start_soon(one, 1)
    assert found == {0: names("a/0"), 1: names("a/7")}


async def test_what_happens_to_the_layers_elsewhere_is_not_the_commands(trace, run, work):
    await run(*sh("cat /work/b/1"), root=work)
    assert await trace("cat a/0") == names("a/0")


async def test_a_command_that_fails_or_is_killed_by_itself_is_told_of(run, work):
    done = await run(*sh("cat a/0; kill -9 $$"), root=work, trace="/work", cwd="/work")
    assert (done.exit_code, done.opened) == (137, names("a/0"))


async def test_a_command_that_cannot_start_opened_nothing(run, work):
    assert (await run("no-such-command", root=work, trace="/work")).opened == names()
    with pytest.raises(ExecRefused):
        await run("true", root=work, trace="/work", user="ghost")


# --- mounts


async def test_mounted_directories_of_the_store_count(trace, store):
    other = await made(store, Snapshot(), {"/d/f": "f\n", "/d/g": "g\n"})
    at = OverlayMount(path="/work/data", snapshot=other, subpath="/d")
    assert await trace("cat a/0 data/f", mounts=(at,)) == names("a/0", "data/f")
    whole = OverlayMount(path="/work", snapshot=other)
    assert await trace("cat d/g", mounts=(whole,)) == names("d/g")


async def test_secrets_and_temporary_folders_are_no_files_of_the_folder(trace):
    mounts = (SecretFileMount(path="/work/key", value=b"hush"), TmpfsMount(path="/work/tmp"))
    assert await trace("cat key a/0; echo x > tmp/f; cat tmp/f", mounts=mounts) == names("a/0")


@pytest.mark.parametrize("kind", ["volume", "file", "one layer, read-only"])
async def test_what_other_commands_may_open_too_makes_it_unknown(trace, store, kind):
    other = await made(store, Snapshot(), {"/d/f": "f\n"})
    folder = store.new_path()
    folder.mkdir()
    mount = {
        "volume": VolumeMount(path="/work/m", source=folder),
        "file": SnapshotFileMount(path="/work/m", snapshot=other, subpath="/d/f", readonly=True),
        "one layer, read-only": OverlayMount(path="/work/m", snapshot=other, readonly=True),
    }[kind]
    opened = await trace("cat a/0; ls m", mounts=(mount,))
    assert opened.names == {"a/0"}
    assert opened.unknown.startswith("/work/m is mounted from")


async def test_a_folder_that_is_all_a_volume_is_unknown(trace, store):
    folder = store.new_path()
    folder.mkdir()
    (folder / "f").touch()
    opened = await trace("cat f", mounts=(VolumeMount(path="/work", source=folder),))
    assert opened.names == frozenset()
    assert opened.unknown.startswith("/work is mounted from")


async def test_a_folder_that_is_not_there_is_unknown(trace):
    assert "no folder /nowhere" in (await trace("true", trace="/nowhere/..//nowhere")).unknown
    assert (await trace("true", trace="/work/top/x")).unknown


# --- limits


async def test_files_opened_faster_than_they_are_told_are_unknown(run, work, monkeypatch):
    class Late(FolderWatch):
        """Reads nothing before the command has ended, as an engine would that has no time."""

        def read(self) -> int:
            return 0

        def end(self) -> Opened:
            super().read()
            return super().end()

    monkeypatch.setattr(tracing, "FolderWatch", Late)
    most = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    done = await run("python3", "-c", OVERFLOWING % most, root=work, trace="/work")
    assert done.exit_code == 0
    assert done.opened.unknown.startswith("files were opened faster")
    done = await run("python3", "-c", OVERFLOWING % 10, root=work, trace="/work")
    assert done.opened == names("a/0", "a/7")


@pytest.mark.parametrize("limit", ["folders", "files"])
async def test_a_folder_that_holds_too_much_is_unknown(trace, monkeypatch, limit):
    monkeypatch.setattr(tracing, "FolderWatch", partial(FolderWatch, **{limit: 3}))
    assert f"holds more than 3 {limit}" in (await trace("cat a/0")).unknown


@pytest.mark.parametrize(
    ("method", "number", "text"),
    [
        ("__init__", errno.EMFILE, "max_user_instances"),
        ("__init__", errno.ENOSYS, "cannot be watched"),
        ("add", errno.ENOSPC, "max_user_watches"),
        ("add", errno.EACCES, "cannot be watched"),
    ],
)
async def test_a_machine_that_lets_nobody_watch_makes_it_unknown(trace, monkeypatch, method, number, text):
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Inotify, method, refuse)
    assert text in (await trace("cat a/0")).unknown


# --- the end


def queues() -> int:
    """The inotify queues of this process."""
    found = 0
    for name in os.listdir("/proc/self/fd"):
        try:
            found += os.readlink(f"/proc/self/fd/{name}").endswith("inotify")
        except OSError:
            continue
    return found


async def until_there_are(number: int) -> None:
    with anyio.fail_after(20):
        while queues() != number:
            await anyio.sleep(0.01)


async def test_the_watch_ends_with_the_command(trace):
    before = queues()
    assert await trace("cat a/0") == names("a/0")
    await until_there_are(before)


@pytest.mark.parametrize("after", [0, 0.003, 0.006, 0.01, 0.02, 0.04, 0.3])
async def test_a_traced_command_that_is_cancelled_leaves_nothing(run, work, store, after):
    before, scratch, pipes = queues(), set(os.listdir(store.scratch)), len(os.listdir("/proc/self/fd"))
    with anyio.move_on_after(after) as scope:
        await run(*sh("cat a/*; sleep 600"), root=work, trace="/work", cwd="/work")
    assert scope.cancelled_caught
    await until_there_are(before)
    assert set(os.listdir(store.scratch)) == scratch
    with anyio.fail_after(20):
        while len(os.listdir("/proc/self/fd")) > pipes:
            await anyio.sleep(0.01)


async def test_a_container_that_cannot_be_set_up_is_told_of_as_ever(run, work, monkeypatch):
    # bwrap ends before it has made a mount: nobody waits for the folder to be watched.
    from rondel.engine.sandbox import SandboxError, process

    spawn = process.spawn
    monkeypatch.setattr(process, "spawn", lambda argv, **more: spawn([argv[0], "--nonsense"], **more))
    with anyio.fail_after(20):
        with pytest.raises(SandboxError, match="could not be set up"):
            await run("true", root=work, trace="/work")


def test_what_is_skipped_is_documented():
    text = Path(__file__).parents[3].joinpath("docs/explanation/engine.md").read_text()
    assert all(f"`{name}`" in text for name in folder_watch.SKIPPED)
