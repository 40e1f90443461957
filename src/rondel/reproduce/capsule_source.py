"""Finds the capsule for a name: a run here, a file, an address, the page of a CI job, or an MLflow run."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from rondel.ci.providers import REGISTRY, providers
from rondel.errors import RecordError
from rondel.record import RunFolder, load
from rondel.record.archive import LARGEST, unpack
from rondel.record.download import reason, temporary
from rondel.record.validation import validate
from rondel.reproduce.mlflow import fetch_run
from rondel.secrets.logins import without_login

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rondel.record import Capsule

_MLFLOW = re.compile(r"[0-9a-f]{32}")
_MLFLOW_PAGE = re.compile(r"#/experiments/\d+/runs/(?P<run>[0-9a-f]{32})")
TIMEOUT = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundCapsule:
    """A capsule, the folder with its files, and where it came from.

    ``kind`` is ``run``, ``file``, ``url``, ``mlflow``, or the name of a CI system.
    """

    folder: RunFolder
    capsule: Capsule
    kind: str
    shown: str

    @property
    def is_local(self) -> bool:
        """Whether this project made the run."""
        return self.kind == "run"


def source_kind(name: str) -> str:
    """The kind of source that ``name`` refers to, from its form alone."""
    if re.match(r"^https?://", name):
        if _MLFLOW_PAGE.search(name):
            return "mlflow"
        path = urlsplit(name).path
        pages = {provider.name: provider.capsules.page for provider in providers() if provider.capsules}
        return next((kind for kind, page in pages.items() if re.match(page, path)), "url")
    if _MLFLOW.fullmatch(name):
        return "mlflow"
    # os.path returns False for a name that is too long; pathlib raises before Python 3.14.
    exists = os.path.exists(name)  # noqa: PTH110
    file = Path(name)
    return "file" if exists and not file.is_dir() and file.name != "capsule.json" else "run"


def find_capsule(root: Path, name: str | None, environ: Mapping[str, str] | None = None) -> FoundCapsule:
    """The capsule for ``name``, fetched and unpacked if it is not here yet.

    Raises RecordError if there is none, or if it is not safe to use.
    """
    environ = os.environ if environ is None else environ
    if name is None:
        return _newest_failed(root)
    kind = source_kind(name)
    into = root / ".rondel" / "capsules"
    if kind == "run":
        return _run(root, name)
    if kind == "file":
        folder = unpack(Path(name), into)
    elif kind == "mlflow":
        page = _MLFLOW_PAGE.search(name)
        folder = fetch_run(root, page["run"] if page else name, environ, into, page=name if page else None)
    elif kind in REGISTRY and (source := REGISTRY[kind].load().capsules) is not None:
        folder = source.fetch(name, environ, into)
    else:
        folder = _download(name, into)
    return FoundCapsule(
        folder=folder, capsule=load(root, str(folder.path))[1], kind=kind, shown=without_login(name)
    )


def _run(root: Path, name: str) -> FoundCapsule:
    folder, capsule = load(root, name)
    local = folder.path.resolve().parent == (root / ".rondel" / "runs").resolve()
    validate(capsule, str(folder.capsule))
    return FoundCapsule(folder=folder, capsule=capsule, kind="run" if local else "file", shown=name)


def _newest_failed(root: Path) -> FoundCapsule:
    from rondel.record import Capsule, list_runs

    for folder, found in list_runs(root):
        if not isinstance(found, Capsule) or found.reproduces is not None:
            continue
        running = found.state == "running" and not folder.abandoned
        if not running and found.state not in {"succeeded", "waiting"}:
            return FoundCapsule(folder=folder, capsule=found, kind="run", shown=found.id)
    raise RecordError("no run here has failed", hint="pass the ID of a run; `rondel runs` lists them")


def _download(url: str, into: Path) -> RunFolder:
    """A capsule from an http or https address."""
    import httpx

    shown = without_login(url)
    with temporary(into) as file:
        try:
            with (
                httpx.Client(follow_redirects=True, timeout=TIMEOUT, max_redirects=5) as client,
                client.stream("GET", url) as response,
                file.open("wb") as out,
            ):
                if response.status_code != 200:
                    raise RecordError(
                        f"the server answers {response.status_code}",
                        hint="if the address needs a login, download the file and pass its path",
                        place=shown,
                    )
                size = 0
                for chunk in response.iter_bytes():
                    size += len(chunk)
                    if size > LARGEST:
                        raise RecordError(f"the capsule is larger than {LARGEST >> 30} GiB", place=shown)
                    out.write(chunk)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise RecordError(
                "the capsule cannot be fetched",
                why=reason(error),
                hint="if another machine reaches the address, download the file there and pass its path",
                place=shown,
            ) from None
        return unpack(file, into)
