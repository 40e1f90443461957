"""A Dagger script like anybody's: nothing of Rondel in it. Writes what it got as JSON to the path it is given."""

import json
import sys
from importlib.metadata import version
from pathlib import Path

import anyio
import dagger
from dagger import dag


async def main(answer: Path) -> None:
    found = {name: version(name) for name in ("dagger-io", "gql", "graphql-core")}
    async with dagger.connection(dagger.Config(log_output=None)):
        source = dag.host().directory(".", include=["*.txt"])
        secret = dag.set_secret("token", "very-secret-token")
        base = dag.container().from_("host").with_directory("/src", source).with_workdir("/src")
        built = base.with_secret_variable("TOKEN", secret).with_exec(
            ["sh", "-c", "cat *.txt; echo $TOKEN; wc -l *.txt > /count"]
        )
        found["stdout"] = await built.stdout()
        found["again"] = await (await built.sync()).file("/count").contents()
        found["entries"] = await source.entries()
        found["exported"] = Path(await built.file("/count").export("exported")).name
        found["variables"] = [
            await each.name() for each in await base.with_env_variable("ONE", "1").env_variables()
        ][-1:]
        found["concurrent"] = await gathered(base)
        found["served"] = await served(base)
        failing = [
            base.with_exec(["sh", "-c", "echo out; echo err >&2; exit 7"]).sync(),
            base.file("/nope").contents(),
            dag.container().from_("nowhere.invalid/x:y").sync(),
        ]
        if hasattr(dag, "load_container_from_id"):  # not from 1.0 on
            failing.append(dag.load_container_from_id(dagger.ContainerID("Container@nothing")).stdout())
        found["errors"] = [await failure(awaitable) for awaitable in failing]
    answer.write_text(json.dumps(found))


async def gathered(base: dagger.Container) -> list[str]:
    outputs = [""] * 5

    async def one(number: int) -> None:
        outputs[number] = await base.with_exec(["echo", str(number)]).stdout()

    async with anyio.create_task_group() as group:
        for number in range(5):
            group.start_soon(one, number)
    return outputs


async def served(base: dagger.Container) -> str:
    serve = ["python3", "-c", "import http.server as h; h.test(h.SimpleHTTPRequestHandler, port=8000)"]
    service = base.with_exposed_port(8000).as_service(args=serve)
    ask = "import urllib.request as u; print(u.urlopen('http://web:8000/a.txt').read().decode())"
    return await base.with_service_binding("web", service).with_exec(["python3", "-c", ask]).stdout()


async def failure(awaitable) -> list:
    try:
        await awaitable
    except dagger.ExecError as error:
        return ["ExecError", error.exit_code, error.stdout, error.stderr, error.command]
    except dagger.QueryError as error:
        return [type(error).__name__, str(error)]
    return ["nothing"]


anyio.run(main, Path(sys.argv[1]))
