"""Saves the outputs of a DVC stage to DVC's cache, and the result to the stage cache under its key."""

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
    from rondel.environment.output_stream import CommandOutput
    from rondel.files.hashes import HashCache
    from rondel.operations.runtime import StageRuntime

EDITED = "edited while it ran"
_FILES_SHOWN = 5
"""How many file names a message lists."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedStage:
    """Everything that is known about a DVC stage before it runs."""

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
        """The stage's entry in the lock file; empty if it has none."""
        from rondel.data.dvc_lock import stage_blocks

        file = self.project.root / self.stage.lock_file
        text = file.read_text(encoding="utf-8") if file.is_file() else ""
        return stage_blocks(text).get(self.stage.name, "") if text else ""


class ResultKeeper:
    """Saves the results of stages of ``dvc.yaml`` that ran in a stage's container."""

    def __init__(self, runtime: StageRuntime) -> None:
        self.runtime = runtime

    async def keep(
        self,
        prepared: PreparedStage,
        executed: dagger.Container,
        lines: list[str],
        output: CommandOutput,
        seconds: dict[str, float],
    ) -> tuple[DvcCacheEntry, Mapping[str, Any]]:
        """Save the command's outputs to DVC's cache, push them, and save the result under its key."""
        from anyio import to_thread

        stage, data = prepared.stage, self.runtime.environment.data
        plan = keep_plan(
            stage.address,
            [out.path for out in stage.outs],
            push=self.runtime.environment.push,
            collect=[stage.lock_file, *stage.files_to_fetch],
        )
        transfer = await data.result(
            data.with_plan(data.with_workspace(executed.directory(WORK)), plan), prepared.folder
        )
        seconds.update({name: value for name, value in transfer.seconds.items() if name != "import"})
        if transfer.code:
            self.runtime.recorder.output(transfer.output)
            raise keep_failed(stage, transfer, lines, self.runtime.environment.remote.shown)
        assert transfer.files is not None  # noqa: S101 - it did not fail
        return await to_thread.run_sync(self._save, prepared, transfer.files, output)

    def _save(
        self, prepared: PreparedStage, made: Path, output: CommandOutput
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
        read = self._undeclared(stage, output)
        undeclared, quiet = (read.read, read.quiet) if read else (None, ())
        image = self.runtime.recorder.record.image
        inputs = prepared.lookup.inputs
        if not self.runtime.container_changed:
            # A shell command may have changed the inputs in the container. Then the lock's hashes
            # are of those, and the key has the files of the working tree and the command instead.
            inputs = as_locked(stage, inputs, entry)
        # The lock file has no comparable hash of a folder with several owners.
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
        """Save a result that DVC fetched to the stage cache, with the metrics in its files."""
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

    def _undeclared(self, stage: DvcStage, output: CommandOutput) -> OpenedFiles | None:
        """The files that the command read without declaring them; None without a complete trace."""
        from rondel.data.undeclared_files import find_undeclared, links_of

        if output.opened is None or output.untraced:
            self.runtime.recorder.change(untraced=output.untraced)
            return None
        root = self.runtime.run.root
        empty = {
            path for path in output.opened if (root / path).is_file() and not (root / path).stat().st_size
        }
        sorted_out = find_undeclared(
            stage, output.opened, written=output.written, empty=empty, links=links_of(root, stage)
        )
        if files := sorted_out.read:
            more = f" and {len(files) - _FILES_SHOWN} more" if len(files) > _FILES_SHOWN else ""
            which = "which is" if len(files) == 1 else "which are"
            message = f"{stage.address} read {', '.join(files[:_FILES_SHOWN])}{more}, {which} not in its deps"
            self.runtime.recorder.output(message)
            self.runtime.environment.observer.note(message)
        return sorted_out

    def _hash_of(self, path: str, hashes: HashCache) -> str:
        """The hash of a file that the command read; the hash is unknown if it was edited meanwhile."""
        return EDITED if self._edited(path, hashes) else hashes.of(path) or "missing"

    def _edited_in(self, folder: str, hashes: HashCache) -> bool:
        return any(self._edited(f"{folder}/{name}", hashes) for name in hashes.files(folder))

    def _edited(self, path: str, hashes: HashCache) -> bool:
        """Whether a file of the working tree was edited after the container got it."""
        try:
            changed = (self.runtime.run.root / path).stat().st_ctime
        except OSError:
            return False
        return path not in hashes.over and changed >= self.runtime.environment.read_at
