"""Cancelling, killing, many at once: what is left afterwards."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import anyio
import pytest

from rondel.engine.sandbox import ExecSpec, Limits, Sandbox
from rondel.engine.sandbox.cgroups import limits_of
from rondel.engine.store import Store

pytestmark = [pytest.mark.anyio, pytest.mark.container]


def sh(script: str) -> tuple[str, str, str]:
    return ("sh", "-c", script)


def processes(marker: str) -> list[str]:
    """The host's processes with a marker in their command line."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                text = (folder / "cmdline").read_bytes()
            except OSError:
                continue
            if marker.encode() in text:
                found.append(folder.name)
    return found


async def test_cancelling_kills_the_container_and_keeps_nothing(run, store):
    layers = set(os.listdir(store.root / "l"))
    scratch = set(os.listdir(store.scratch))
    marker = f"3{os.getpid()}1.5"
    with anyio.move_on_after(0.5) as scope:
        await run(*sh(f"echo x > /f; sleep {marker} & sleep {marker}"))
    assert scope.cancelled_caught
    assert processes(marker) == []
    assert set(os.listdir(store.root / "l")) - layers == set()
    assert set(os.listdir(store.scratch)) - scratch == set()


async def test_a_chain_stays_mountable_and_complete(run, store, base):
    snapshot = base
    for number in range(60):
        done = await run(*sh(f"echo {number} > /n{number}"), root=snapshot)
        snapshot = done.snapshot
    assert len(snapshot.layers) <= 25
    names = [entry.name for entry in store.view(snapshot).scandir("/")]
    assert {f"n{number}" for number in range(60)} <= set(names)


async def test_many_at_once(run):
    results = await asyncio.gather(*(run("echo", str(number)) for number in range(20)))
    assert [done.stdout.data for done in results] == [b"%d\n" % number for number in range(20)]


async def test_a_started_process_is_reached_and_ends_by_a_signal(sandbox: Sandbox, base):
    script = "trap 'echo bye; exit 3' TERM; echo up; while :; do sleep 0.05; done"
    heard: list[tuple[str, bytes]] = []
    process = await sandbox.start(
        ExecSpec(root=base, args=sh(script)), listener=lambda name, data: heard.append((name, data))
    )
    while b"up" not in process.output().data:
        await anyio.sleep(0.01)
    assert Path(f"/proc/{process.pid}/ns/net").exists()
    process.signal(signal.SIGTERM)
    done = await process.wait()
    await process.kill()
    assert (done.exit_code, done.stdout.data) == (3, b"up\nbye\n")
    assert heard[0] == ("stdout", b"up\n")


async def test_killing_a_started_process_leaves_nothing(sandbox: Sandbox, base):
    marker = f"2{os.getpid()}7.5"
    process = await sandbox.start(ExecSpec(root=base, args=("sleep", marker)))
    await process.kill()
    assert processes(marker) == []


async def test_a_terminal_is_a_terminal(sandbox: Sandbox, base):
    process = await sandbox.start(ExecSpec(root=base, args=sh("test -t 0 && tty < /dev/tty"), tty=True))
    assert process.terminal is not None
    text = b""
    while not text.endswith(b"\n"):
        await anyio.wait_readable(process.terminal)
        try:
            text += os.read(process.terminal, 100)
        except OSError:
            break
    assert (await process.wait()).exit_code == 0
    assert b"/dev/" in text


async def test_limits_hold_where_the_machine_allows(run, sandbox: Sandbox):
    if sandbox.shared.cgroups.reason is not None:
        done = await run("true", limits=Limits(pids=50))
        assert done.exit_code == 0
        return
    done = await run(*sh("for i in $(seq 40); do sleep 1 & done; wait"), limits=Limits(pids=15))
    assert b"fork" in done.stderr.data.lower()
    script = "x = bytearray(200 << 20); print(len(x))"
    done = await run("python3", "-c", script, limits=Limits(memory_bytes=64 << 20))
    assert done.exit_code != 0


async def test_limits_of_the_session_hold_for_every_command(run, sandbox: Sandbox, monkeypatch):
    if sandbox.shared.cgroups.reason is not None:
        pytest.skip(f"this machine has no cgroups for the engine: {sandbox.shared.cgroups.reason}")
    monkeypatch.setattr(sandbox.shared, "limits", limits_of({"RONDEL_ENGINE_PIDS": "15"}))
    done = await run(*sh("for i in $(seq 40); do sleep 1 & done; wait"))
    assert b"fork" in done.stderr.data.lower()


_ENGINE = """
import asyncio, sys
from pathlib import Path
from rondel.engine import namespace
namespace.become_root()
from rondel.engine.images.host import host_image
from rondel.engine.sandbox import ExecSpec, Sandbox, SecretFileMount
from rondel.engine.store import Store

async def main():
    store = Store.open(Path(sys.argv[1]))
    sandbox = Sandbox(store)
    image = await host_image(store)
    print("ready", flush=True)
    await sandbox.run(ExecSpec(
        root=image.snapshot, args=("sh", "-c", f"echo x > /f; sleep {sys.argv[2]} & sleep {sys.argv[2]}"),
        mounts=(SecretFileMount(path="/s", value=b"s3cret-value"),),
    ))

asyncio.run(main())
"""


async def test_killing_the_engine_leaves_no_process_mount_or_file(tmp_path):
    marker = f"4{os.getpid()}9.5"
    root = tmp_path / "s"
    engine = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(_ENGINE), str(root), marker], stdout=subprocess.PIPE
    )
    assert engine.stdout is not None
    assert engine.stdout.readline() == b"ready\n"
    for _ in range(500):
        if len([pid for pid in processes(marker) if pid != str(engine.pid)]) >= 3:
            break
        time.sleep(0.01)
    engine.kill()
    engine.wait()
    engine.stdout.close()
    for _ in range(500):
        if not processes(marker):
            break
        time.sleep(0.01)
    assert processes(marker) == []
    assert str(root) not in Path("/proc/self/mountinfo").read_text()
    store = Store.open(root)
    try:
        opened = store.root
        assert os.listdir(opened / "t") == [store.session.name]
        assert os.listdir(opened / "s") == [store.session.name]
        known = {row.id for row in store.index.objects() if row.kind == "layer"}
        assert set(os.listdir(opened / "l")) == known
    finally:
        store.close()
    assert os.listdir(opened / "t") == os.listdir(opened / "s") == os.listdir(opened / "k") == []
