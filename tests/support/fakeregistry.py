"""A registry in a thread: what a test puts into it, with the faults that a test asks for."""

from __future__ import annotations

import base64
import json
import re
import threading
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from rondel.engine.images.model import OCI_MANIFEST, sha256


@dataclass
class FakeRegistry:
    """``auth`` is "", "basic" or "bearer"; ``faults`` are (status, headers) answered first, in turn."""

    auth: str = ""
    login: tuple[str, str] = ("me", "secret")
    blobs: dict[str, bytes] = field(default_factory=dict)
    manifests: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    faults: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    cut: list[int] = field(default_factory=list)  # lengths after which blob answers break off
    seen: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    uploads: dict[str, bytes] = field(default_factory=dict)
    ignore_range: bool = False

    def __post_init__(self) -> None:
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args: Any) -> None:
                pass

            def answer(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                if self.headers.get("Transfer-Encoding") == "chunked":
                    body = b""
                    while size := int(self.rfile.readline(), 16):
                        body += self.rfile.read(size)
                        self.rfile.readline()
                    self.rfile.readline()
                else:
                    body = self.rfile.read(length)
                status, headers, data = fake.handle(self.command, self.path, dict(self.headers), body)
                cut = headers.pop("X-Cut", None)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                if "Content-Length" not in headers:
                    self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(data[: int(cut)] if cut else data)
                if cut:
                    self.close_connection = True

            do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = answer  # noqa: N815

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server.server_address[1]}"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def put(self, data: bytes) -> str:
        self.blobs[sha256(data)] = data
        return sha256(data)

    def put_manifest(self, name: str, data: bytes, media_type: str = OCI_MANIFEST) -> str:
        for key in (name, sha256(data)):
            self.manifests[key] = (media_type, data)
        return sha256(data)

    def count(self, method: str, pattern: str) -> int:
        return sum(1 for m, path, _ in self.seen if m == method and re.search(pattern, path))

    def methods(self) -> Counter[str]:
        return Counter(method for method, _, _ in self.seen)

    # --- answers

    def handle(
        self, method: str, path: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        self.seen.append((method, path, headers))
        url = urlsplit(path)
        if url.path == "/token":
            return self._token(url.query, headers, body)
        if self.faults:
            status, extra = self.faults.pop(0)
            return status, extra, b'{"errors":[{"code":"FAULT","message":"as asked"}]}'
        if not self._admitted(headers):
            challenge = 'Basic realm="r"'
            if self.auth == "bearer":
                challenge = (
                    f'Bearer realm="http://{self.host}/token",service="fake",scope="repository:r:pull"'
                )
            return (
                401,
                {"WWW-Authenticate": challenge},
                b'{"errors":[{"code":"UNAUTHORIZED","message":"log in"}]}',
            )
        parts = re.fullmatch(r"/v2/(.+?)/(manifests|blobs)/(.*)", url.path)
        if parts is None:
            return 404, {}, b""
        kind, name = parts[2], parts[3]
        if kind == "manifests":
            return self._manifest(method, name, headers, body)
        if name.startswith("uploads/"):
            return self._upload(method, parts[1], name.removeprefix("uploads/"), parse_qs(url.query), body)
        return self._blob(name, headers)

    def _admitted(self, headers: dict[str, str]) -> bool:
        given = headers.get("Authorization", "")
        basic = "Basic " + base64.b64encode(":".join(self.login).encode()).decode()
        return {"": True, "basic": given == basic, "bearer": given == "Bearer good"}[self.auth]

    def _token(self, query: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        basic = "Basic " + base64.b64encode(":".join(self.login).encode()).decode()
        form = parse_qs(body.decode())
        if headers.get("Authorization") == basic or form.get("refresh_token") == [self.login[1]]:
            return 200, {}, json.dumps({"access_token": "good", "expires_in": 300}).encode()
        return 401, {}, b"{}"

    def _manifest(
        self, method: str, name: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        if method == "PUT":
            self.put_manifest(name, body, headers["Content-Type"])
            return 201, {"Docker-Content-Digest": sha256(body)}, b""
        if name not in self.manifests:
            return 404, {}, b'{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}'
        media_type, data = self.manifests[name]
        return (
            200,
            {
                "Content-Type": media_type,
                "Docker-Content-Digest": sha256(data),
                "Content-Length": str(len(data)),
            },
            data,
        )

    def _blob(self, digest: str, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        if digest not in self.blobs:
            return 404, {}, b""
        data, status, extra = self.blobs[digest], 200, {}
        wanted = re.fullmatch(r"bytes=(\d+)-", headers.get("Range", ""))
        if wanted and not self.ignore_range:
            start = int(wanted[1])
            if start >= len(data):
                return 416, {}, b""
            extra = {"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"}
            data, status = data[start:], 206
        if self.cut:
            extra["X-Cut"] = str(self.cut.pop(0))
            extra["Content-Length"] = str(len(data))
        return status, extra, data

    def _upload(
        self, method: str, repository: str, name: str, query: dict[str, list[str]], body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        if method == "POST":
            if query.get("mount", [""])[0] in self.blobs:
                return 201, {}, b""
            self.uploads["u1"] = b""
            return 202, {"Location": f"/v2/{repository}/blobs/uploads/u1?state=s"}, b""
        self.uploads[name] += body
        if method == "PATCH":
            return 202, {"Location": f"/v2/{repository}/blobs/uploads/{name}?state=t"}, b""
        data = self.uploads.pop(name)
        if query["digest"] != [sha256(data)] or "state" not in query:
            return 400, {}, b""
        self.put(data)
        return 201, {}, b""
