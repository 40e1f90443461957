"""Which result of a stage of ``dvc.yaml`` holds under today's key, and where it is.

DVC knows of commands, dependencies and parameters only. Here the whole key
decides: with the image, the machine, variables, and files that the command is
known to have read beside its dependencies.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from rondel.cache.conditions import stands_on_host
from rondel.cache.entries import DvcCacheEntry, load_dvc_entries
from rondel.cache.key import PARTS, compare, describe, digest, make_key
from rondel.cache.objects import whole
from rondel.cache.provenance import entry_digest, read_provenance
from rondel.data.inputs import entry_outs, kept_by_remote, matches_lock, returned_wrong, stage_inputs
from rondel.data.params import leaves, used_params
from rondel.files.yaml_file import parse_yaml
from rondel.record import Image, KeyRecord

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rondel.cache import Change
    from rondel.cache.conditions import Conditions
    from rondel.cache.provenance import Provenance
    from rondel.data import DvcProject, DvcStage, StageInputs
    from rondel.files.hashes import HashCache

SourceLocation = Literal["in place", "kept", "remote"]
"""Where a result is: in the working tree, among what Rondel keeps of it, or with DVC only."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Served:
    """A result of ``stage`` that holds under today's key, and its entry for ``dvc.lock``.

    ``why`` says of a frozen stage that it is one.
    """

    stage: DvcStage
    cache_entry: DvcCacheEntry
    entry: Mapping[str, Any]
    place: SourceLocation
    why: str = ""

    @property
    def returns(self) -> tuple[str, ...]:
        """The outputs that belong into the working tree."""
        return tuple(out.path for out in self.stage.outs if out.returns)


def files_of(served: Served) -> dict[str, str]:
    """The files of a result that belong into the working tree, by hash, as far as each is known."""
    outs = entry_outs(served.stage, served.entry)
    single = {path: outs[path] for path in served.returns if path in outs and not outs[path].endswith(".dir")}
    return {**served.cache_entry.files, **single}


@dataclass(frozen=True, kw_only=True, slots=True)
class Link:
    """One stage of ``dvc.yaml`` on the way to the one that is asked for: its inputs, and what serves it.

    ``reason`` says why nothing does. ``asks`` are dependencies outside of the
    project: only DVC can tell whether they changed, so a result that would be
    served is ``held`` until it has.
    """

    stage: DvcStage
    inputs: StageInputs
    served: Served | None = None
    held: Served | None = None
    reason: str = ""

    @property
    def asks(self) -> tuple[str, ...]:
        """The dependencies that only DVC can look at."""
        return self.stage.external


def follow(
    project: DvcProject,
    addresses: tuple[str, ...],
    overrides: Mapping[str, Any],
    conditions: Conditions,
    hashes: HashCache,
) -> tuple[Link, ...]:
    """What serves each of these stages, in order; each one sees the results that serve those before it.

    Raises what reading inputs raises: ConfigurationError, DataError.
    """
    links: list[Link] = []
    for address in addresses:
        link = look(project, address, overrides, conditions, hashes)
        links.append(link)
        if link.served is not None and link.served.place != "in place":
            project = project.with_entries({address: link.served.entry})
    return tuple(links)


def look(
    project: DvcProject,
    address: str,
    overrides: Mapping[str, Any],
    conditions: Conditions,
    hashes: HashCache,
) -> Link:
    """What serves one stage as things are now."""
    stage = project.stages[address]
    inputs = inputs_of(project, address, overrides, hashes)
    if stage.frozen and address in project.lock:
        return Link(stage=stage, inputs=inputs, served=_frozen(project, stage, inputs, hashes))
    reason = _never(stage, inputs)
    if reason:
        return Link(stage=stage, inputs=inputs, reason=reason)
    apart: list[tuple[Change, ...]] = []
    told = ""
    for cache_entry in _candidates(project, stage, inputs, conditions, hashes):
        if isinstance(cache_entry, str):
            told = cache_entry
            continue
        now = dvc_key(stage, inputs, conditions, hashes, cache_entry)
        if now.digest != cache_entry.key.digest:
            apart.append(compare(cache_entry.key, now))
            continue
        found = _placed(project, stage, cache_entry, hashes)
        if isinstance(found, str):
            return Link(stage=stage, inputs=inputs, reason=found)
        if stage.external:
            asked = f"only DVC can tell whether {', '.join(stage.external)} changed"
            return Link(stage=stage, inputs=inputs, held=found, reason=asked)
        return Link(stage=stage, inputs=inputs, served=found)
    # The success that is least apart explains best; of several the newest, which comes first.
    sizes = [len(changes) for changes in apart]
    reason = describe(apart[sizes.index(min(sizes))]) if apart else told
    if not reason and address in project.lock:
        reason = "dvc.lock has a result, but no rondel.lock says what made it"
    return Link(stage=stage, inputs=inputs, reason=reason or "no earlier result of it is kept here")


def inputs_of(
    project: DvcProject, address: str, overrides: Mapping[str, Any], hashes: HashCache
) -> StageInputs:
    """What the stage depends on; overrides of parameters that it does not use are left out."""
    given = used_params(project.root, project.stages[address], overrides)
    return stage_inputs(project, address, given, hashes=hashes)


def dvc_key(
    stage: DvcStage,
    inputs: StageInputs,
    conditions: Conditions,
    hashes: HashCache,
    cache_entry: DvcCacheEntry,
) -> KeyRecord:
    """Today's key of a DVC stage, with the image's origin and the read files of ``cache_entry``."""
    source = cache_entry.image.source if cache_entry.image else None
    return key_of(
        stage,
        inputs,
        conditions,
        on_host=stands_on_host(source),
        undeclared={
            path: hashes.of(path) or "missing"
            for path in (*(cache_entry.undeclared or ()), *cache_entry.quiet)
        },
    )


def key_of(
    stage: DvcStage,
    inputs: StageInputs,
    conditions: Conditions,
    *,
    on_host: bool,
    undeclared: Mapping[str, str],
) -> KeyRecord:
    """The key of a DVC stage, whatever stage of the pipeline runs it."""
    return make_key(
        {
            **conditions.parts(on_host=on_host),
            "command": {f"dvc {stage.address}": inputs.cmd},
            "parameters": dotted(inputs.params),
            "inputs": inputs.paths,
            "undeclared": undeclared,
        }
    )


def part_digests(key: KeyRecord) -> dict[str, str]:
    """The digest of each part of a key, as ``rondel.lock`` has them."""
    return {name: digest(part) for name, part in key.parts.items()}


def _candidates(
    project: DvcProject,
    stage: DvcStage,
    inputs: StageInputs,
    conditions: Conditions,
    hashes: HashCache,
) -> list[DvcCacheEntry | str]:
    """The results that may hold: those that are kept here, and the one that the lock files tell of.

    In place of the latter stands the reason why it does not hold, where it does not.
    """
    found: list[DvcCacheEntry | str] = list(load_dvc_entries(project.root, stage.address))
    known = read_provenance(project.root).get(stage.address)
    entry = project.lock.get(stage.address)
    if known is None or entry is None or stage.address in project.ahead:
        return found
    if known.entry != entry_digest(entry):
        return [*found, "dvc.lock was changed by something else than Rondel since"]
    if not matches_lock(project, stage, inputs):
        return found
    cache_entry = _of_lock(stage, known)
    now = dvc_key(stage, inputs, conditions, hashes, cache_entry)
    digests = part_digests(now)
    changed = [name for name in {*digests, *known.parts} if digests.get(name) != known.parts.get(name)]
    if changed:
        part = min(changed, key=lambda name: PARTS.index(name) if name in PARTS else len(PARTS))
        return [*found, f"{_WORDS.get(part, part)} changed since run {known.run}"]
    from dataclasses import replace

    return [*found, replace(cache_entry, key=now)]


_WORDS = {
    "image": "the image's recipe",
    "host": "the machine that stands in for the image",
    "environment": "a variable",
    "command": "the command",
    "parameters": "a parameter",
    "inputs": "an input",
    "undeclared": "a file that it read beside its dependencies",
}


def _of_lock(stage: DvcStage, known: Provenance) -> DvcCacheEntry:
    return DvcCacheEntry(
        key=KeyRecord(digest=""),
        run=known.run,
        address=stage.address,
        image=Image(reference="", digest=known.image, source=known.source),
        undeclared=known.undeclared,
        quiet=known.quiet,
    )


def _never(stage: DvcStage, inputs: StageInputs) -> str:
    """Why a stage has to run whatever is known of it; an empty text if it has not."""
    if stage.always_changed:
        return "always_changed in dvc.yaml"
    if not (stage.deps or stage.params or stage.outs):
        return "it has neither dependencies nor outputs"
    missing = [path for path, value in inputs.paths.items() if value == "missing" and "://" not in path]
    return f"{missing[0]} is not made yet" if missing else ""


def _placed(
    project: DvcProject, stage: DvcStage, cache_entry: DvcCacheEntry, hashes: HashCache
) -> Served | str:
    """Where the result is; in words, why it is nowhere any more."""
    current = project.lock.get(stage.address)
    if cache_entry.entry:
        entry: Mapping[str, Any] = (parse_yaml(cache_entry.entry, "dvc.lock") or {}).get(stage.name) or {}
    elif current is not None:
        entry = current
    else:
        return "dvc.lock does not have it"
    outs = entry_outs(stage, entry)
    if set(outs) != {out.path for out in stage.outs}:
        return "its outputs are others now"
    if not kept_by_remote(project, stage, outs):
        return f"the data of run {cache_entry.run} is not in the DVC remote"
    wrong = returned_wrong(project, stage, outs, hashes)
    same = current is not None and entry_digest(current) == entry_digest(entry)
    reported = any(out.kind == "metric" and out.cached for out in stage.reported)
    if same and not wrong and reported and not (cache_entry.metrics or cache_entry.entry):
        # Its metrics lie in a folder that only DVC has.
        return Served(stage=stage, cache_entry=cache_entry, entry=entry, place="remote")
    if same and not wrong:
        return Served(stage=stage, cache_entry=cache_entry, entry=entry, place="in place")
    if not wrong or all(_kept(project, cache_entry, out.path) for out in wrong):
        return Served(stage=stage, cache_entry=cache_entry, entry=entry, place="kept")
    if all(out.cached for out in wrong):
        return Served(stage=stage, cache_entry=cache_entry, entry=entry, place="remote")
    lost = next(out.path for out in wrong if not out.cached)
    return f"output {lost} {'was changed' if hashes.of(lost) else 'is gone'}"


def _kept(project: DvcProject, cache_entry: DvcCacheEntry, path: str) -> bool:
    files = [
        digest for name, digest in cache_entry.files.items() if name == path or name.startswith(f"{path}/")
    ]
    return bool(files) and all(whole(project.root, digest) for digest in files)


def _frozen(project: DvcProject, stage: DvcStage, inputs: StageInputs, hashes: HashCache) -> Served:
    """The result of a frozen stage: what the lock has, whatever has changed since, as DVC has it."""
    entry = project.lock[stage.address]
    known = read_provenance(project.root).get(stage.address)
    same = known is not None and known.entry == entry_digest(entry)
    cache_entry = DvcCacheEntry(
        key=KeyRecord(digest=""),
        run=known.run if known and same else "",
        address=stage.address,
        image=Image(reference="", digest=known.image, source=known.source) if known and same else None,
    )
    wrong = returned_wrong(project, stage, inputs.outs, hashes)
    place: SourceLocation = "remote" if wrong else "in place"
    return Served(stage=stage, cache_entry=cache_entry, entry=entry, place=place, why="frozen in dvc.yaml")


def dotted(params: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters one by one: ``params.yaml:train`` with a mapping becomes ``train.max_iter`` and so on.

    A group as one value would be changed as a whole, and nobody could see what in it was.
    """
    found: dict[str, Any] = {}
    for name, value in params.items():
        file, _, key = name.partition(":")
        prefix = "" if file == "params.yaml" else f"{file}:"
        found |= {f"{prefix}{leaf}": each for leaf, each in leaves(value, key)}
    return found
