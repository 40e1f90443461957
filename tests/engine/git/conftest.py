"""A session without containers, and repositories served by git itself."""

import asyncio
import os
import socket
import subprocess
import time

import anyio
import pytest

from rondel.engine.api.calls import Calls
from rondel.engine.api.execution import execute
from rondel.engine.api.resolvers import load_resolvers
from rondel.engine.evaluate import Session
from rondel.engine.store import Store


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture
async def session(tmp_path):
    load_resolvers()
    store = Store.open(tmp_path / "store")
    made, ended = asyncio.get_running_loop().create_future(), asyncio.Event()

    async def hold():  # a task group must be left by the task that entered it: not a fixture's
        async with anyio.create_task_group() as tasks:
            made.set_result(Session(store=store, sandbox=None, tasks=tasks, workdir=tmp_path))
            await ended.wait()
            await made.result().aclose()
            tasks.cancel_scope.cancel()

    holder = asyncio.ensure_future(hold())
    yield await made
    ended.set()
    await holder
    store.close()


@pytest.fixture
def query(session):
    """Run a query; its data, or its error's message as an exception."""
    calls = Calls(session)

    async def run(text):
        answer = await execute(calls, text)
        if answer.get("errors"):
            raise AssertionError(answer["errors"][0]["message"])
        return answer["data"]

    return run


IDENTITY = {
    f"GIT_{who}_{what}": value
    for who in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "a"), ("EMAIL", "a@x"), ("DATE", "2020-01-01T00:00:00Z"))
}


def run_git(folder, *args):
    env = os.environ | IDENTITY | {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"}
    return subprocess.run(
        ["git", *args], cwd=folder, env=env, check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture
def repository(tmp_path):
    """A working tree with two commits on main, a branch, a plain and an annotated tag."""
    folder = tmp_path / "work"
    folder.mkdir()
    run_git(folder, "init", "-q", "-b", "main")
    (folder / "f").write_text("one\n")
    (folder / "script.sh").write_text("#!/bin/sh\n")
    (folder / "script.sh").chmod(0o755)
    (folder / "link").symlink_to("f")
    run_git(folder, "add", "-A")
    run_git(folder, "commit", "-q", "-m", "one")
    run_git(folder, "tag", "v1.0.0")
    run_git(folder, "checkout", "-q", "-b", "dev")
    (folder / "g").write_text("dev\n")
    run_git(folder, "add", "-A")
    run_git(folder, "commit", "-q", "-m", "dev")
    run_git(folder, "checkout", "-q", "main")
    (folder / "f").write_text("two\n")
    run_git(folder, "commit", "-q", "-am", "two")
    run_git(folder, "tag", "-a", "-m", "x", "v1.1.0")
    return folder


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def served(repository, tmp_path):
    """The repository's URL at a git daemon."""
    run_git(tmp_path, "clone", "-q", "--bare", "work", "r.git")
    port = free_port()
    command = [
        "git",
        "daemon",
        "--reuseaddr",
        f"--base-path={tmp_path}",
        "--export-all",
        "--listen=127.0.0.1",
    ]
    daemon = subprocess.Popen([*command, f"--port={port}", str(tmp_path)], stderr=subprocess.DEVNULL)
    for _ in range(400):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.02)
    yield f"git://127.0.0.1:{port}/r.git"
    subprocess.run(["pkill", "-P", str(daemon.pid)], check=False)
    daemon.kill()
    daemon.wait()
