"""Downloads files over HTTP into the store; unchanged files are not sent again."""

from __future__ import annotations

import email.utils
import os
import re
import socket
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import anyio.to_thread

from rondel.engine.evaluate.services import SessionServices
from rondel.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import httpx

    from rondel.engine.evaluate.session import Session

_DIGEST = re.compile(r"[a-z0-9]+(?:[.+_-][a-z0-9]+)*:[a-zA-Z0-9=_-]+", re.ASCII)
_DIGEST_LENGTHS = {"sha256": 64, "sha384": 96, "sha512": 128}
_TIMEOUT_SECONDS = 60.0
_MOST_REDIRECTS = 10


class DownloadError(EngineError):
    """A URL cannot be fetched, or its content is not the expected one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """A download: its blob's digest, and the modification time that the server sent (nanoseconds)."""

    digest: str
    modified_ns: int | None = None


def file_name(url: str) -> str:
    """The default file name of a download: the last part of the URL's path."""
    name = unquote(urlsplit(url).path).rstrip("/").rpartition("/")[2]
    return name if name not in {"", ".", ".."} else "index"


def check_checksum(checksum: str | None) -> str | None:
    """The expected digest, or None; raises DownloadError for an invalid one.

    Downloads are compared by SHA-256; a digest of another algorithm never matches.
    """
    if not checksum:
        return None
    algorithm, _, encoded = checksum.partition(":")
    reason = ""
    if _DIGEST.fullmatch(checksum) is None:
        reason = "invalid checksum digest format"
    elif algorithm not in _DIGEST_LENGTHS:
        reason = "unsupported digest algorithm"
    elif len(encoded) != _DIGEST_LENGTHS[algorithm]:
        reason = "invalid checksum digest length"
    elif re.fullmatch("[0-9a-f]+", encoded) is None:
        reason = "invalid checksum digest format"
    if reason:
        raise DownloadError(f'invalid checksum "{checksum}": {reason}')
    return checksum


async def download(
    session: Session,
    url: str,
    *,
    checksum: str | None = None,
    authorization: str = "",
    service: object | None = None,
) -> Fetched:
    """Fetch a URL into the store. Raises DownloadError.

    Without credentials it makes a conditional request, so that the server sends only changes.
    Redirects are followed; httpx sends the Authorization header to the first host only.
    """
    import httpx

    expected = check_checksum(checksum)
    scheme = urlsplit(url).scheme
    if scheme not in {"http", "https"}:
        raise DownloadError(f'Get "{_shown(url)}": unsupported protocol scheme "{scheme}"')
    remembered = not authorization and service is None
    known = session.store.index.get("http", url) if remembered else None
    if known is not None and not session.store.blobs.has(known["digest"]):
        known = None
    headers = {"Accept-Encoding": "identity", "User-Agent": "rondel"}
    if authorization:
        headers["Authorization"] = authorization
    headers |= _conditions(known)
    try:
        async with _opened(session, url, headers, service) as response:
            if response.status_code == httpx.codes.NOT_MODIFIED and known is not None:
                digest = known["digest"]
                _check(expected, digest)
                return Fetched(digest=digest, modified_ns=_modified(known.get("modified", "")))
            if response.status_code != httpx.codes.OK:
                text = f"{response.status_code} {response.reason_phrase}".strip()
                raise DownloadError(f"invalid response status {text}")
            digest = await _keep(session, response, expected)
            modified = response.headers.get("last-modified", "")
            if remembered:
                etag = response.headers.get("etag", "")
                session.store.index.put("http", url, {"digest": digest, "etag": etag, "modified": modified})
            return Fetched(digest=digest, modified_ns=_modified(modified))
    except httpx.InvalidURL as error:
        raise DownloadError(f"invalid URL: {error}") from error
    except httpx.TooManyRedirects as error:
        raise DownloadError(f'Get "{_shown(url)}": stopped after {_MOST_REDIRECTS} redirects') from error
    except httpx.HTTPError as error:
        raise DownloadError(f'Get "{_shown(url)}": {_reason(error, url)}') from error


def _conditions(known: Any) -> dict[str, str]:
    if known and known.get("etag"):
        return {"If-None-Match": known["etag"]}
    return {"If-Modified-Since": known["modified"]} if known and known.get("modified") else {}


def _shown(url: str) -> str:
    """The URL without login and query, which may hold secrets."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _reason(error: httpx.HTTPError, url: str) -> str:
    """Why a request failed: the system's own message, if there is one, in Go's form."""
    parts = urlsplit(url)
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, socket.gaierror):
            return f"dial tcp: lookup {parts.hostname}: no such host"
        if isinstance(cause, ConnectionRefusedError):
            port = parts.port or {"https": 443}.get(parts.scheme, 80)
            return f"dial tcp {parts.hostname}:{port}: connect: connection refused"
        if isinstance(cause, OSError) and cause.strerror and cause.errno:
            return os.strerror(cause.errno).lower() if cause.errno > 0 else cause.strerror.lower()
        cause = cause.__cause__ or cause.__context__
    return str(error) or type(error).__name__


def _check(expected: str | None, digest: str) -> None:
    if expected is not None and digest != expected:
        raise DownloadError(f"http checksum mismatch: expected {expected}, got {digest}")


def _modified(text: str) -> int | None:
    try:
        return int(email.utils.parsedate_to_datetime(text).timestamp()) * 10**9 if text else None
    except (ValueError, TypeError):
        return None


@asynccontextmanager
async def _opened(
    session: Session, url: str, headers: dict[str, str], service: object | None
) -> AsyncIterator[httpx.Response]:
    import httpx

    async with AsyncExitStack() as stack:
        extensions: dict[str, Any] = {}
        target = httpx.URL(url)
        if service is not None:
            attachment = await stack.enter_async_context(session.part(SessionServices).bound([("", service)]))
            address = next((address for address, name in attachment.hosts if name == target.host), None)
            if address is not None:
                headers = {**headers, "Host": target.netloc.decode()}
                extensions["sni_hostname"] = target.host
                target = target.copy_with(host=address)
        client = await stack.enter_async_context(
            httpx.AsyncClient(
                timeout=_TIMEOUT_SECONDS,
                follow_redirects=True,
                trust_env=service is None,
                max_redirects=_MOST_REDIRECTS - 1,
            )
        )
        yield await stack.enter_async_context(
            client.stream("GET", target, headers=headers, extensions=extensions)
        )


async def _keep(session: Session, response: httpx.Response, expected: str | None) -> str:
    """Stream a body into a blob; a partial or unexpected body is discarded."""
    blobs = session.store.blobs
    writer, path = blobs.create()
    try:
        async for piece in response.aiter_raw():
            await anyio.to_thread.run_sync(writer.write, piece)
        _check(expected, writer.current_digest())
        return await anyio.to_thread.run_sync(blobs.keep, writer, path)
    except BaseException:
        blobs.drop(writer, path)
        raise
