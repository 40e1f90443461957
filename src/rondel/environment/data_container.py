"""The data container: brings what DVC keeps into a stage's container, and keeps what the stage made.

A stage's command runs in its own image, which need not have DVC. Beside it
stands a container that has, with the DVC cache, the remote and its
credentials. The workspace goes from one to the other as a Dagger directory.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rondel.environment import WORK
from rondel.errors import StageFailed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    import dagger

PROGRAM = "/rondel/dvc_driver.py"
PLAN = "/rondel/plan.json"
OUT = "/rondel/out"
_SHOWN = 5
"""The last lines of what the data container said, in an error."""

_SCRIPT = f"""exec 2>&1
dvc=$(command -v dvc) || {{ echo "this image has no dvc on its PATH"; exit 127; }}
python=$(sed -n '1s/^#! *\\([^ ]*\\).*/\\1/p' "$dvc")
case "$python" in *python*) ;; *) python=python3 ;; esac
exec "$python" {PROGRAM} {PLAN}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferResult:
    """What the DVC driver did. ``phase`` is the last one that it began; ``files`` has what was asked for."""

    phase: str
    code: int
    unmade: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    bytes: int | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)
    said: str = ""
    files: Path | None = None
    container: dagger.Container | None = None


def fetch_plan(
    needs: Sequence[str],
    *,
    models: Sequence[Mapping[str, str]] = (),
    size: str | None = None,
    ask: str | None = None,
    collect: Sequence[str] = (),
) -> dict[str, Any]:
    """A plan that puts ``needs`` in place.

    ``models`` are put in place of those of the lock file. ``size`` is a path whose size is
    wanted, ``ask`` a stage whose dependencies outside of the project are looked at, ``collect``
    are paths that are wanted here.
    """
    return {
        "do": "fetch",
        "needs": list(needs),
        "models": [dict(model) for model in models],
        "size": size,
        "ask": ask,
        "collect": list(collect),
        "out": OUT,
    }


def keep_plan(stage: str, outs: Sequence[str], *, push: bool, collect: Sequence[str]) -> dict[str, Any]:
    """A plan that keeps what ``stage`` made, and pushes it."""
    return {
        "do": "keep",
        "stage": stage,
        "outs": list(outs),
        "push": push,
        "collect": list(collect),
        "out": OUT,
    }


def program_text() -> str:
    """The source of the program that runs in the data container."""
    from importlib import resources

    return resources.files("rondel.container_scripts").joinpath("dvc_driver.py").read_text(encoding="utf-8")


def with_paths(
    container: dagger.Container, source: dagger.Directory, paths: Iterable[str]
) -> dagger.Container:
    """``container`` with those paths of another workspace."""
    include = [pattern for path in paths for pattern in (_escape(path), f"{_escape(path)}/**")]
    if not include:
        return container
    return container.with_directory(WORK, source, include=include)


def _escape(path: str) -> str:
    return re.sub(r"([\\*?\[\]!])", r"\\\1", path)


class DataContainer:
    """A container with DVC, its cache and the remote; each call starts from it anew."""

    def __init__(self, base: dagger.Container, configured: Any) -> None:
        """``configured`` puts DVC's configuration, cache and remote on a container."""
        self._base = base
        self._configured = configured

    def over(self, workspace: dagger.Directory, files: Mapping[str, str] | None = None) -> dagger.Container:
        """The container with that workspace, and files in it that are others."""
        container = self._base
        for path, text in (files or {}).items():
            workspace = workspace.with_new_file(path, text)
        container = container.with_mounted_directory(WORK, workspace).with_workdir(WORK)
        done: dagger.Container = self._configured(container)
        return done

    def planned(
        self, container: dagger.Container, plan: Mapping[str, Any], *, must: bool = False
    ) -> dagger.Container:
        """The container in which the driver carried out a plan, lazily. With ``must`` it has to succeed."""
        import dagger

        expect = dagger.ReturnType.SUCCESS if must else dagger.ReturnType.ANY
        return (
            container.with_new_file(PROGRAM, program_text())
            .with_new_file(PLAN, json.dumps(plan))
            .with_exec(["sh", "-c", _SCRIPT], expect=expect)
        )

    async def result(self, moved: dagger.Container, folder: Path) -> TransferResult:
        """What the driver did in that container; the collected files go to ``folder``.

        Raises StageFailed if it did not come to its end.
        """
        import dagger

        said = ""
        try:
            said = await moved.stdout()
            await moved.directory(OUT).export(str(folder))
            found = json.loads((folder / "result.json").read_text(encoding="utf-8"))
        except (dagger.ExecError, dagger.QueryError, OSError, ValueError) as error:
            raise StageFailed(
                "the container that moves data ended before its program did",
                why="\n".join(said.splitlines()[-_SHOWN:]) or str(error),
            ) from error
        return TransferResult(
            phase=str(found["phase"]),
            code=int(found["code"]),
            unmade=tuple(found["unmade"]),
            changed=tuple(found["changed"]),
            bytes=found["bytes"],
            seconds=dict(found["seconds"]),
            said=said,
            files=folder / "files",
            container=moved,
        )
