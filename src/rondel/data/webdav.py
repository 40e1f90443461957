"""Serves a folder as a DVC remote over WebDAV, in a child process, on the loopback interface, with a token.

``python -m rondel.data.webdav`` reads one line of JSON (folder, token) from standard
input, prints one line of JSON (port), and serves until standard input is closed. That
happens whenever the run ends, even by ``kill -9``. The token is in no command line and
in no environment.

Uploads are atomic: an upload goes to a temporary file, is compared with the announced
length and, for a DVC object, with the MD5 in its name, and is then renamed.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import json
import os
import re
import secrets
import select
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from rondel.errors import DataError
from rondel.files import landlock
from rondel.files.proc import IDLE_SECONDS, Patience

if TYPE_CHECKING:
    from collections.abc import Iterator

USER = "rondel"
_STALE_SECONDS = 24 * 3600
_OBJECT = re.compile(r"/files/md5/([0-9a-f]{2})/([0-9a-f]{30})(\.dir)?$")
_UPLOAD = ".rondel-upload-"


@dataclass(frozen=True, slots=True)
class WebdavEndpoint:
    """A server's port on 127.0.0.1, and the token that is its password."""

    port: int
    token: str = field(repr=False)


class WebdavServer:
    """The child process that serves ``folder``. It starts immediately; :meth:`ready` waits for it."""

    def __init__(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(f"can't create the DVC remote {folder}", why=str(error)) from None
        self._endpoint = WebdavEndpoint(0, secrets.token_urlsafe(24))
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "rondel.data.webdav"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C must not end it before the run does
        )
        assert self._process.stdin is not None  # noqa: S101 - it is a pipe
        with contextlib.suppress(BrokenPipeError):
            options = {"folder": str(folder), "token": self._endpoint.token}
            self._process.stdin.write(json.dumps(options).encode() + b"\n")
            self._process.stdin.flush()

    def ready(self) -> WebdavEndpoint:
        """Wait for the server; blocks. Raises DataError if it does not start."""
        if self._endpoint.port:
            return self._endpoint
        assert self._process.stdout is not None  # noqa: S101
        line = b""
        patience = Patience(self._process.pid)
        while not patience.is_over():
            if select.select([self._process.stdout], [], [], 1.0)[0]:
                line = self._process.stdout.readline()
                break
        try:
            self._endpoint = WebdavEndpoint(int(json.loads(line)["port"]), self._endpoint.token)
        except (ValueError, KeyError, TypeError):
            self._process.kill()
            stderr = self._process.stderr
            output = stderr.read().decode(errors="replace")[-1000:] if stderr else ""
            raise DataError(
                "the server of the local DVC remote did not start",
                why=output.strip() or f"it did nothing for {IDLE_SECONDS:.0f} s",
                hint="install what it needs: pip install 'rondel[mlops]'",
            ) from None
        return self._endpoint

    def stop(self) -> None:
        """Stop the server. Safe to call twice."""
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@contextmanager
def serve_folder(folder: Path) -> Iterator[WebdavEndpoint]:
    """Serve ``folder`` during the block. Raises DataError if the server does not start."""
    server = WebdavServer(folder)
    try:
        yield server.ready()
    finally:
        server.stop()


class Upload:
    """A file that replaces ``path`` once it is complete."""

    def __init__(self, path: Path, length: int | None) -> None:
        self._path = path
        self._length = length
        self._temporary = path.with_name(f"{_UPLOAD}{secrets.token_hex(8)}")
        self._file = self._temporary.open("wb")
        self._digest = hashlib.md5(usedforsecurity=False)
        self._size = 0

    def write(self, data: bytes) -> int:
        """Append ``data``."""
        self._digest.update(data)
        self._size += len(data)
        return self._file.write(data)

    def close(self) -> None:
        """Rename the file to its path. If it is damaged or incomplete, remove it and raise ValueError."""
        if self._file.closed:
            return
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        named = _OBJECT.search(str(self._path))
        wrong = named is not None and self._digest.hexdigest() != named[1] + named[2]
        if wrong or (self._length is not None and self._size != self._length):
            self.discard()
            raise ValueError("the upload is incomplete or damaged")
        self._temporary.chmod(0o444 if named else 0o644)
        self._temporary.replace(self._path)

    def discard(self) -> None:
        """Remove the temporary file."""
        self._file.close()
        self._temporary.unlink(missing_ok=True)


def remove_stale_uploads(folder: Path, now: float) -> None:
    """Remove temporary files of interrupted uploads that are older than a day."""
    for path in folder.glob(f"files/md5/*/{_UPLOAD}*"):
        with contextlib.suppress(OSError):
            if now - path.stat().st_mtime > _STALE_SECONDS:
                path.unlink()


def make_app(folder: Path, token: str) -> Any:
    """The WSGI application. Imports wsgidav."""
    from wsgidav.fs_dav_provider import FileResource, FilesystemProvider, FolderResource
    from wsgidav.wsgidav_app import WsgiDAVApp

    class ObjectFile(FileResource):  # type: ignore[misc]
        """A file with atomic uploads; it may not exist yet."""

        def __init__(self, path: str, environ: dict[str, Any], file_path: str) -> None:
            self._upload: Upload | None = None
            if Path(file_path).exists():
                super().__init__(path, environ, file_path)
                return
            # An object about to be uploaded has a name and a folder, but no content.
            super(FileResource, self).__init__(path, environ)
            self._file_path = file_path
            self.file_stat = Path(file_path).parent.stat()
            self.name = Path(file_path).name

        def begin_write(self, *, content_type: str | None = None) -> Upload:
            del content_type
            length = self.environ.get("CONTENT_LENGTH")
            self._upload = Upload(Path(self._file_path), int(length) if length else None)
            return self._upload

        def end_write(self, *, with_errors: bool) -> None:
            if with_errors and self._upload is not None:
                self._upload.discard()

        def get_etag(self) -> str | None:
            stat = Path(self._file_path).stat()
            return f"{stat.st_ino:x}-{stat.st_mtime_ns:x}-{stat.st_size:x}"

    class ObjectFolder(FolderResource):  # type: ignore[misc]
        """A folder that does not create an empty file before an upload."""

        def create_empty_resource(self, name: str) -> ObjectFile:
            path = f"{self.path.rstrip('/')}/{name}"
            return ObjectFile(path, self.environ, self.provider._loc_to_file_path(path, self.environ))  # noqa: SLF001

        def get_member_names(self) -> list[str]:
            return [name for name in super().get_member_names() if not name.startswith(_UPLOAD)]

        def create_collection(self, name: str) -> None:
            # Concurrent pushes create the same folders.
            path = f"{self.path.rstrip('/')}/{name}"
            Path(self.provider._loc_to_file_path(path, self.environ)).mkdir(exist_ok=True)  # noqa: SLF001

    class ObjectProvider(FilesystemProvider):  # type: ignore[misc]
        """Provides these resources for the folder."""

        def get_resource_inst(self, path: str, environ: dict[str, Any]) -> Any:
            file_path = self._loc_to_file_path(path, environ)
            if not Path(file_path).exists():
                return None
            kind = ObjectFolder if Path(file_path).is_dir() else ObjectFile
            return kind(path, environ, file_path)

    app = WsgiDAVApp(
        {
            "provider_mapping": {"/": ObjectProvider(str(folder), readonly=False)},
            "http_authenticator": {
                "domain_controller": None,
                "accept_basic": True,
                "accept_digest": False,
                "default_to_digest": False,
            },
            "simple_dc": {"user_mapping": {"*": {USER: {"password": token}}}},
            "dir_browser": {"enable": False},
            "lock_storage": False,
            "property_manager": None,
            "verbose": 0,
            "logging": {"enable": False},
        }
    )

    def reject_parents(environ: dict[str, Any], start_response: Any) -> Any:
        # WsgiDAV rejects such paths, too, but announces a body that it does not send, so clients hang.
        if ".." in environ.get("PATH_INFO", "").split("/"):
            start_response("400 Bad Request", [("Content-Length", "0")])
            return [b""]
        return app(environ, start_response)

    return reject_parents


def main(source: IO[bytes] | None = None) -> None:
    """Serve until standard input is closed; see the module's docstring."""
    # In addition to the closed pipe: get a signal when the parent dies.
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)
    own_process = source is None
    source = source or sys.stdin.buffer
    line = source.readline()
    if not line:
        return
    options = json.loads(line)
    folder = Path(options["folder"])
    from cheroot import wsgi

    if own_process and landlock.version() >= landlock.PATHS_SINCE:
        landlock.restrict_to_paths(read=landlock.python_paths(), write=[str(folder), "/dev/null"])
    server = wsgi.Server(("127.0.0.1", 0), make_app(folder, options["token"]), numthreads=8, server_name=USER)
    server.prepare()
    print(json.dumps({"port": server.bind_addr[1]}), flush=True)
    threading.Thread(target=remove_stale_uploads, args=(folder, time.time()), daemon=True).start()
    threading.Thread(target=server.serve, daemon=True).start()
    while source.read(4096):
        pass
    os._exit(0)  # unfinished uploads leave temporary files for `remove_stale_uploads`


if __name__ == "__main__":
    main()
