"""The data container: runs DVC to fetch a stage's data and to save its outputs.

A stage's command runs in the team's image, which may lack DVC. The data
container has DVC, its cache, the remote and the credentials. The workspace goes
from one to the other as a Dagger directory.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rondel.container_scripts import script
from rondel.data.workspace import escape
from rondel.environment import WORK
from rondel.errors import StageFailed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    import dagger

PROGRAM = "/rondel/dvc_driver.py"
PLAN = "/rondel/plan.json"
OUT = "/rondel/out"
_LINES_SHOWN = 5
"""How many of the last lines of output an error shows."""

_SCRIPT = f"""exec 2>&1
dvc=$(command -v dvc) || {{ echo "this image has no dvc on its PATH"; exit 127; }}
python=$(sed -n '1s/^#! *\\([^ ]*\\).*/\\1/p' "$dvc")
case "$python" in *python*) ;; *) python=python3 ;; esac
exec "$python" {PROGRAM} {PLAN}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferResult:
    """The result of the DVC driver: ``phase`` is the last one it began; ``files`` has the collected paths."""

    phase: str
    code: int
    unmade: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    bytes: int | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)
    output: str = ""
    files: Path | None = None
    container: dagger.Container | None = None


def fetch_plan(
    needs: Sequence[str],
    *,
    models: Sequence[Mapping[str, str]] = (),
    size: str | None = None,
    ask: str | None = None,
    collect: Sequence[str] = (),
    pull: bool = True,
) -> dict[str, Any]:
    """A plan for the DVC driver that puts ``needs`` in place, from the remote only with ``pull``.

    ``models`` replace those in the lock file. ``size`` is a path to report the size of, ``ask`` a
    stage whose dependencies outside of the project are checked, ``collect`` paths to export.
    """
    return {
        "do": "fetch",
        "needs": list(needs),
        "pull": pull,
        "models": [dict(model) for model in models],
        "size": size,
        "ask": ask,
        "collect": list(collect),
        "out": OUT,
    }


def keep_plan(stage: str, outs: Sequence[str], *, push: bool, collect: Sequence[str]) -> dict[str, Any]:
    """A plan for the DVC driver that saves the outputs of ``stage``, and pushes them."""
    return {
        "do": "keep",
        "stage": stage,
        "outs": list(outs),
        "push": push,
        "collect": list(collect),
        "out": OUT,
    }


def with_paths(
    container: dagger.Container, source: dagger.Directory, paths: Iterable[str]
) -> dagger.Container:
    """``container`` with these paths from another workspace."""
    include = path_patterns(paths)
    return container.with_directory(WORK, source, include=include) if include else container


def path_patterns(paths: Iterable[str]) -> list[str]:
    """Patterns for ``include`` that match these files, and folders with all that is in them."""
    return [pattern for path in paths for pattern in (escape(path), f"{escape(path)}/**")]


class DataContainer:
    """A container with DVC, its cache and the remote; each call starts from the same one."""

    def __init__(
        self, base: dagger.Container, configured: Any, *, offline: dagger.Container | None = None
    ) -> None:
        """``configured`` adds DVC's configuration, cache and remote to a container.

        ``offline`` is the container without remote, credentials and anything else that differs from
        run to run; None if data in it would be links into the cache.
        """
        self._base = base
        self._configured = configured
        self._offline = offline

    async def from_cache(self, metafiles: dagger.Directory, needs: Sequence[str]) -> dagger.Directory | None:
        """The workspace with ``needs``, if DVC's cache has them all; otherwise None.

        ``metafiles`` are DVC's own files. Because nothing else goes in, the engine knows the answer
        from an earlier run with the same lock entries.
        """
        import dagger

        if self._offline is None:
            return None
        container = self._offline.with_mounted_directory(WORK, metafiles).with_workdir(WORK)
        try:
            # A container that failed is not kept, so data that is missing now is found when it is there.
            fetched = await self.with_plan(container, fetch_plan(needs, pull=False), must=True).sync()
        except dagger.QueryError:
            return None
        return fetched.directory(WORK)

    def with_workspace(
        self, workspace: dagger.Directory, files: Mapping[str, str] | None = None
    ) -> dagger.Container:
        """The container with this workspace; ``files`` replaces the texts of files in it."""
        container = self._base
        for path, text in (files or {}).items():
            workspace = workspace.with_new_file(path, text)
        container = container.with_mounted_directory(WORK, workspace).with_workdir(WORK)
        configured: dagger.Container = self._configured(container)
        return configured

    def with_plan(
        self, container: dagger.Container, plan: Mapping[str, Any], *, must: bool = False
    ) -> dagger.Container:
        """The container after the driver ran a plan, lazily. With ``must``, a failure raises ExecError."""
        import dagger

        expect = dagger.ReturnType.SUCCESS if must else dagger.ReturnType.ANY
        return (
            container.with_new_file(PROGRAM, script("dvc_driver"))
            .with_new_file(PLAN, json.dumps(plan))
            .with_exec(["sh", "-c", _SCRIPT], expect=expect)
        )

    async def result(self, transfer: dagger.Container, folder: Path) -> TransferResult:
        """Run the driver and read its result; exports the collected files to ``folder``.

        Raises StageFailed if the driver was killed or the result can't be read.
        """
        import dagger

        output = ""
        try:
            output = await transfer.stdout()
            await transfer.directory(OUT).export(str(folder))
            result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
        except (dagger.ExecError, dagger.QueryError, OSError, ValueError) as error:
            raise StageFailed(
                "the container that moves data ended before its program did",
                why="\n".join(output.splitlines()[-_LINES_SHOWN:]) or str(error),
            ) from error
        return TransferResult(
            phase=str(result["phase"]),
            code=int(result["code"]),
            unmade=tuple(result["unmade"]),
            changed=tuple(result["changed"]),
            bytes=result["bytes"],
            seconds=dict(result["seconds"]),
            output=output,
            files=folder / "files",
            container=transfer,
        )
