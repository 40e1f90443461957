"""What a Dagger client asks the engine for, timed; ``python -m benchmarks.client PART`` below ``rondel run``."""

from __future__ import annotations

import time

BEGUN = time.time()  # before the client is imported: that is its own affair

import json  # noqa: E402 - see above
import os  # noqa: E402
import shutil  # noqa: E402
import statistics  # noqa: E402
import sys  # noqa: E402
import urllib.request  # noqa: E402
from base64 import b64encode  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import TYPE_CHECKING  # noqa: E402

import anyio  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import dagger

BASE = os.environ["BENCH_BASE"]
FOLDER = Path(os.environ["BENCH_FOLDER"])
FILES = 5000
MANY_FILES = 50_000
LARGE = 256 * 1024 * 1024
FOUND: dict[str, float | str] = {}


async def timed(what: str, work: Callable[[], Awaitable[object]]) -> float:
    """Await something, and write down how long it took (seconds)."""
    started = time.perf_counter()
    await work()
    FOUND[what] = seconds = time.perf_counter() - started
    return seconds


def fresh_of(base: dagger.Container) -> dagger.Container:
    """A container whose commands no engine knows yet."""
    return base.with_env_variable("NONCE", os.urandom(6).hex())


def chain(start: dagger.Container, length: int, name: str) -> dagger.Container:
    """Commands one after the other, each of which writes a file."""
    for index in range(length):
        start = start.with_exec(["sh", "-c", f"echo {index} > /{name}{index}"])
    return start


async def first() -> None:
    """The rows that were recorded with the real engine."""
    from dagger import dag

    base = dag.container().from_(BASE)
    await timed("base image ready", base.with_exec(["true"]).sync)
    alone = [await timed("one command", fresh_of(base).with_exec(["true"]).sync) for _ in range(5)]
    FOUND["one command"] = statistics.median(alone)
    fresh = fresh_of(base)
    thirty = chain(fresh, 30, "f")
    spent = await timed("chain of 30", thirty.sync)
    FOUND["one command of a chain of 30"] = spent / 30
    await timed("the same chain and one command more", thirty.with_exec(["true"]).sync)
    await timed("chain of 200", lambda: counted(chain(fresh, 200, "g"), "g", 200))
    await timed("8 × sleep 0.5 at once", lambda: together(fresh, "sleep 0.5", 8))
    await timed("100 commands at once", lambda: together(fresh, ":", 100))
    await files(base, fresh)
    await shared(fresh)
    kept = base.with_env_variable("KEPT", "1")
    stamp = await chain(kept, 30, "k").with_exec(["date", "+%s%N"]).stdout()
    (FOLDER / "stamp").write_text(stamp)
    tree(FOLDER / "many", MANY_FILES, size=16)
    await timed("upload of 50,000 files", lambda: uploaded(base, FOLDER / "many", MANY_FILES))


async def again() -> None:
    """A new session on the same store: nothing of what is there runs, or is read, again."""
    from dagger import dag

    base = dag.container().from_(BASE)
    kept = chain(base.with_env_variable("KEPT", "1"), 30, "k").with_exec(["date", "+%s%N"])

    async def same() -> None:
        stamp = await kept.stdout()
        FOUND["commands run again"] = "none" if stamp == (FOLDER / "stamp").read_text() else "some"

    await timed("the same chain in a new session", same)
    await timed(
        "unchanged 50,000 files in a new session", lambda: uploaded(base, FOLDER / "many", MANY_FILES)
    )


async def heavy() -> None:
    """Long chains, deep queries, and what a thousand commands leave in memory."""
    from dagger import dag

    fresh = fresh_of(dag.container().from_(BASE))
    FOUND["memory of the engine"] = engine_memory()

    async def five_hundred() -> None:
        long = fresh
        for number in range(3):
            long = await chain(long, 167, f"h{number}-").sync()
        count = await long.with_exec(["sh", "-c", "ls / | grep -c ^h[0-2]-"]).stdout()
        assert count.strip() == "501", count

    await timed("chain of 501, a sync every 167", five_hundred)
    for _ in range(5):
        await together(fresh.with_env_variable("ROUND", os.urandom(4).hex()), ":", 100)
    FOUND["memory of the engine after 1,000 commands"] = engine_memory()
    await timed("query of 1,000 levels", lambda: anyio.to_thread.run_sync(deep, 1000))


async def counted(made: dagger.Container, name: str, length: int) -> None:
    """Run a chain and count what it made."""
    found = await made.with_exec(["sh", "-c", f"ls / | grep -c ^{name}"]).stdout()
    assert found.strip() == str(length), found


async def together(start: dagger.Container, command: str, count: int) -> None:
    """Different commands at once."""
    async with anyio.create_task_group() as group:
        for index in range(count):
            group.start_soon(start.with_exec(["sh", "-c", f"{command}; echo {index}"]).stdout)


def tree(folder: Path, count: int, *, size: int) -> None:
    """Files with random content, a hundred in a folder."""
    for index in range(count):
        path = folder / f"d{index // 100}" / f"f{index}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(size))


async def uploaded(base: dagger.Container, folder: Path, count: int) -> None:
    """Have a folder of the host counted in a container."""
    from dagger import dag

    there = base.with_directory("/src", dag.host().directory(str(folder)))
    found = await there.with_exec(["sh", "-c", "find /src -type f | wc -l"]).stdout()
    assert found.strip() == str(count), found


async def files(base: dagger.Container, fresh: dagger.Container) -> None:
    """Up and down."""
    from dagger import dag

    source, target, large = FOLDER / "tree", FOLDER / "out", FOLDER / "large"
    tree(source, FILES, size=4096)
    await timed("upload of 5,000 files", lambda: uploaded(base, source, FILES))
    (source / "d1" / "f101").write_text("changed")
    await timed("the same, one changed", lambda: uploaded(base, source, FILES))
    there = base.with_directory("/src", dag.host().directory(str(source))).directory("/src")
    await timed("export of 5,000 files", lambda: there.export(str(target)))
    assert sum(1 for path in target.rglob("*") if path.is_file()) == FILES
    write = ["sh", "-c", f"head -c {LARGE} /dev/zero | tr '\\0' x > /large"]
    await timed(
        "256 MB written and exported", lambda: fresh.with_exec(write).file("/large").export(str(large))
    )
    assert large.stat().st_size == LARGE
    large.unlink()
    shutil.rmtree(target)


async def shared(fresh: dagger.Container) -> None:
    """A cache volume, and a service."""
    from dagger import dag

    mounted = fresh.with_mounted_cache("/c", dag.cache_volume("bench-" + os.urandom(6).hex()))

    async def thousand() -> None:
        await mounted.with_exec(["sh", "-c", "for i in $(seq 1000); do echo $i > /c/$i; done"]).sync()
        found = await mounted.with_exec(["sh", "-c", "ls /c | wc -l"]).stdout()
        assert found.strip() == "1000", found

    await timed("cache volume, 1,000 files", thousand)
    server = (
        fresh.with_new_file("/w/index.html", "served")
        .with_workdir("/w")
        .with_exposed_port(8000)
        .as_service(args=["python3", "-m", "http.server", "8000"])
    )
    ask = "import urllib.request as u; print(u.urlopen('http://web:8000/index.html').read().decode())"

    async def asked() -> None:
        found = await fresh.with_service_binding("web", server).with_exec(["python3", "-c", ask]).stdout()
        assert found.strip() == "served", found

    await timed("service asked over HTTP", asked)


def engine_memory() -> float:
    """The resident memory (MB) of this session's engine: a child of our parent, ``rondel run``."""
    for children in Path(f"/proc/{os.getppid()}/task").glob("*/children"):
        for pid in children.read_text().split():
            if b"rondel.engine.server" in Path(f"/proc/{pid}/cmdline").read_bytes():
                status = Path(f"/proc/{pid}/status").read_text().splitlines()
                (line,) = [line for line in status if line.startswith("VmRSS")]
                return int(line.split()[1]) / 1024
    raise SystemExit("the engine's process was not found")


def deep(levels: int) -> None:
    """A raw query of so many levels: the client could not build it."""
    query = "{directory" + '{withNewFile(path:"f",contents:"x")' * levels + "{entries" + "}" * (levels + 2)
    token = b64encode(f"{os.environ['DAGGER_SESSION_TOKEN']}:".encode()).decode()
    request = urllib.request.Request(
        f"http://127.0.0.1:{os.environ['DAGGER_SESSION_PORT']}/query",
        data=json.dumps({"query": query}).encode(),
        headers={"Content-Type": "application/json", "Authorization": f"Basic {token}"},
    )
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60) as response:
        answer = response.read()
    assert b'"errors"' not in answer, answer[:300]


async def main(part: str) -> None:
    """Connect, and do one of the parts."""
    import dagger

    started = time.perf_counter()
    async with dagger.connection(dagger.Config(log_output=None)):
        connected = time.perf_counter() - started
        if part == "first":
            # From the start of `rondel run`, without the import of the client.
            FOUND["connect"] = BEGUN - float(os.environ["BENCH_STARTED"]) + connected
        await {"first": first, "again": again, "heavy": heavy}[part]()
    Path(os.environ["BENCH_ANSWER"]).write_text(json.dumps(FOUND), encoding="utf-8")


if __name__ == "__main__":
    anyio.run(main, sys.argv[1])
