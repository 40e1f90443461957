"""Finds the result of a ``dvc.yaml`` stage that is valid under today's key, and where it is.

DVC compares only commands, dependencies and parameters. Rondel compares the
whole key: also the image, the machine, variables, and undeclared files that
the command is known to read.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from rondel.cache.entries import DvcCacheEntry, load_dvc_entries
from rondel.cache.key import compare, describe, make_key, part_digests, part_rank
from rondel.cache.objects import is_intact
from rondel.cache.provenance import entry_digest, read_provenance
from rondel.cache.shared_parts import may_be_host_image
from rondel.data.inputs import entry_outs, matches_lock, outdated_outputs, remote_has_data, stage_inputs
from rondel.data.params import leaves, used_params
from rondel.files.yaml_file import parse_yaml
from rondel.record import Image, KeyRecord

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rondel.cache import Change
    from rondel.cache.provenance import Provenance
    from rondel.cache.shared_parts import SharedParts
    from rondel.data import DvcProject, DvcStage, StageInputs
    from rondel.files.hashes import HashCache

ResultLocation = Literal["working tree", "stage cache", "dvc"]
"""Where a result is. ``dvc``: only DVC's cache or remote has it, so restoring it needs a container."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CachedResult:
    """A result of ``stage`` that is valid under today's key.

    ``entry`` is its ``dvc.lock`` entry. ``why`` says why a result is used
    without a valid key: the stage is frozen.
    """

    stage: DvcStage
    cache_entry: DvcCacheEntry
    entry: Mapping[str, Any]
    location: ResultLocation
    why: str = ""

    @property
    def in_working_tree(self) -> tuple[str, ...]:
        """The outputs that belong in the working tree."""
        return tuple(out.path for out in self.stage.outs if out.in_working_tree)


def file_hashes(result: CachedResult) -> dict[str, str]:
    """The hashes of a result's files in the working tree, as far as they are known."""
    outs = entry_outs(result.stage, result.entry)
    single = {
        path: outs[path]
        for path in result.in_working_tree
        if path in outs and not outs[path].endswith(".dir")
    }
    return {**result.cache_entry.files, **single}


@dataclass(frozen=True, kw_only=True, slots=True)
class StageLookup:
    """What a lookup of one ``dvc.yaml`` stage found.

    ``result`` is the valid result; without one, ``reason`` says why the stage
    has to run. If the stage has dependencies outside of the project, only DVC
    can tell whether they changed: the result is ``unconfirmed`` until DVC has
    checked them.
    """

    stage: DvcStage
    inputs: StageInputs
    result: CachedResult | None = None
    unconfirmed: CachedResult | None = None
    reason: str = ""


def look_up_stages(
    project: DvcProject,
    addresses: tuple[str, ...],
    overrides: Mapping[str, Any],
    shared_parts: SharedParts,
    hashes: HashCache,
) -> tuple[StageLookup, ...]:
    """Look up these stages in order. Each one sees the results that were found for those before it.

    Raises ConfigurationError or DataError if a stage's inputs can't be read.
    """
    lookups: list[StageLookup] = []
    for address in addresses:
        lookup = look_up_stage(project, address, overrides, shared_parts, hashes)
        lookups.append(lookup)
        if lookup.result is not None and lookup.result.location != "working tree":
            project = project.with_entries({address: lookup.result.entry})
    return tuple(lookups)


def look_up_stage(
    project: DvcProject,
    address: str,
    overrides: Mapping[str, Any],
    shared_parts: SharedParts,
    hashes: HashCache,
) -> StageLookup:
    """Look up one stage in the project as it is now."""
    stage = project.stages[address]
    inputs = stage_inputs_of(project, address, overrides, hashes)
    if stage.frozen and address in project.lock:
        return StageLookup(stage=stage, inputs=inputs, result=_frozen_result(project, stage, inputs, hashes))
    reason = _must_run(stage, inputs)
    if reason:
        return StageLookup(stage=stage, inputs=inputs, reason=reason)
    differences: list[tuple[Change, ...]] = []
    lock_reason = ""
    for cache_entry in _candidates(project, stage, inputs, shared_parts, hashes):
        if isinstance(cache_entry, str):
            lock_reason = cache_entry
            continue
        now = dvc_key(stage, inputs, shared_parts, hashes, cache_entry)
        if now.digest != cache_entry.key.digest:
            differences.append(compare(cache_entry.key, now))
            continue
        found = _locate(project, stage, cache_entry, hashes)
        if isinstance(found, str):
            return StageLookup(stage=stage, inputs=inputs, reason=found)
        if stage.external:
            asked = f"only DVC can tell whether {', '.join(stage.external)} changed"
            return StageLookup(stage=stage, inputs=inputs, unconfirmed=found, reason=asked)
        return StageLookup(stage=stage, inputs=inputs, result=found)
    # The success with the fewest differences explains best; of several, the newest, which comes first.
    sizes = [len(changes) for changes in differences]
    reason = describe(differences[sizes.index(min(sizes))]) if differences else lock_reason
    if not reason and address in project.lock:
        reason = "dvc.lock has a result, but rondel.lock does not record what made it"
    return StageLookup(stage=stage, inputs=inputs, reason=reason or "no cached result")


def stage_inputs_of(
    project: DvcProject, address: str, overrides: Mapping[str, Any], hashes: HashCache
) -> StageInputs:
    """The stage's inputs, with those overrides whose parameters it uses."""
    used = used_params(project.root, project.stages[address], overrides)
    return stage_inputs(project, address, used, hashes=hashes)


def dvc_key(
    stage: DvcStage,
    inputs: StageInputs,
    shared_parts: SharedParts,
    hashes: HashCache,
    cache_entry: DvcCacheEntry,
) -> KeyRecord:
    """Today's key of a DVC stage, with the image origin and undeclared files of ``cache_entry``."""
    source = cache_entry.image.source if cache_entry.image else None
    return key_of(
        stage,
        inputs,
        shared_parts,
        on_host=may_be_host_image(source),
        undeclared={path: hashes.of(path) or "missing" for path in cache_entry.files_read},
    )


def key_of(
    stage: DvcStage,
    inputs: StageInputs,
    shared_parts: SharedParts,
    *,
    on_host: bool,
    undeclared: Mapping[str, str],
) -> KeyRecord:
    """The key of a DVC stage. It does not depend on which pipeline stage runs it."""
    return make_key(
        {
            **shared_parts.parts(on_host=on_host),
            "command": {f"dvc {stage.address}": inputs.cmd},
            "parameters": flatten_params(inputs.params),
            "inputs": inputs.paths,
            "undeclared": undeclared,
        }
    )


def _candidates(
    project: DvcProject,
    stage: DvcStage,
    inputs: StageInputs,
    shared_parts: SharedParts,
    hashes: HashCache,
) -> list[DvcCacheEntry | str]:
    """The results that may be valid: those in the stage cache, then the one in the lock files.

    If the lock files' result is not valid, the last item is the reason.
    """
    found: list[DvcCacheEntry | str] = list(load_dvc_entries(project.root, stage.address))
    known = read_provenance(project.root).get(stage.address)
    entry = project.lock.get(stage.address)
    if known is None or entry is None or stage.address in project.unwritten:
        return found
    if known.entry != entry_digest(entry):
        return [*found, "something other than Rondel has changed dvc.lock since"]
    if not matches_lock(project, stage, inputs):
        return found
    cache_entry = _locked_entry(stage, known)
    now = dvc_key(stage, inputs, shared_parts, hashes, cache_entry)
    digests = part_digests(now)
    changed = [name for name in {*digests, *known.parts} if digests.get(name) != known.parts.get(name)]
    if changed:
        part = min(changed, key=part_rank)
        return [*found, f"{_CHANGED.get(part, part)} changed since run {known.run}"]
    return [*found, replace(cache_entry, key=now)]


_CHANGED = {
    "image": "the image's recipe",
    "host": "the machine that replaces the base image",
    "environment": "a variable",
    "command": "the command",
    "parameters": "a parameter",
    "inputs": "an input",
    "undeclared": "an undeclared file that it read",
}


def _locked_entry(stage: DvcStage, known: Provenance) -> DvcCacheEntry:
    return DvcCacheEntry(
        key=KeyRecord(digest=""),
        run=known.run,
        address=stage.address,
        image=Image(reference="", digest=known.image, source=known.source),
        undeclared=known.undeclared,
        quiet=known.quiet,
    )


def _must_run(stage: DvcStage, inputs: StageInputs) -> str:
    """Why a stage has to run even with an unchanged key; empty if it does not have to."""
    if stage.always_changed:
        return "always_changed in dvc.yaml"
    if not (stage.deps or stage.params or stage.outs):
        return "it has neither dependencies nor outputs"
    missing = [path for path, value in inputs.paths.items() if value == "missing" and "://" not in path]
    return f"{missing[0]} does not exist yet" if missing else ""


def _locate(
    project: DvcProject, stage: DvcStage, cache_entry: DvcCacheEntry, hashes: HashCache
) -> CachedResult | str:
    """The result with its location; if it is gone, the reason as text."""
    current = project.lock.get(stage.address)
    if cache_entry.entry:
        entry: Mapping[str, Any] = (parse_yaml(cache_entry.entry, "dvc.lock") or {}).get(stage.name) or {}
    elif current is not None:
        entry = current
    else:
        return "dvc.lock does not have it"
    outs = entry_outs(stage, entry)
    if set(outs) != {out.path for out in stage.outs}:
        return "it has different outputs now"
    if not remote_has_data(project, stage, outs):
        return f"the data of run {cache_entry.run} is not in the DVC remote"
    wrong = outdated_outputs(project, stage, outs, hashes)
    same = current is not None and entry_digest(current) == entry_digest(entry)
    reported = any(out.kind == "metric" and out.cached for out in stage.reported)
    if same and not wrong and reported and not (cache_entry.metrics or cache_entry.entry):
        # Its metrics are in a folder that only DVC has.
        return CachedResult(stage=stage, cache_entry=cache_entry, entry=entry, location="dvc")
    if same and not wrong:
        return CachedResult(stage=stage, cache_entry=cache_entry, entry=entry, location="working tree")
    if not wrong or all(_can_restore(project, cache_entry, out.path) for out in wrong):
        return CachedResult(stage=stage, cache_entry=cache_entry, entry=entry, location="stage cache")
    if all(out.cached for out in wrong):
        return CachedResult(stage=stage, cache_entry=cache_entry, entry=entry, location="dvc")
    lost = next(out.path for out in wrong if not out.cached)
    return f"output {lost} {'was changed' if hashes.of(lost) else 'is gone'}"


def _can_restore(project: DvcProject, cache_entry: DvcCacheEntry, path: str) -> bool:
    files = [
        digest for name, digest in cache_entry.files.items() if name == path or name.startswith(f"{path}/")
    ]
    return bool(files) and all(is_intact(project.root, digest) for digest in files)


def _frozen_result(
    project: DvcProject, stage: DvcStage, inputs: StageInputs, hashes: HashCache
) -> CachedResult:
    """The result of a frozen stage: what the lock has, whatever has changed since. DVC does the same."""
    entry = project.lock[stage.address]
    known = read_provenance(project.root).get(stage.address)
    same = known is not None and known.entry == entry_digest(entry)
    cache_entry = DvcCacheEntry(
        key=KeyRecord(digest=""),
        run=known.run if known and same else "",
        address=stage.address,
        image=Image(reference="", digest=known.image, source=known.source) if known and same else None,
    )
    wrong = outdated_outputs(project, stage, inputs.outs, hashes)
    location: ResultLocation = "dvc" if wrong else "working tree"
    return CachedResult(
        stage=stage, cache_entry=cache_entry, entry=entry, location=location, why="frozen in dvc.yaml"
    )


def flatten_params(params: Mapping[str, Any]) -> dict[str, Any]:
    """Each parameter by itself: the group ``params.yaml:train`` becomes ``train.max_iter`` and so on.

    So a change names the parameter, not the group.
    """
    found: dict[str, Any] = {}
    for name, value in params.items():
        file, _, key = name.partition(":")
        prefix = "" if file == "params.yaml" else f"{file}:"
        found |= {f"{prefix}{leaf}": each for leaf, each in leaves(value, key)}
    return found
