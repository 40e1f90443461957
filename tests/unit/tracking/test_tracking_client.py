"""The REST client with servers that give bad answers, late answers or none."""

from __future__ import annotations

import base64
import json
import time
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest

from rondel.errors import TrackingUnavailable
from rondel.tracking import Endpoint, RunFacts, RunTree, StageFacts, TrackingClient, TrackingRefused
from rondel.tracking.client import mlflow_name
from rondel.tracking.errors import response_error

if TYPE_CHECKING:
    from collections.abc import Callable

URI = "http://mlflow.example"


def with_answers(
    handler: Callable[[httpx.Request], httpx.Response],
    action: Callable[[TrackingClient], Any],
    **endpoint: Any,
) -> Any:
    async def main() -> Any:
        transport = httpx.MockTransport(handler)
        async with TrackingClient(Endpoint(uri=URI, **endpoint), transport=transport) as client:
            return await action(client)

    return anyio.run(main)


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (301, "redirects"),
        (401, "MLFLOW_TRACKING_TOKEN"),
        (403, "permission"),
        (404, "path in MLFLOW_TRACKING_URI"),
        (429, "limits requests"),
        (500, "server's log"),
        (503, "server's log"),
    ],
)
def test_each_error_says_what_to_do(status: int, words: str) -> None:
    problem = response_error(Endpoint(uri=URI), "runs/get", status, "<html>")
    assert isinstance(problem, TrackingUnavailable)
    assert problem.exit_code == 22
    assert URI in problem.what
    assert words in problem.render()


def test_the_servers_message_is_passed_on() -> None:
    body = '{"error_code": "INVALID_PARAMETER_VALUE", "message": "No such thing"}'
    problem = response_error(Endpoint(uri=URI), "runs/get", 400, body)
    assert isinstance(problem, TrackingRefused)
    assert (problem.code, problem.missing) == ("INVALID_PARAMETER_VALUE", False)
    assert "No such thing" in problem.what


def test_a_page_of_another_server_is_recognised() -> None:
    with pytest.raises(TrackingUnavailable, match="not an MLflow server"):
        with_answers(
            lambda _: httpx.Response(200, text="<html>login</html>"), lambda client: client.get_run("a")
        )


def test_basic_login_takes_precedence_over_a_token() -> None:
    seen: list[str | None] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers.get("Authorization"))
        return httpx.Response(200, json={"experiment": {"experiment_id": "1"}})

    with_answers(handler, lambda client: client.get_experiment("e"), token="t")
    with_answers(handler, lambda client: client.get_experiment("e"), token="t", user="u", password="p")
    assert seen == ["Bearer t", f"Basic {base64.b64encode(b'u:p').decode()}"]


def test_only_repeatable_calls_are_retried() -> None:
    calls: list[str] = []

    def handler(request: httpx.Request) -> httpx.Response:
        calls.append(request.url.path.rpartition("mlflow/")[2])
        if len(calls) == 1:
            return httpx.Response(502)
        return httpx.Response(200, json={"experiment": {"experiment_id": "1"}})

    assert with_answers(handler, lambda client: client.get_experiment("e")) == "1"
    assert calls == ["experiments/get-by-name"] * 2
    calls.clear()
    with pytest.raises(TrackingUnavailable):
        with_answers(handler, lambda client: client.create_run("1", name="r", tags={}))
    assert calls == ["runs/create"]


def test_an_experiment_that_another_run_creates_meanwhile_is_used() -> None:
    answers = iter(
        [
            httpx.Response(404, json={"error_code": "RESOURCE_DOES_NOT_EXIST"}),
            httpx.Response(400, json={"error_code": "RESOURCE_ALREADY_EXISTS"}),
            httpx.Response(200, json={"experiment": {"experiment_id": "5"}}),
        ]
    )
    assert with_answers(lambda _: next(answers), lambda client: client.ensure_experiment("e")) == "5"


def test_logging_respects_the_servers_limits_and_names() -> None:
    bodies: list[dict[str, Any]] = []

    def handler(request: httpx.Request) -> httpx.Response:
        bodies.append(json.loads(request.content))
        return httpx.Response(200, json={})

    metrics = {f"m{number}": float(number) for number in range(900)} | {"bad": float("nan")}
    params = {f"p{number}": number for number in range(150)}
    with_answers(
        handler, lambda client: client.log("r", metrics=metrics, params=params, tags={"t": "x" * 9000})
    )
    assert [len(body["metrics"]) for body in bodies] == [800, 100]
    assert [len(body["params"]) for body in bodies] == [100, 50]
    assert len(bodies[0]["tags"][0]["value"]) == 5000
    assert mlflow_name("roc_auc[origin=JFK,month=9]") == "roc_auc/origin/JFK/month/9"


def test_a_server_that_never_answers_is_reported_within_five_seconds(
    raw_server: Callable[[bytes | None], int],
) -> None:
    endpoint = Endpoint(uri=f"http://127.0.0.1:{raw_server(None)}")

    async def main() -> None:
        async with TrackingClient(endpoint, timeout=0.3) as client:
            await client.probe()

    began = time.monotonic()
    with pytest.raises(TrackingUnavailable, match="does not answer"):
        anyio.run(main)
    assert time.monotonic() - began < 5


def test_a_missing_server_is_reported() -> None:
    async def main() -> None:
        async with TrackingClient(Endpoint(uri="http://127.0.0.1:9")) as client:
            await client.probe()

    with pytest.raises(TrackingUnavailable, match="does not answer") as caught:
        anyio.run(main)
    assert "unset MLFLOW_TRACKING_URI" in (caught.value.hint or "")


def test_a_broken_answer_is_reported(raw_server: Callable[[bytes | None], int]) -> None:
    endpoint = Endpoint(uri=f"http://127.0.0.1:{raw_server(b'HTTP/1.1 200 OK' + b'%r' % b'garbage')}")

    async def main() -> None:
        async with TrackingClient(endpoint) as client:
            await client.get_experiment("e")

    with pytest.raises(TrackingUnavailable):
        anyio.run(main)


def test_the_probe_uses_the_host_name_of_containers() -> None:
    hosts: list[str] = []

    def handler(request: httpx.Request) -> httpx.Response:
        hosts.append(request.headers["Host"])
        if request.headers["Host"].startswith("mlflow:"):
            return httpx.Response(403, text="Invalid Host header - possible DNS rebinding attack detected")
        return httpx.Response(200, json={"experiments": []})

    async def main() -> None:
        transport = httpx.MockTransport(handler)
        endpoint = Endpoint(uri="http://127.0.0.1:5000")
        async with TrackingClient(endpoint, transport=transport) as client:
            await client.probe()

    with pytest.raises(TrackingUnavailable, match="host name that containers use") as caught:
        anyio.run(main)
    assert hosts == ["127.0.0.1:5000", "mlflow:5000"]
    assert "--allowed-hosts" in (caught.value.hint or "")


class Recorder:
    """Answers like a server and stores runs."""

    def __init__(self) -> None:
        self.created: list[dict[str, Any]] = []
        self.ended: dict[str, str] = {}
        self.logged: list[dict[str, Any]] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path.rpartition("mlflow/")[2]
        body = json.loads(request.content) if request.content else {}
        match path:
            case "experiments/get-by-name":
                return httpx.Response(200, json={"experiment": {"experiment_id": "1"}})
            case "runs/create":
                self.created.append(body)
                info = {"run_id": f"r{len(self.created)}", "experiment_id": "1"}
                return httpx.Response(200, json={"run": {"info": info}})
            case "runs/update":
                self.ended[body["run_id"]] = body["status"]
            case "runs/log-batch":
                self.logged.append(body)
        return httpx.Response(200, json={})


FACTS = RunFacts(
    run_id="20261123-194742-a1b2c3",
    pipeline="ci/main.py",
    git_commit="abc",
    git_dirty=True,
    engine="embedded",
    capsule=".rondel/runs/x",
    ci={"provider": "gitlab", "id": "42", "url": "https://gitlab.example/job/42"},
)


def tags_of(created: dict[str, Any]) -> dict[str, str]:
    return {row["key"]: row["value"] for row in created["tags"]}


def test_stages_that_begin_at_once_share_one_parent() -> None:
    server = Recorder()

    async def action(client: TrackingClient) -> None:
        tree = RunTree(client, experiment="e", facts=FACTS)
        async with anyio.create_task_group() as group:
            for name in ("prepare", "train", "evaluate"):
                group.start_soon(tree.begin, StageFacts(name=name, inputs={"data/x y.csv": "md5:1"}))
        await tree.close("FAILED", tags={"rondel.gate": "failed"})

    with_answers(server, action)
    parent, *nested = server.created
    assert parent["run_name"] == FACTS.run_id
    assert sorted(each["run_name"] for each in nested) == ["evaluate", "prepare", "train"]
    tags = tags_of(nested[0])
    assert tags["mlflow.parentRunId"] == "r1"
    assert tags["rondel.git.dirty"] == "true"
    assert tags["gitlab.CI_JOB_ID"] == "42"
    assert tags["dvc.in.data/x y.csv"] == "md5:1"
    # Stage runs that did not end were stopped with the run.
    assert server.ended == {"r1": "FAILED", "r2": "KILLED", "r3": "KILLED", "r4": "KILLED"}


def test_a_run_in_which_nothing_runs_creates_nothing_on_the_server() -> None:
    server = Recorder()

    async def action(client: TrackingClient) -> None:
        await RunTree(client, experiment="e", facts=FACTS).close("FINISHED")

    with_answers(server, action)
    assert not server.created
    assert not server.ended


def test_the_parent_run_gets_the_stages_metrics() -> None:
    server = Recorder()

    async def action(client: TrackingClient) -> None:
        tree = RunTree(client, experiment="e", facts=FACTS)
        run = await tree.begin(StageFacts(name="train"))
        await tree.end(run, "FINISHED", metrics={"roc_auc": 0.7})

    with_answers(server, action)
    assert server.ended == {"r2": "FINISHED"}
    assert server.logged[0]["run_id"] == "r1"
    assert server.logged[0]["metrics"][0]["key"] == "roc_auc"
