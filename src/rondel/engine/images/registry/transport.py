"""Requests to a registry: authentication, retries, and readable errors."""

from __future__ import annotations

import contextlib
import json
import ssl
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread

from rondel.engine.images.registry.challenge import Challenge, parse_challenges
from rondel.engine.images.registry.errors import (
    ImageNotFound,
    RegistryDenied,
    RegistryError,
    RegistryUnreachable,
)
from rondel.engine.images.settings import ImageSettings, is_loopback

if TYPE_CHECKING:
    import httpx

    from rondel.engine.images.registry.credentials import Credentials, Keychain

_CONNECT_TIMEOUT = 4.0
_IDLE_TIMEOUT = 60.0
_TRIES = 4
_RETRIED = frozenset((429, 500, 502, 503, 504))
_LONGEST_WAIT = 20.0
_HUB_API = "registry-1.docker.io"
_Body = Callable[[], "bytes | AsyncIterator[bytes]"]


@dataclass(frozen=True, slots=True)
class RegistryEndpoint:
    """The address of a registry or a mirror of it. ``base`` is the URL before ``/v2``."""

    base: str
    host: str
    registry: str
    prefix: str = ""
    is_mirror: bool = False

    def url(self, repository: str, rest: str) -> str:
        """The URL of an object in a repository."""
        return f"{self.base}/v2/{self.prefix}{repository}/{rest}"


def endpoints(registry: str, settings: ImageSettings) -> tuple[RegistryEndpoint, ...]:
    """The mirrors of a registry in their order, then the registry itself."""
    found = []
    for url in settings.registry(registry).mirrors:
        scheme, _, rest = url.rpartition("://")
        host, _, path = rest.partition("/")
        prefix = f"{path.strip('/')}/" if path.strip("/") else ""
        scheme = scheme or ("http" if settings.plain_http(host) else "https")
        found.append(RegistryEndpoint(f"{scheme}://{host}", host, host, prefix, is_mirror=True))
    host = _HUB_API if registry == "docker.io" else registry
    scheme = "http" if settings.plain_http(registry) else "https"
    return (*found, RegistryEndpoint(f"{scheme}://{host}", host, registry))


@dataclass
class Transport:
    """One session's connections to registries, and its access tokens.

    ``pause`` waits between tries; tests replace it.
    """

    settings: ImageSettings
    keychain: Keychain
    pause: Callable[[float], Any] = anyio.sleep
    _client: httpx.AsyncClient | None = None
    _authorization: dict[tuple[str, str], tuple[str, float]] = field(default_factory=dict)

    async def aclose(self) -> None:
        """Close all connections."""
        if self._client is not None:
            await self._client.aclose()

    @contextlib.asynccontextmanager
    async def stream(
        self,
        method: str,
        endpoint: RegistryEndpoint,
        url: str,
        *,
        scope: tuple[str, str],
        headers: Mapping[str, str] | None = None,
        body: _Body | None = None,
        fine: frozenset[int] = frozenset((200,)),
    ) -> AsyncIterator[httpx.Response]:
        """Send a request and yield its open response, whose status is one of ``fine``.

        ``scope`` is the repository and the actions on it (``pull``, ``pull,push``). ``body`` creates
        the content again for each try. Raises the errors of :mod:`.errors`.
        """
        response = await self._send(method, endpoint, url, scope, dict(headers or {}), body, fine)
        try:
            yield response
        finally:
            await response.aclose()

    async def request(
        self, method: str, endpoint: RegistryEndpoint, url: str, **options: Any
    ) -> httpx.Response:
        """Like :meth:`stream`, but reads the whole response."""
        async with self.stream(method, endpoint, url, **options) as response:
            with translated(endpoint):
                await response.aread()
            return response

    async def _send(  # noqa: PLR0917 - the parts of one request
        self, method: str, endpoint: RegistryEndpoint, url: str, scope: tuple[str, str],
        headers: dict[str, str], body: _Body | None, fine: frozenset[int],
    ) -> httpx.Response:  # fmt: skip
        client = self._open()
        challenged = False
        for attempt in range(_TRIES * 2):
            headers |= self._known_authorization(endpoint, scope)
            request = client.build_request(method, url, headers=headers, content=body() if body else None)
            try:
                with translated(endpoint):
                    response = await client.send(request, stream=True)
            except _Interrupted as error:
                if attempt + 1 >= _TRIES:
                    raise RegistryUnreachable(f"{endpoint.host}: connection lost", why=str(error)) from None
                await self.pause(_wait(attempt, None))
                continue
            if response.status_code in fine:
                return response
            try:
                with translated(endpoint):
                    await response.aread()
            except _Interrupted:
                pass
            await response.aclose()
            if response.status_code == 401 and not challenged:
                challenged = True
                self._authorization.pop((endpoint.base, ":".join(scope)), None)
                await self._authenticate(endpoint, scope, response)
                continue
            if response.status_code not in _RETRIED or attempt + 1 >= _TRIES:
                raise _refusal(response, endpoint, scope[0])
            await self.pause(_wait(attempt, response.headers.get("retry-after")))
        raise RegistryError(f"{endpoint.host}: no usable response after {_TRIES} tries")

    def _known_authorization(self, endpoint: RegistryEndpoint, scope: tuple[str, str]) -> dict[str, str]:
        value, until = self._authorization.get((endpoint.base, ":".join(scope)), ("", 0.0))
        return {"Authorization": value} if value and time.monotonic() < until else {}

    async def _authenticate(
        self, endpoint: RegistryEndpoint, scope: tuple[str, str], response: httpx.Response
    ) -> None:
        """Obtain a token for the challenge; RegistryDenied if there are no credentials for it."""
        challenges = parse_challenges(", ".join(response.headers.get_list("www-authenticate")))
        credentials = await anyio.to_thread.run_sync(self.keychain.lookup, endpoint.registry, scope[0])
        for challenge in challenges:
            if challenge.scheme == "bearer" and "realm" in challenge.parameters:
                value, lifetime = await self._token(endpoint, challenge, scope, credentials)
                self._authorization[endpoint.base, ":".join(scope)] = (value, time.monotonic() + lifetime)
                return
            if challenge.scheme == "basic" and credentials is not None:
                self._authorization[endpoint.base, ":".join(scope)] = (credentials.basic(), float("inf"))
                return
        raise _refusal(response, endpoint, scope[0])

    async def _token(
        self,
        endpoint: RegistryEndpoint,
        challenge: Challenge,
        scope: tuple[str, str],
        credentials: Credentials | None,
    ) -> tuple[str, float]:
        client = self._open()
        wanted = challenge.parameters.get("scope") or f"repository:{endpoint.prefix}{scope[0]}:{scope[1]}"
        fields = {"scope": wanted}
        if service := challenge.parameters.get("service"):
            fields["service"] = service
        realm = challenge.parameters["realm"]
        with translated(endpoint):
            if credentials is not None and credentials.identity_token:
                form = fields | {"grant_type": "refresh_token", "client_id": "rondel",
                                 "refresh_token": credentials.identity_token}  # fmt: skip
                response = await client.post(realm, data=form)
            else:
                headers = {"Authorization": credentials.basic()} if credentials is not None else {}
                response = await client.get(realm, params=fields, headers=headers)
        if response.status_code != 200:
            raise _refusal(response, endpoint, scope[0])
        try:
            answer = response.json()
            token = answer.get("token") or answer.get("access_token")
            lifetime = float(answer.get("expires_in") or 60)
        except (ValueError, TypeError, AttributeError):
            token, lifetime = None, 0.0
        if not isinstance(token, str) or not token:
            raise RegistryError(f"{endpoint.host}: the token server {realm} answered no token")
        return f"Bearer {token}", max(lifetime - 10, 5)

    def _open(self) -> httpx.AsyncClient:
        if self._client is None:
            import httpx

            direct = ("all://localhost", "all://127.0.0.1", "all://[::1]")
            self._client = httpx.AsyncClient(
                verify=_tls(self.settings),
                timeout=httpx.Timeout(_IDLE_TIMEOUT, connect=_CONNECT_TIMEOUT, pool=None),
                limits=httpx.Limits(max_connections=16, max_keepalive_connections=8),
                follow_redirects=True,
                headers={"User-Agent": "rondel"},
                mounts=dict.fromkeys(direct),
                event_hooks={"request": [self._only_where_allowed]},
            )
        return self._client

    async def _only_where_allowed(self, request: httpx.Request) -> None:
        """Allow plain HTTP only where it is configured, also after a redirect."""
        if request.url.scheme == "http":
            host = request.url.netloc.decode()
            mirrors = {e.host for r in self.settings.registries for e in endpoints(r, self.settings) if e.base
                       .startswith("http://")}  # fmt: skip
            if not (self.settings.plain_http(host) or host in mirrors or is_loopback(host)):
                raise RegistryError(
                    f"{host} would be contacted by plain HTTP, which is not allowed",
                    hint=f'allow it in rondel/engine.toml: [registries."{host}"] plain-http = true',
                )


class _Interrupted(Exception):
    """An established connection broke: worth another try."""


@contextlib.contextmanager
def translated(endpoint: RegistryEndpoint) -> Any:
    """Raise this package's errors for httpx's; a broken connection is :class:`_Interrupted`."""
    import httpx

    try:
        yield
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError, httpx.UnsupportedProtocol) as error:
        why = str(error) or type(error).__name__
        raise RegistryUnreachable(f"{endpoint.host} does not answer", why=why) from error
    except httpx.TooManyRedirects as error:
        raise RegistryError(f"{endpoint.host}: too many redirects") from error
    except httpx.TransportError as error:
        raise _Interrupted(str(error) or type(error).__name__) from error


Interrupted = _Interrupted


def _tls(settings: ImageSettings) -> ssl.SSLContext:
    """The system's certificate authorities (or SSL_CERT_FILE's), and those configured for registries."""
    context = ssl.create_default_context()
    if not context.cert_store_stats()["x509_ca"] and not ssl.get_default_verify_paths().capath:
        import certifi

        context.load_verify_locations(certifi.where())
    for name, registry in settings.registries.items():
        files = [registry.ca, *Path("/etc/docker/certs.d", name).glob("*.crt")]
        for file in files:
            if file is not None:
                try:
                    context.load_verify_locations(file)
                except (OSError, ssl.SSLError) as error:
                    raise RegistryError(f"the CA of {name} cannot be read: {file}", why=str(error)) from None
    return context


def _wait(attempt: int, retry_after: str | None) -> float:
    if retry_after is not None and retry_after.isdecimal():
        return min(float(retry_after), _LONGEST_WAIT)
    return min(0.5 * 2.0**attempt, _LONGEST_WAIT)


def _refusal(response: httpx.Response, endpoint: RegistryEndpoint, repository: str) -> RegistryError:
    """The error for a status, with the registry's own message if there is one."""
    status, words = response.status_code, _words(response)
    name = f"{endpoint.registry}/{repository}"
    if status in (401, 403):
        kind = "unauthorized" if status == 401 else "access denied"
        return RegistryDenied(
            f"{name}: {kind}", why=words,
            hint=f"log in (docker login {endpoint.registry}), or pass withRegistryAuth",
        )  # fmt: skip
    if status == 404:
        return ImageNotFound(f"{name}: not found", why=words)
    if status == 429:
        return RegistryError(
            f"{endpoint.host}: too many requests", why=words,
            hint="log in for a higher limit, or configure a mirror in rondel/engine.toml",
        )  # fmt: skip
    return RegistryError(f"{endpoint.host}: {response.request.method} answered {status}", why=words)


def _words(response: httpx.Response) -> str | None:
    try:
        errors = json.loads(response.content)["errors"]
        return (
            "; ".join(f"{e.get('code', '')}: {e.get('message', '')}".strip(": ") for e in errors)[:500]
            or None
        )
    except Exception:  # noqa: BLE001 - the response of a broken server only adds to the message
        return None
