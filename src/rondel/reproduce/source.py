"""Finds the capsule that a text means: a run here, a file, an address, a CI job, an MLflow run."""

from __future__ import annotations

import os
import re
import secrets
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from rondel.errors import RecordError
from rondel.record import RunFolder, load
from rondel.record.archive import LARGEST, unpack
from rondel.record.check import check

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rondel.record import Capsule

Kind = Literal["run", "file", "url", "gitlab", "jenkins", "mlflow"]

_GITLAB = re.compile(r"^(?P<project>.+?)/-/jobs/(?P<job>\d+)/?$")
_JENKINS = re.compile(r"^(?P<base>.*?)(?P<job>(?:/job/[^/]+)+)/(?P<build>\d+)(?:/.*)?$")
_MLFLOW = re.compile(r"[0-9a-f]{32}")
_MLFLOW_PAGE = re.compile(r"#/experiments/\d+/runs/(?P<run>[0-9a-f]{32})")
TIMEOUT = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A capsule, the folder with its files, and where it came from."""

    folder: RunFolder
    capsule: Capsule
    kind: Kind
    shown: str

    @property
    def own(self) -> bool:
        """Whether the run was made in this very project."""
        return self.kind == "run"


def kind_of(name: str) -> Kind:
    """What sort of thing ``name`` names, judged by its form alone."""
    if re.match(r"^https?://", name):
        parts = urlsplit(name)
        if _MLFLOW_PAGE.search(name):
            return "mlflow"
        if _GITLAB.match(parts.path):
            return "gitlab"
        return "jenkins" if _JENKINS.match(parts.path) else "url"
    if _MLFLOW.fullmatch(name):
        return "mlflow"
    path = Path(name)
    return "file" if path.exists() and not path.is_dir() and path.name != "capsule.json" else "run"


def find(root: Path, name: str | None, environ: Mapping[str, str] | None = None) -> Found:
    """The capsule that ``name`` means, fetched and unpacked if it is not here yet.

    Raises RecordError if there is none, or if it must not be used.
    """
    environ = os.environ if environ is None else environ
    if name is None:
        return _newest_failed(root)
    kind = kind_of(name)
    into = root / ".rondel" / "capsules"
    if kind == "run":
        return _run(root, name)
    if kind == "file":
        folder = unpack(Path(name), into)
    elif kind == "gitlab":
        from rondel.reproduce.gitlab import fetch_job

        folder = fetch_job(name, environ, into)
    elif kind == "jenkins":
        from rondel.reproduce.jenkins import fetch_build

        folder = fetch_build(name, environ, into)
    elif kind == "mlflow":
        from rondel.reproduce.mlflow import fetch_run

        page = _MLFLOW_PAGE.search(name)
        folder = fetch_run(root, page["run"] if page else name, environ, into, page=name if page else None)
    else:
        folder = _download(name, into)
    return Found(
        folder=folder, capsule=load(root, str(folder.path))[1], kind=kind, shown=_without_login(name)
    )


def _run(root: Path, name: str) -> Found:
    folder, capsule = load(root, name)
    own = folder.path.resolve().parent == (root / ".rondel" / "runs").resolve()
    check(capsule, str(folder.capsule))
    return Found(folder=folder, capsule=capsule, kind="run" if own else "file", shown=name)


def _newest_failed(root: Path) -> Found:
    from rondel.record import Capsule, list_runs

    for folder, found in list_runs(root):
        if isinstance(found, Capsule) and found.reproduces is None and found.state != "succeeded":
            return Found(folder=folder, capsule=found, kind="run", shown=found.id)
    raise RecordError("no run here has failed", hint="`rondel runs` lists the runs; name the one you mean")


def _download(url: str, into: Path) -> RunFolder:
    """A capsule from an address, as long as it says nothing but files: no redirect leaves http(s)."""
    import httpx

    shown = _without_login(url)
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
                        hint="an address that needs a login: download the file, and name that",
                        place=shown,
                    )
                size = 0
                for chunk in response.iter_bytes():
                    size += len(chunk)
                    if size > LARGEST:
                        raise RecordError(f"it is larger than {LARGEST >> 30} GiB", place=shown)
                    out.write(chunk)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            why = str(error) or type(error).__name__
            raise RecordError(
                "the capsule cannot be fetched",
                why=why,
                hint="if another machine reaches that address, download the file there, and name that",
                place=shown,
            ) from None
        return unpack(file, into)


@contextmanager
def temporary(into: Path) -> Iterator[Path]:
    """The name of a file below ``into`` that is gone afterwards."""
    into.mkdir(parents=True, exist_ok=True)
    file = into / f".{os.getpid()}.{secrets.token_hex(4)}.download"
    try:
        yield file
    finally:
        file.unlink(missing_ok=True)


def _without_login(url: str) -> str:
    return re.sub(r"://[^/@]*@", "://", url)
