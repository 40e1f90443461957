"""An HTTP server for tests that answers from a table and records the requests."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass
class Recording:
    """``answers`` maps paths to status and body; ``requests`` holds path and headers of each request."""

    answers: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    url: str = ""


@contextmanager
def recording_server() -> Iterator[Recording]:
    """Run a server on this machine's loopback within a block."""
    recording = Recording()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            recording.requests.append((path, {key.lower(): value for key, value in self.headers.items()}))
            status, body = recording.answers.get(path, (404, b'{"message": "404 not found"}'))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Server-Is", "a recording server of a test")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    recording.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield recording
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
