"""What a client learns of the files that its commands opened."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from rondel.engine.evaluate import live_output as engine_live
from rondel.engine.server.launcher import LIVE_OUTPUT
from rondel.environment.output_stream import NO_TRACE, TAG, TRACE, CommandOutput, OutputStream

if TYPE_CHECKING:
    from tests.engine.conftest import Queries

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def test_client_and_engine_mean_the_same_variables() -> None:
    assert (TAG, TRACE) == (engine_live.TAG, engine_live.TRACE)


def command(script: str, received: CommandOutput, *, folder: str = "/work", files: int = 3) -> str:
    made = "".join(f'withNewFile(path:"/work/f{number}",contents:"{number}"){{' for number in range(files))
    variables = {TAG: received.tag, **({TRACE: folder} if folder else {})}
    env = "".join(f'withEnvVariable(name:"{name}",value:"{value}"){{' for name, value in variables.items())
    closing = "}" * (files + len(variables))
    text = json.dumps(script)
    return (
        f'{{container{{from(address:"host"){{{made}{env}withExec(args:["sh","-c",{text}],expect:ANY)'
        f"{{stdout}}{closing}}}}}}}"
    )


async def follow(query: Queries, text: str, stream: OutputStream, received: CommandOutput) -> Any:
    return await stream.follow(received, lambda: asyncio.to_thread(query, text))


def open_stream(query: Queries) -> OutputStream:
    return OutputStream(query.session.environment[LIVE_OUTPUT], "run")


async def test_the_files_that_a_command_opened_come_with_its_tag(query: Queries) -> None:
    stream = open_stream(query)
    outputs = [stream.command_output(print) for _ in range(2)]
    texts = [command(f"cat /work/f{number}; echo x >> /work/f2", outputs[number]) for number in range(2)]
    await asyncio.gather(
        *(follow(query, text, stream, received) for text, received in zip(texts, outputs, strict=True))
    )
    assert [received.opened for received in outputs] == [{"f0", "f2"}, {"f1", "f2"}]
    assert [(received.written, received.untraced) for received in outputs] == [({"f2"}, "")] * 2


async def test_the_command_does_not_see_that_it_is_traced(query: Queries) -> None:
    stream = open_stream(query)
    received = stream.command_output(print)
    output = await follow(query, command("env", received), stream, received)
    assert received.opened == set()
    assert TRACE not in output
    assert received.tag in output


async def test_a_failed_command_is_told_of(query: Queries) -> None:
    stream = open_stream(query)
    received = stream.command_output(print)
    await follow(query, command("cat /work/f1; exit 3", received), stream, received)
    assert (received.opened, received.untraced) == ({"f1"}, "")


async def test_what_is_not_known_says_why(query: Queries) -> None:
    stream = open_stream(query)
    received = stream.command_output(print)
    await follow(query, command("cat /work/f1", received, folder="/elsewhere"), stream, received)
    assert (received.opened, "no folder /elsewhere" in received.untraced) == (set(), True)


@pytest.mark.parametrize("folder", ["", "/work"])
async def test_what_nothing_is_told_of_is_not_known(query: Queries, folder: str) -> None:
    stream = open_stream(query)
    received = stream.command_output(print)
    text = command("cat /work/f1", received, folder=folder)
    query(text)
    stream.drain()  # for nobody
    await follow(query, text, stream, received)  # answered from what is known
    assert (received.opened, received.untraced) == (None, NO_TRACE)


async def test_many_files_are_told_whole(query: Queries) -> None:
    stream = open_stream(query)
    received = stream.command_output(print)
    made = "mkdir -p /work/many && cd /work/many && seq -f file-with-a-rather-long-name-%g 5000 | xargs touch"
    text = (
        f'{{container{{from(address:"host"){{withExec(args:["sh","-c",{json.dumps(made)}]){{'
        f'withEnvVariable(name:"{TAG}",value:"{received.tag}"){{withEnvVariable(name:"{TRACE}",value:"/work"){{'
        'withExec(args:["sh","-c","cat /work/many/*"]){stdout}}}}}}}'
    )
    await follow(query, text, stream, received)
    assert received.untraced == ""
    assert received.opened == {f"many/file-with-a-rather-long-name-{number}" for number in range(1, 5001)}
