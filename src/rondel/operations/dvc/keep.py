"""What a stage of ``dvc.yaml`` made, kept under the key that it was made under."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from rondel.environment import WORK
from rondel.environment.data_container import keep_plan
from rondel.errors import DataError
from rondel.operations.dvc.commands import keep_failed

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import dagger

    from rondel.cache import DvcCacheEntry, SharedParts
    from rondel.cache.lookup import StageLookup
    from rondel.data import DvcProject, DvcStage
    from rondel.data.undeclared_files import OpenedFiles
    from rondel.environment.output_stream import Sink
    from rondel.files.hashes import HashCache
    from rondel.operations.runtime import StageRuntime

EDITED = "edited while it ran"
_SHOWN = 5
"""How many files are named in a line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedStage:
    """Everything that is known about a DVC stage before anything is done for it."""

    project: DvcProject
    lookup: StageLookup
    overrides: Mapping[str, Any]
    shared_parts: SharedParts
    run_only: bool
    before: Any
    folder: Path
    hashes: HashCache

    @property
    def stage(self) -> DvcStage:
        """The stage of ``dvc.yaml``."""
        return self.lookup.stage

    @property
    def entry_text(self) -> str:
        """The entry as the lock file has it; empty where it has none."""
        from rondel.data.dvc_lock import stage_blocks

        file = self.project.root / self.stage.lock_file
        text = file.read_text(encoding="utf-8") if file.is_file() else ""
        return stage_blocks(text).get(self.stage.name, "") if text else ""


class ResultKeeper:
    """Keeps what stages of ``dvc.yaml`` made in a stage's container."""

    def __init__(self, runtime: StageRuntime) -> None:
        self.runtime = runtime

    async def keep(
        self,
        prepared: PreparedStage,
        executed: dagger.Container,
        lines: list[str],
        sink: Sink,
        seconds: dict[str, float],
    ) -> tuple[DvcCacheEntry, Mapping[str, Any]]:
        """Take what the command made into DVC's cache, and keep it under the key that it was made under."""
        from anyio import to_thread

        stage, data = prepared.stage, self.runtime.environment.data
        plan = keep_plan(
            stage.address,
            [out.path for out in stage.outs],
            push=self.runtime.environment.push,
            collect=[stage.lock_file, *stage.files_to_fetch],
        )
        moved = await data.result(data.planned(data.over(executed.directory(WORK)), plan), prepared.folder)
        seconds.update({name: value for name, value in moved.seconds.items() if name != "import"})
        if moved.code:
            self.runtime.recorder.output(moved.said)
            raise keep_failed(stage, moved, lines, self.runtime.environment.remote.shown)
        assert moved.files is not None  # noqa: S101 - it did not fail
        return await to_thread.run_sync(self._remember, prepared, moved.files, sink)

    def _remember(
        self, prepared: PreparedStage, made: Path, sink: Sink
    ) -> tuple[DvcCacheEntry, Mapping[str, Any]]:
        from rondel.cache import may_be_host_image
        from rondel.cache.entries import save_result
        from rondel.cache.lookup import key_of
        from rondel.data.dvc_lock import stage_blocks
        from rondel.data.inputs import as_locked
        from rondel.files.yaml_file import parse_yaml
        from rondel.gates import stage_metrics

        stage = prepared.stage
        text = (made / stage.lock_file).read_text(encoding="utf-8")
        block = stage_blocks(text).get(stage.name)
        if block is None:
            raise DataError(f"DVC wrote no lock entry for stage {stage.address!r}")
        entry: Mapping[str, Any] = parse_yaml(block, stage.lock_file)[stage.name]
        read = self._undeclared(stage, sink)
        undeclared, quiet = (read.read, read.quiet) if read else (None, ())
        image = self.runtime.recorder.record.image
        inputs = prepared.lookup.inputs
        if not self.behind_shell():
            # Behind one the files may be its own: then those here count, with the command.
            inputs = as_locked(stage, inputs, entry)
        # Of a folder with several owners the lock tells no hash that could be compared.
        mixed = [path for path, value in inputs.paths.items() if value.startswith("dvc:")]
        edited = {
            path: EDITED for path in mixed if "://" not in path and self._edited_in(path, prepared.hashes)
        }
        key = key_of(
            stage,
            replace(inputs, paths={**inputs.paths, **edited}),
            prepared.shared_parts,
            on_host=may_be_host_image(image.source if image else None),
            undeclared={path: self._hash_of(path, prepared.hashes) for path in (*(undeclared or ()), *quiet)},
        )
        cache_entry = save_result(
            self.runtime.run.root,
            stage,
            made,
            key=key,
            entry=block,
            run=self.runtime.run.id,
            image=image,
            undeclared=undeclared,
            quiet=quiet,
            pushed=self.runtime.environment.push,
            metrics=stage_metrics(stage, made),
        )
        return cache_entry, entry

    def keep_restored(self, prepared: PreparedStage, cache_entry: DvcCacheEntry, made: Path) -> DvcCacheEntry:
        """A result that DVC brought, kept here from now on with the metrics in its files."""
        from dataclasses import replace

        from rondel.cache.entries import save_result
        from rondel.gates import stage_metrics

        stage, text = prepared.stage, cache_entry.entry or prepared.entry_text
        metrics = cache_entry.metrics or stage_metrics(stage, made)
        if not (cache_entry.key.digest and text):
            return replace(cache_entry, metrics=metrics)
        return save_result(
            self.runtime.run.root,
            stage,
            made,
            key=cache_entry.key,
            entry=text,
            run=cache_entry.run,
            image=cache_entry.image,
            undeclared=cache_entry.undeclared,
            quiet=cache_entry.quiet,
            pushed=cache_entry.pushed,
            metrics=metrics,
        )

    def behind_shell(self) -> bool:
        """Whether commands of this stage may have changed what a stage of ``dvc.yaml`` gets."""
        return self.runtime.container_changed

    def _undeclared(self, stage: DvcStage, sink: Sink) -> OpenedFiles | None:
        """The files that the command read beside what it declares; None where that is not known."""
        from rondel.data.undeclared_files import find_undeclared, links_of

        if sink.opened is None or sink.untraced:
            self.runtime.recorder.change(untraced=sink.untraced)
            return None
        root = self.runtime.run.root
        empty = {path for path in sink.opened if (root / path).is_file() and not (root / path).stat().st_size}
        sorted_out = find_undeclared(
            stage, sink.opened, written=sink.written, empty=empty, links=links_of(root, stage)
        )
        found = sorted_out.read
        if found:
            shown = ", ".join(found[:_SHOWN]) + (
                f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
            )
            those = "which is" if len(found) == 1 else "which are"
            said = f"{stage.address} read {shown}, {those} not among its deps"
            self.runtime.recorder.output(said)
            self.runtime.environment.observer.note(said)
        return sorted_out

    def _hash_of(self, path: str, hashes: HashCache) -> str:
        """The hash of a file that the command read; one that was edited meanwhile has none that is known."""
        return EDITED if self._edited(path, hashes) else hashes.of(path) or "missing"

    def _edited_in(self, folder: str, hashes: HashCache) -> bool:
        return any(self._edited(f"{folder}/{name}", hashes) for name in hashes.files(folder))

    def _edited(self, path: str, hashes: HashCache) -> bool:
        """Whether a file of the working tree may be another one by now than what the container got."""
        try:
            changed = (self.runtime.run.root / path).stat().st_ctime
        except OSError:
            return False
        return path not in hashes.over and changed >= self.runtime.environment.read_at
