"""The HTTP server: a bare ASGI application for ``POST /query``.

Status codes and bodies match the recorded Dagger engine. An error inside a query is status
200 with ``errors``, which the client neither retries nor drops. If a client disconnects, its
request is cancelled; work that another request waits for continues.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import anyio

from rondel.engine.api.execution import Refused, execute, unexpected
from rondel.files.text import whole

if TYPE_CHECKING:
    from rondel.engine.api.calls import Calls

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

Application = Callable[[Scope, Receive, Send], Awaitable[None]]

MAX_BODY = 64 * 1024 * 1024
_JSON = "application/json"
_RESPONSE_JSON = "application/graphql-response+json"
_LOOPBACK = {"127.0.0.1", "localhost", "::1"}


class _Reply(Exception):
    def __init__(self, status: int, content_type: str = "", body: bytes = b"") -> None:
        super().__init__()
        self.status = status
        self.content_type = content_type
        self.body = body


def _errors(status: int, message: str, content_type: str = _JSON, **more: Any) -> _Reply:
    body = {"errors": [{"message": message} | more], "data": None}
    return _Reply(status, content_type, json.dumps(body).encode())


class App:
    """The ASGI application of one session."""

    def __init__(self, calls: Calls, token: str) -> None:
        self._calls = calls
        self._token = token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        try:
            self._admit(headers)
            reply = await self._answer(scope, headers, receive)
        except _Reply as early:
            reply = early
        if reply is not None:
            await _respond(send, reply)

    def _admit(self, headers: dict[str, str]) -> None:
        """Refuse requests without the token, and requests that a web page sends."""
        if not hmac.compare_digest(_user(headers.get("authorization", "")), self._token):
            raise _Reply(401)
        host = urlsplit(f"//{headers.get('host', '')}").hostname
        origin = headers.get("origin")
        if host not in _LOOPBACK or (origin is not None and urlsplit(origin).hostname not in _LOOPBACK):
            raise _Reply(403)

    async def _answer(self, scope: Scope, headers: dict[str, str], receive: Receive) -> _Reply | None:
        method = scope["method"]
        if scope["path"] != "/query":
            return _Reply(404, "text/plain", b"404 page not found\n")
        if method == "OPTIONS":
            return _Reply(200)
        answer_type = _RESPONSE_JSON if _RESPONSE_JSON in headers.get("accept", "") else _JSON
        if method == "HEAD":
            return _Reply(405)
        if method == "GET":
            return await self._execute({}, answer_type, receive)  # a query string in the URL does not count
        content_type = headers.get("content-type", "").partition(";")[0].strip().lower()
        if method != "POST" or content_type != _JSON:
            return _errors(400, "transport not supported", "text/plain")
        request = _request(await _body(headers, receive), answer_type)
        return await self._execute(request, answer_type, receive)

    async def _execute(self, request: dict[str, Any], answer_type: str, receive: Receive) -> _Reply | None:
        """Run the query while the client is connected; None if it disconnected."""
        reply: _Reply | None = None
        async with anyio.create_task_group() as tasks:

            async def leave() -> None:
                while (await receive())["type"] != "http.disconnect":
                    pass
                tasks.cancel_scope.cancel()

            tasks.start_soon(leave)
            reply = await self._reply(request, answer_type)
            tasks.cancel_scope.cancel()
        return reply

    async def _reply(self, request: dict[str, Any], answer_type: str) -> _Reply:
        try:
            answer = await execute(
                self._calls,
                request.get("query") or "",
                request.get("variables"),
                request.get("operationName"),
            )
            return _Reply(200, answer_type, _encoded(answer))
        except Refused as refused:
            status = 422 if answer_type == _JSON else 400
            answer = {"errors": refused.errors, "data": None}
            return _Reply(status, answer_type, _encoded(answer))
        except Exception as error:  # noqa: BLE001 - one bad request must not end the engine
            return _errors(200, str(unexpected(error)), answer_type)


def _encoded(answer: dict[str, Any]) -> bytes:
    """The answer as JSON. A byte of a file name that is not UTF-8 becomes U+FFFD, as in Go."""
    return whole(json.dumps(answer, sort_keys=True, ensure_ascii=False)).encode()


def _user(authorization: str) -> bytes:
    """The user name of basic authentication; empty when there is none."""
    scheme, _, credentials = authorization.partition(" ")
    if scheme.lower() != "basic":
        return b""
    try:
        return base64.b64decode(credentials, validate=True).partition(b":")[0]
    except (ValueError, binascii.Error):
        return b""


async def _body(headers: dict[str, str], receive: Receive) -> bytes:
    too_large = _errors(413, f"the request is larger than {MAX_BODY} bytes")
    length = headers.get("content-length", "")
    if length.isdigit() and int(length) > MAX_BODY:
        raise too_large
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _Reply(400)
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > MAX_BODY:
            raise too_large
        if not message.get("more_body"):
            return b"".join(parts)


def _request(body: bytes, answer_type: str) -> dict[str, Any]:
    """The request's JSON object. Errors do not repeat the body, which may hold a secret."""
    problem = "json request body could not be decoded: "
    try:
        request = json.loads(body)
    except (ValueError, RecursionError):
        raise _errors(400, problem + ("EOF" if not body else "it is not JSON"), answer_type) from None
    if not isinstance(request, dict):
        raise _errors(400, problem + "it is not an object", answer_type)
    for name, kind, words in (
        ("query", str, "a text"),
        ("variables", dict, "an object"),
        ("operationName", str, "a text"),
        ("extensions", dict, "an object"),
    ):
        if not isinstance(request.get(name), kind | None):
            raise _errors(400, f"{problem}{name} is not {words}", answer_type)
    return request


async def _respond(send: Send, reply: _Reply) -> None:
    headers = [(b"content-length", str(len(reply.body)).encode())]
    if reply.content_type:
        headers.append((b"content-type", reply.content_type.encode()))
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})
