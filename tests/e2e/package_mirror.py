"""A mirror of this machine's package index behind a unix socket, for jobs that have no other network."""

from __future__ import annotations

import base64
import os
import re
import subprocess
import sys
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingMixIn, UnixStreamServer
from typing import TYPE_CHECKING
from urllib.parse import urljoin

import httpx

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LINK = re.compile(r'href="([^"#]+)')


def index() -> str:
    """The index that pip would ask here."""
    for name in ("PIP_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX_URL"):
        if os.environ.get(name):
            return os.environ[name].rstrip("/")
    command = [sys.executable, "-m", "pip", "config", "get", "global.index-url"]
    found = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    return (found or "https://pypi.org/simple").rstrip("/")


class Server(ThreadingMixIn, UnixStreamServer):
    """Threads, because pip asks for several things at once."""

    daemon_threads = True
    request_queue_size = 64


@contextmanager
def mirror(address: Path) -> Iterator[list[str]]:
    """Serve ``/simple/`` at the socket as long as the block lasts; the paths that are asked for."""
    upstream, asked = index(), list[str]()
    client = httpx.Client(follow_redirects=True, timeout=120)

    def fetch(path: str) -> tuple[int, bytes, str]:
        if path.startswith("/files/"):
            code = path.split("/")[2]
            url = base64.urlsafe_b64decode(code + "=" * (-len(code) % 4)).decode()
            url += ".metadata" if path.endswith(".metadata") else ""
            answer = client.get(url)
            return answer.status_code, answer.content, "application/octet-stream"
        url = f"{upstream}/{path.removeprefix('/simple/')}"
        answer = client.get(url, headers={"Accept": "text/html"})

        def moved(match: re.Match[str]) -> str:
            target = urljoin(str(answer.url), match[1].replace("&amp;", "&"))
            code = base64.urlsafe_b64encode(target.encode()).decode().rstrip("=")
            return f'href="/files/{code}/{target.rpartition("/")[2]}'

        return answer.status_code, LINK.sub(moved, answer.text).encode(), "text/html"

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            asked.append(self.path)
            status, body, kind = fetch(self.path)
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        # What a package needs, uv looks up without its files where it can.
        do_HEAD = do_GET  # noqa: N815

        def address_string(self) -> str:
            return "mirror"

        def log_message(self, *_: object) -> None:
            pass

    with client, Server(str(address), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield asked
        finally:
            server.shutdown()
            thread.join()
