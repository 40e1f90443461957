"""The files of the local MLflow server, among them its state: a small JSON file, replaced atomically."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rondel.tracking.locks import ProcessId

if TYPE_CHECKING:
    from collections.abc import Mapping

SCHEMA = 1

PROJECT_VARIABLE = "RONDEL_TRACKING_PROJECT"
"""The variable with which a reproduction, in a worktree, uses the server of the project."""

FOLDER_VARIABLE = "RONDEL_TRACKING_FOLDER"
"""The variable of the server's processes that names their folder."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ServerFolder:
    """The paths of the local MLflow server under ``.rondel/mlflow``."""

    path: Path

    @classmethod
    def of(cls, root: Path) -> ServerFolder:
        """The folder of the project at ``root``."""
        return cls(path=root.absolute() / ".rondel" / "mlflow")

    @classmethod
    def used_by(cls, root: Path, environ: Mapping[str, str]) -> ServerFolder:
        """The folder of the server that runs of the project at ``root`` use."""
        return cls.of(Path(environ.get(PROJECT_VARIABLE) or root))

    @property
    def database(self) -> Path:
        """The SQLite database."""
        return self.path / "mlflow.db"

    @property
    def artifacts(self) -> Path:
        """The folder with the artifacts of all runs."""
        return self.path / "artifacts"

    @property
    def state(self) -> Path:
        """The state file."""
        return self.path / "server.json"

    @property
    def previous(self) -> Path:
        """The state that a killed supervisor left behind."""
        return self.path / "server.json.previous"

    @property
    def port(self) -> Path:
        """The last port. The server reuses it if possible, so that addresses in records stay valid."""
        return self.path / "port"

    @property
    def login(self) -> Path:
        """The file with the token that every request needs."""
        return self.path / "login"

    @property
    def open_page(self) -> Path:
        """The page with which ``rondel ui`` signs a browser in."""
        return self.path / "open.html"

    @property
    def temporary(self) -> Path:
        """The server's own folder for temporary files."""
        return self.path / "tmp"

    @property
    def log(self) -> Path:
        """The server's output."""
        return self.path / "server.log"

    @property
    def start_lock(self) -> Path:
        """The lock of a process that looks for the server, starts it or stops it."""
        return self.path / "start.lock"

    @property
    def lease_lock(self) -> Path:
        """The lock that all runs share while they use the server."""
        return self.path / "lease.lock"

    @property
    def alive_lock(self) -> Path:
        """The lock that the supervisor holds as long as it lives."""
        return self.path / "supervisor.lock"


@dataclass(frozen=True, kw_only=True, slots=True)
class ServerState:
    """The supervisor, its server and their status. ``message`` says why a start failed."""

    status: Literal["starting", "ready", "failed"]
    port: int
    supervisor: ProcessId
    server: ProcessId | None = None
    version: str = ""
    message: str = ""

    @property
    def uri(self) -> str:
        """The server's address on this machine."""
        return f"http://127.0.0.1:{self.port}"


def read_state(folder: ServerFolder, *, previous: bool = False) -> ServerState | None:
    """The last written state; None if there is none, or if it can't be read."""
    path = folder.previous if previous else folder.state
    try:
        data: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if data["schema"] != SCHEMA:
            return None
        server = data["server"]
        return ServerState(
            status=data["status"],
            port=int(data["port"]),
            supervisor=ProcessId(**data["supervisor"]),
            server=ProcessId(**server) if server else None,
            version=str(data["version"]),
            message=str(data["message"]),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_state(folder: ServerFolder, state: ServerState) -> None:
    """Replace the state file atomically."""
    write_text(folder.state, json.dumps({"schema": SCHEMA, **asdict(state)}, indent=1) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a small file atomically: readers see the old text or the new one, never a part."""
    import tempfile

    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
