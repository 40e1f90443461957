"""Lines of running commands: complete, once, and to the right stage."""

from __future__ import annotations

import fcntl
import json
from typing import TYPE_CHECKING

import anyio
import pytest

from rondel.engine.evaluate.live_output import LiveOutput
from rondel.engine.sandbox import Opened
from rondel.environment.output_stream import NO_TRACE, NOT_TRACED, TRACE_CUT, CommandOutput, OutputStream

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "output"
    path.write_bytes(b"")
    return path


class Command:
    """What an engine does while a client waits for a command's standard output."""

    def __init__(self, output: LiveOutput, tag: str) -> None:
        take = output.listener(tag, "digest")
        assert take is not None
        self.say: Callable[[str, bytes], None] = take


def test_a_stream_opens_while_the_engine_checks_for_readers(file: Path) -> None:
    with file.open("rb") as engine:
        fcntl.flock(engine, fcntl.LOCK_EX)
        stream = OutputStream(str(file), "run")
    assert stream.active
    stream.close()


async def test_lines_come_while_the_command_runs_and_never_again(file: Path) -> None:
    stream, seen = OutputStream(str(file), "run"), []
    received = stream.command_output(seen.append)
    command = Command(LiveOutput(str(file)), received.tag)

    async def work() -> str:
        command.say("stdout", b"one\ntw")
        while not seen:
            await anyio.sleep(0.01)
        assert seen == ["one"]
        command.say("stdout", b"o\n")
        command.say("stderr", b"caf\xc3")
        command.say("stderr", b"\xa9\nno newline")
        return "one\ntwo\n"

    assert await stream.follow(received, work) == "one\ntwo\n"
    received.log(stdout="one\ntwo\n", stderr="café\nno newline")
    assert seen == ["one", "two", "café", "no newline"]
    stream.close()


async def test_without_frames_the_output_is_logged_at_the_end(file: Path) -> None:
    for path in ("", str(file), "/nowhere/at/all"):
        stream, seen = OutputStream(path, "run"), []
        assert stream.active is (path == str(file))
        received = stream.command_output(seen.append)

        async def work() -> str:
            return "one\ntwo\n"

        await stream.follow(received, work)
        received.log(stdout="one\ntwo\n", stderr="")
        assert "\n".join(seen).split() == ["one", "two"]
        stream.close()


async def test_two_commands_at_once_keep_their_lines_apart(file: Path) -> None:
    stream = OutputStream(str(file), "run")
    output = LiveOutput(str(file))
    seen: dict[str, list[str]] = {"a": [], "b": []}

    async def stage(name: str) -> None:
        received = stream.command_output(seen[name].append)
        command = Command(output, received.tag)

        async def work() -> None:
            for number in range(20):
                command.say("stdout", f"{name} {number}\n".encode())
                await anyio.sleep(0.005)

        await stream.follow(received, work)

    async with anyio.create_task_group() as group:
        group.start_soon(stage, "a")
        group.start_soon(stage, "b")
    for name, lines in seen.items():
        assert "\n".join(lines).split("\n") == [f"{name} {number}" for number in range(20)]


async def test_an_error_is_raised_unwrapped_after_the_last_lines(file: Path) -> None:
    stream, seen = OutputStream(str(file), "run"), []
    received = stream.command_output(seen.append)
    command = Command(LiveOutput(str(file)), received.tag)

    async def work() -> None:
        command.say("stdout", b"last words\n")
        raise KeyError("x")

    with pytest.raises(KeyError):
        await stream.follow(received, work)
    received.log(stdout="last words\n", stderr="")
    assert seen == ["last words"]


async def test_more_than_a_session_may_write_comes_at_the_end_without_repeating(file: Path) -> None:
    stream, seen = OutputStream(str(file), "run"), []
    received = stream.command_output(seen.append)
    command = Command(LiveOutput(str(file), limit=1000), received.tag)
    whole = "".join(f"line {number}\n" for number in range(100))

    async def work() -> str:
        for line in whole.splitlines(keepends=True):
            command.say("stdout", line.encode())
        return whole

    await stream.follow(received, work)
    assert 0 < len("\n".join(seen).split("\n")) < 100
    received.log(stdout=whole, stderr="")
    assert "\n".join(seen).strip() == whole.strip()
    assert file.stat().st_size < 1100


async def test_a_later_run_in_the_same_session_does_not_see_the_earlier_ones_lines(file: Path) -> None:
    first = OutputStream(str(file), "run")
    tag = first.command_output(print).tag
    Command(LiveOutput(str(file)), tag).say("stdout", b"old\n")
    stream, seen = OutputStream(str(file), "run"), []
    received = stream.command_output(seen.append)
    assert received.tag == tag  # even so

    async def work() -> None:
        pass

    await stream.follow(received, work)
    assert seen == []


async def test_damaged_frames_are_passed_over(file: Path) -> None:
    stream, seen = OutputStream(str(file), "run"), []
    received = stream.command_output(seen.append)
    good = json.dumps({"tag": received.tag, "stream": "stdout", "text": "good\n"})

    async def work() -> None:
        file.write_text(f'not json\n[]\n{{}}\n{{"tag": 1}}\n{good}\n{{"half')

    await stream.follow(received, work)
    assert seen == ["good"]


def test_the_engine_writes_to_a_file_that_is_there_and_to_nothing_else(tmp_path: Path) -> None:
    for path in ("", str(tmp_path / "absent"), str(tmp_path), "/dev/null"):
        assert LiveOutput(path).listener("t", "c") is None
    assert not (tmp_path / "absent").exists()


async def test_a_notice_is_for_the_reader_if_there_is_one_and_else_to_be_printed(file: Path) -> None:
    engine = LiveOutput(str(file))
    assert not engine.tell("nobody reads")
    told: list[str] = []
    reader = OutputStream(str(file), "run", told.append)
    assert engine.tell("one reads")
    assert file.read_text().count("nobody reads") == 0
    reader.drain()
    assert told == ["one reads"]
    assert engine.tell("at the end")
    reader.close()
    assert told == ["one reads", "at the end"]
    assert not engine.tell("it has gone")
    engine.close()
    assert not LiveOutput().tell("no file")


def opened(*names: str, written: tuple[str, ...] = (), unknown: str = "") -> Opened:
    return Opened(names=frozenset({*names, *written}), written=frozenset(written), unknown=unknown)


async def told(
    file: Path, *frames: Opened, limit: int = 10_000, stream: OutputStream | None = None
) -> CommandOutput:
    """What is received of the files that a command opened, after the engine told that."""
    stream = stream or OutputStream(str(file), "run")
    received, output = stream.command_output(print), LiveOutput(str(file), limit=limit)

    async def work() -> None:
        for frame in frames:
            output.opened(received.tag, "digest", frame)

    await stream.follow(received, work)
    return received


async def test_the_trace_of_a_command_is_recorded(file: Path) -> None:
    received = await told(file, opened("src/train.py", "caf\udce9", written=("log.txt",)))
    assert received.opened == {"src/train.py", "caf\udce9", "log.txt"}
    assert (received.written, received.untraced) == ({"log.txt"}, "")


async def test_an_empty_trace_differs_from_no_trace(file: Path) -> None:
    received = await told(file, opened())
    assert (received.opened, received.untraced) == (frozenset(), "")
    received = await told(file)
    assert (received.opened, received.untraced) == (None, NO_TRACE)
    received = await told(file, stream=OutputStream("", "run"))
    assert (received.opened, received.untraced) == (None, NOT_TRACED)


async def test_an_incomplete_trace_has_a_reason(file: Path) -> None:
    received = await told(file, opened("a", unknown="too fast"))
    assert (received.opened, received.untraced) == ({"a"}, "too fast")


async def test_several_commands_of_one_tag_are_taken_together(file: Path) -> None:
    received = await told(
        file, opened("a", written=("b", "c")), opened("b", written=("d",)), opened(unknown="full")
    )
    assert received.opened == {"a", "b", "c", "d"}
    assert (received.written, received.untraced) == ({"c", "d"}, "full")
    received = await told(file, opened(unknown="first"), opened("a"))
    assert received.untraced == "first"


async def test_a_full_session_has_no_trace(file: Path) -> None:
    received = await told(file, opened(*(f"file{number}" for number in range(100))), limit=500)
    assert (received.opened, received.untraced) == (None, TRACE_CUT)


async def test_a_damaged_trace_is_not_an_empty_one(file: Path) -> None:
    for frame in (
        {"opened": ["a"]},
        {"opened": None, "written": [], "known": True},
        {"opened": [], "known": True},
    ):
        stream = OutputStream(str(file), "run")
        received = stream.command_output(print)

        async def work(line: str = json.dumps({"tag": received.tag, **frame})) -> None:
            file.write_text(file.read_text() + line + "\n")

        await stream.follow(received, work)
        assert (received.opened, received.untraced) == (None, NO_TRACE)
        stream.close()
