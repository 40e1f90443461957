"""The HTTP door, without a network: requests are ASGI messages."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from rondel.engine.server import app as door
from rondel.engine.server.app import App

if TYPE_CHECKING:
    from collections.abc import MutableMapping


class NoCalls:
    """Stands for the session's calls: these tests never get as far as a resolver."""

    def __init__(self) -> None:
        from rondel.engine.api.schema import load

        self.schema = load()


def request(
    body: bytes = b'{"query":"{__typename}"}',
    *,
    method: str = "POST",
    path: str = "/query",
    headers: dict[str, str] | None = None,
    token: str | None = "token",
) -> tuple[int, str, Any]:
    sent = {"host": "127.0.0.1:1", "content-type": "application/json"} | (headers or {})
    if token is not None:
        sent["authorization"] = "Basic " + base64.b64encode(f"{token}:".encode()).decode()
    scope = {
        "type": "http",
        "method": method,
        "path": path.partition("?")[0],
        "headers": [(name.encode(), value.encode()) for name, value in sent.items()],
    }
    messages: list[MutableMapping[str, Any]] = []
    waiting = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> MutableMapping[str, Any]:
        if waiting:
            return waiting.pop()
        await anyio.sleep_forever()
        raise AssertionError

    async def send(message: MutableMapping[str, Any]) -> None:
        messages.append(message)

    anyio.run(App(NoCalls(), "token"), scope, receive, send)  # type: ignore[arg-type]
    start, end = messages
    kind = dict(start["headers"]).get(b"content-type", b"").decode()
    text = end["body"].decode()
    return start["status"], kind, json.loads(text) if text.startswith("{") else text


def test_answers_a_query() -> None:
    assert request() == (200, "application/json", {"data": {"__typename": "Query"}})


@pytest.mark.parametrize("token", [None, "wrong", "", "token2"])
def test_a_wrong_token_gets_nothing(token: str | None) -> None:
    assert request(token=token) == (401, "", "")


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example"},
        {"host": "evil.example:80"},
        {"origin": "http://evil.example"},
        {"origin": "null"},
    ],
)
def test_other_hosts_and_origins_are_refused(headers: dict[str, str]) -> None:
    assert request(headers=headers)[0] == 403


def test_a_loopback_origin_is_let_in() -> None:
    assert request(headers={"origin": "http://localhost:3000"})[0] == 200


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b'{"query":',
        b"[]",
        b'"x"',
        b"\xff",
        b'{"query":1}',
        b'{"query":"{a}","variables":[1]}',
        b"[" * 50_000,
    ],
)
def test_a_body_that_is_no_request_gets_400_and_is_not_repeated(body: bytes) -> None:
    status, _, answer = request(body)
    assert status == 400
    assert answer["data"] is None
    assert "json request body could not be decoded" in answer["errors"][0]["message"]


def test_a_body_over_the_limit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "MAX_BODY", 10)
    assert request()[0] == 413
    assert request(b"{}", headers={"content-length": "11"})[0] == 413


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/query", 422), ("PUT", "/query", 400), ("OPTIONS", "/query", 200), ("POST", "/", 404)],
)
def test_other_methods_and_paths(method: str, path: str, status: int) -> None:
    assert request(method=method, path=path)[0] == status


def test_bad_queries_are_answered_with_422_as_graphql_errors() -> None:
    status, _, answer = request(b'{"query":"{ nope }"}')
    assert status == 422
    assert answer["errors"][0]["extensions"] == {"code": "GRAPHQL_VALIDATION_FAILED"}
    status, _, answer = request(b'{"query":"{"}')
    assert status == 422
    assert answer["errors"][0]["extensions"] == {"code": "GRAPHQL_PARSE_FAILED"}


@pytest.mark.parametrize("below", ["container container(path:null)", "nope", "types{name name:kind}"])
def test_mistakes_in_introspection_are_errors_of_the_query(below: str) -> None:
    _, _, answer = request(json.dumps({"query": "{__schema{" + below + "}}"}).encode())
    assert answer["data"] is None
    assert "internal error" not in json.dumps(answer)


def test_the_answers_type_follows_the_accept_header() -> None:
    kind = "application/graphql-response+json"
    assert request(headers={"accept": kind})[1] == kind


def test_a_query_in_the_address_does_not_count() -> None:
    status, kind, answer = request(method="GET", path="/query?query=%7B__typename%7D", body=b"")
    assert (status, kind, answer["errors"][0]["message"]) == (
        422,
        "application/json",
        "no operation provided",
    )
    assert request(method="HEAD", body=b"")[0] == 405


@pytest.mark.parametrize("body", [b'{"query":"{"}', b'{"query":"{nope}"}', b"{"])
def test_a_client_that_asks_for_graphql_responses_gets_its_status(body: bytes) -> None:
    kind = "application/graphql-response+json"
    assert request(body, headers={"accept": kind})[:2] == (400, kind)


def test_a_variable_of_another_type_is_refused_with_its_path() -> None:
    body = b'{"query":"query($x:Boolean!){__typename @skip(if:$x)}","variables":{"x":"yes"}}'
    status, _, answer = request(body)
    assert status == 422
    assert answer["errors"][0]["message"] == "cannot use string as Boolean"
    assert answer["errors"][0]["path"] == ["variable", "x"]
