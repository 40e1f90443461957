"""MLflow's server behind a login; ``mlflow server --app-name rondel`` loads it.

Every request needs the server's token (:mod:`rondel.tracking.login`): as a bearer
token, as the password of the user ``rondel``, or, in a browser, as the cookie that
``rondel ui`` sets. Pure stages have a key that logs runs, but changes no alias.
Artifacts are stored through the server only, so that no experiment can name a
folder of this machine as its artifact root.

Importing this module does not import MLflow: ``mlflow server`` does so only to look
at ``app``.
"""

from __future__ import annotations

import base64
import binascii
import functools
import hmac
import os
import re
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import parse_qs

from rondel.tracking.login import OPEN, SIGN_IN, USER, derived_key, server_token
from rondel.tracking.server_state import FOLDER_VARIABLE, ServerFolder

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, MutableMapping

    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]

_PUBLIC = frozenset({"/health", "/version"})
_LONGEST_FORM = 1000
_OWNER_ONLY = re.compile(
    r"/(?:registered-models/(?:alias|set-tag|delete-tag|update|rename|delete)"
    r"|model-versions/(?:set-tag|delete-tag|update|delete|transition-stage)"
    r"|experiments/(?:delete|restore|update)|runs/(?:delete|restore)|webhooks|gateway|jobs|assistant)"
)
_REFUSED = """\
A pure stage may log runs and register versions, but not change or delete registered models, \
or delete runs. Declare the stage with @pipeline.effect, or use ctx.register and ctx.promote.
"""

Role = Literal["owner", "stage"]


class GuardedServer:
    """An ASGI application that passes only requests with a login on to MLflow."""

    def __init__(self) -> None:
        self._app: Callable[[Message, Receive, Send], Awaitable[None]] | None = None

    @functools.cached_property
    def _token(self) -> str:
        return server_token(ServerFolder(path=Path(os.environ[FOLDER_VARIABLE])).login)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request, or pass it on."""
        if self._app is None:
            self._app = _mlflow()
        if scope["type"] == "lifespan" or scope.get("path") in _PUBLIC:
            await self._app(scope, receive, send)
        elif scope["type"] == "http" and scope["path"] == OPEN:
            await self._open(scope, receive, send)
        elif (role := self._role(scope)) is None:
            await _ask(scope, send)
        elif role == "stage" and scope.get("method") != "GET" and _OWNER_ONLY.search(scope["path"]):
            await _answer(send, 403, _REFUSED)
        else:
            await self._app(scope, receive, send)

    def _role(self, scope: Message) -> Role | None:
        headers: dict[bytes, bytes] = dict(scope["headers"])
        key = _password(headers.get(b"authorization", b"").decode("latin-1"))
        cookie = _cookie(headers.get(b"cookie", b"").decode("latin-1"), self._cookie_name(scope))
        if _same(key, self._token) or _same(cookie, derived_key(self._token, "browser")):
            return "owner"
        return "stage" if _same(key, derived_key(self._token, "stages")) else None

    def _cookie_name(self, scope: Message) -> str:
        # A cookie belongs to a host, not to a port; several projects may have a server.
        return f"rondel-mlflow-{(scope.get('server') or ('', 0))[1]}"

    async def _open(self, scope: Message, receive: Receive, send: Send) -> None:
        form = b""
        more = scope["method"] == "POST"
        while more and len(form) < _LONGEST_FORM:
            message = await receive()
            form += message.get("body", b"")
            more = message.get("more_body", False)
        given = parse_qs(form.decode("latin-1")).get("token", [""])[0]
        if not _same(given, self._token):
            await _answer(send, 401, "The token is not this server's.")
            return
        key = derived_key(self._token, "browser")
        cookie = f"{self._cookie_name(scope)}={key}; Path=/; HttpOnly; SameSite=Lax; Max-Age=2592000"
        await _answer(send, 303, "", [(b"location", b"/"), (b"set-cookie", cookie.encode())])


def _mlflow() -> Any:
    """MLflow's application, in which an experiment can't choose where artifacts are stored."""
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
    from mlflow.server.fastapi_app import app
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    create: Any = SqlAlchemyStore.create_experiment

    @functools.wraps(create)
    def create_experiment(
        self: Any, name: Any, artifact_location: str | None = None, *args: Any, **more: Any
    ) -> Any:
        if artifact_location and not artifact_location.startswith("mlflow-artifacts:"):
            message = "this server stores artifacts itself: leave artifact_location out"
            raise MlflowException(message, INVALID_PARAMETER_VALUE)
        return create(self, name, artifact_location, *args, **more)

    setattr(SqlAlchemyStore, create.__name__, create_experiment)
    return app


def _password(authorization: str) -> str:
    """The token in an ``Authorization`` header; empty if there is none."""
    scheme, _, value = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return value.strip()
    if scheme.lower() == "basic":
        try:
            user, _, password = base64.b64decode(value, validate=True).decode("utf-8").partition(":")
        except (binascii.Error, ValueError):
            return ""
        return password if user == USER else ""
    return ""


def _cookie(header: str, name: str) -> str:
    try:
        found = SimpleCookie(header).get(name)
    except CookieError:
        return ""
    return found.value if found else ""


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode("utf-8", "replace"), other.encode())


async def _ask(scope: Message, send: Send) -> None:
    """Answer a request without a login: with a form for people, with a challenge for programs."""
    if b"text/html" in dict(scope["headers"]).get(b"accept", b""):
        await _answer(send, 401, SIGN_IN, kind="html")
        return
    challenge = (b"www-authenticate", b'Basic realm="MLflow of this project"')
    await _answer(send, 401, "Sign in: the token is in .rondel/mlflow/login of the project.\n", [challenge])


async def _answer(
    send: Send,
    status: int,
    text: str,
    headers: Iterable[tuple[bytes, bytes]] = (),
    *,
    kind: Literal["plain", "html"] = "plain",
) -> None:
    all_headers = [
        (b"content-type", f"text/{kind}; charset=utf-8".encode()),
        (b"cache-control", b"no-store"),
        *headers,
    ]
    await send({"type": "http.response.start", "status": status, "headers": all_headers})
    await send({"type": "http.response.body", "body": text.encode()})


app = GuardedServer()
