"""Compares two capsules part by part. The parts are those of a stage's key, and what only a run has."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

from rondel.data.params import leaves

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from rondel.record import Capsule, StageRecord

Part = Literal[
    "code",
    "command",
    "parameters",
    "image",
    "host",
    "packages",
    "inputs",
    "champion",
    "environment",
    "engine",
    "hardware",
]
PARTS: tuple[Part, ...] = get_args(Part)
"""All parts, the most telling difference first. ``packages``, ``engine`` and ``hardware`` are in no key."""

CIRCUMSTANCES: frozenset[Part] = frozenset({"engine", "hardware"})
"""Parts that results must not depend on: they count only if results differ, or with ``strict``."""

DONE = frozenset({"ran", "restored", "cached"})
_MADE_BY_STAGES = frozenset({"dvc.lock", "rondel.lock"})
_LOCATIONS = frozenset({"CI", "DVC_REMOTE_URL", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_TRACKING_URI"})
_ABSENT = object()


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One entry that differs between two runs; None where a run does not have it.

    ``part`` is the part that it belongs to. For a result it is the kind: ``state``,
    ``exit code``, ``output`` or ``metric``.
    """

    part: str
    entry: str
    a: Any = None
    b: Any = None
    stage: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Parity:
    """How two runs compare.

    ``inputs`` are the differences in what results depend on, in the order of
    :data:`PARTS`; ``results`` are the differences in states, outputs and metrics.
    ``unknown`` are parts that one of the runs did not record. ``only_in_one`` are
    stages that only one of the runs has.
    """

    a: str
    b: str
    inputs: tuple[Difference, ...] = ()
    results: tuple[Difference, ...] = ()
    unknown: tuple[str, ...] = ()
    only_in_one: tuple[str, ...] = ()
    compared: tuple[str, ...] = ()
    strict: bool = field(default=False)

    @property
    def decisive(self) -> tuple[Difference, ...]:
        """The input differences that count: circumstances only if results differ, or with ``strict``."""
        if self.strict or self.results:
            return self.inputs
        return tuple(each for each in self.inputs if each.part not in CIRCUMSTANCES)

    @property
    def first(self) -> Difference | None:
        """The first difference that counts."""
        return next(iter(self.decisive), None)

    @property
    def verdict(self) -> Literal["same", "inputs differ", "results differ"]:
        """``results differ`` means that the results differ although the inputs are the same."""
        if self.decisive:
            return "inputs differ"
        return "results differ" if self.results else "same"


def compare_runs(
    a: Capsule, b: Capsule, *, stages: Iterable[str] | None = None, strict: bool = False
) -> Parity:
    """Compare two runs, or only their ``stages``. With ``strict``, circumstances always count."""
    wanted = None if stages is None else frozenset(stages)
    first = {each.name: each for each in a.stages if _compared(each, wanted)}
    second = {each.name: each for each in b.stages if _compared(each, wanted)}
    both = [name for name in first if name in second]
    pairs = [(first[name], second[name]) for name in both]
    outputs = {path for run in (a, b) for each in run.stages for path in _outputs(each)}
    unknown: list[str] = []
    inputs = [
        *_code(a, b, outputs, pairs),
        *_parameters(a, b, pairs),
        *_image(a, b, pairs, unknown),
        *_inputs(pairs),
        *_environment(a, b),
        *_engine(a, b),
        *_hardware(a, b),
    ]
    rank = {name: number for number, name in enumerate(PARTS)}
    return Parity(
        a=a.id,
        b=b.id,
        inputs=tuple(sorted(_unique(inputs), key=lambda each: rank[each.part])),  # type: ignore[index]
        results=tuple(_results(pairs)),
        unknown=tuple(unknown),
        only_in_one=tuple(sorted(set(first) ^ set(second))),
        compared=tuple(both),
        strict=strict,
    )


def _outputs(record: StageRecord) -> Iterator[str]:
    """The paths that a stage writes to the working tree, as far as they are recorded."""
    yield from record.outputs
    for use in record.uses:
        named = use.details.get("outputs")
        yield from (str(path) for path in named) if isinstance(named, list) else ()


def _compared(record: StageRecord, wanted: frozenset[str] | None) -> bool:
    if wanted is not None and record.name not in wanted:
        return False
    return record.state not in {"pending", "skipped", "cancelled", "running"}


def _unique(found: Iterable[Difference]) -> list[Difference]:
    """Each entry once, for the first stage that has it."""
    seen: dict[tuple[str, str], Difference] = {}
    for each in found:
        seen.setdefault((each.part, each.entry), each)
    return list(seen.values())


def _maps(
    part: Part, a: Mapping[str, Any], b: Mapping[str, Any], *, stage: str | None = None, prefix: str = ""
) -> Iterator[Difference]:
    for name in sorted({*a, *b}):
        old, new = a.get(name, _ABSENT), b.get(name, _ABSENT)
        if old != new:
            yield Difference(
                part=part,
                entry=f"{prefix}{name}",
                a=None if old is _ABSENT else old,
                b=None if new is _ABSENT else new,
                stage=stage,
            )


def _code(
    a: Capsule, b: Capsule, outputs: set[str], pairs: list[tuple[StageRecord, StageRecord]]
) -> Iterator[Difference]:
    """The commit, uncommitted files, the stage functions and their commands.

    Files that stages write (``dvc.lock``, ``rondel.lock``, metrics) are results,
    so they don't count. Parameter files are compared by parameter.
    """
    if a.git.commit != b.git.commit:
        yield Difference(part="code", entry="commit", a=a.git.commit, b=b.git.commit)
    left_out = {*outputs, "params.yaml"}
    folders = tuple(path.rstrip("/") + "/" for path in outputs)

    def uncommitted(capsule: Capsule) -> dict[str, str]:
        return {
            path: value
            for path, value in {**capsule.git.changed, **capsule.git.untracked}.items()
            if path not in left_out
            and path.rpartition("/")[2] not in _MADE_BY_STAGES
            and not path.startswith(folders)
        }

    yield from _maps("code", uncommitted(a), uncommitted(b))
    for one, other in pairs:
        yield from _key_part("code", one, other)
        yield from _key_part("command", one, other)


def _key_part(part: Part, one: StageRecord, other: StageRecord) -> Iterator[Difference]:
    if one.key is not None and other.key is not None:
        old: Mapping[str, Any] = one.key.parts.get(part, {})
        new: Mapping[str, Any] = other.key.parts.get(part, {})
        if part != "code":
            old, new = _known_to_both(one, other, old, new)
        yield from _maps(part, old, new, stage=one.name)


def _known_to_both(
    one: StageRecord, other: StageRecord, old: Mapping[str, Any], new: Mapping[str, Any]
) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """If one stage ended early, it did not use everything: then only the entries that both have."""
    if one.state in DONE and other.state in DONE:
        return old, new
    return {name: old[name] for name in old if name in new}, {name: new[name] for name in new if name in old}


def _parameters(a: Capsule, b: Capsule, pairs: list[tuple[StageRecord, StageRecord]]) -> Iterator[Difference]:
    for one, other in pairs:
        old, new = _known_to_both(one, other, _stage_parameters(one), _stage_parameters(other))
        yield from _maps("parameters", old, new, stage=one.name)
    if not pairs:
        yield from _maps("parameters", a.overrides, b.overrides)


def _stage_parameters(record: StageRecord) -> dict[str, Any]:
    found = dict(record.key.parts.get("parameters", {})) if record.key is not None else {}
    if not found:
        from rondel.cache.key import as_json

        found = {name: as_json(value) for name, value in leaves(record.parameters)}
    return found


def _image(
    a: Capsule, b: Capsule, pairs: list[tuple[StageRecord, StageRecord]], unknown: list[str]
) -> Iterator[Difference]:
    one, other = a.image, b.image
    if one is None or other is None:
        # Nothing ran in one of them. What the stages' keys record of the image has to be enough.
        unknown.append("packages")
        for first, second in pairs:
            yield from _key_part("image", first, second)
            yield from _key_part("host", first, second)
        return
    if one.packages and other.packages:
        yield from _maps("packages", one.packages, other.packages)
    else:
        unknown.append("packages")
    if one.digest and one.digest == other.digest:
        return
    for name in ("reference", "source", "base"):
        old, new = getattr(one, name), getattr(other, name)
        if old and new and old != new:
            yield Difference(part="image", entry=name, a=old, b=new)
    if one.recipe and other.recipe:
        for each in _maps("image", one.recipe, other.recipe):
            name = each.entry.removeprefix("host ")  # the recipe of a host image includes the machine
            yield each if name == each.entry else replace(each, part="host", entry=name)
    elif one.digest and other.digest:
        yield Difference(part="image", entry="digest", a=one.digest, b=other.digest)
    else:
        unknown.append("image")


def _inputs(pairs: list[tuple[StageRecord, StageRecord]]) -> Iterator[Difference]:
    for one, other in pairs:
        old, new = _known_to_both(one, other, _stage_inputs(one), _stage_inputs(other))
        yield from _maps("inputs", old, new, stage=one.name)
        yield from _key_part("champion", one, other)


def _stage_inputs(record: StageRecord) -> dict[str, Any]:
    keyed = record.key.parts.get("inputs") if record.key is not None else None
    return dict(keyed or record.inputs)


def _environment(a: Capsule, b: Capsule) -> Iterator[Difference]:
    """The variables that stages get, without those that name a location or the CI system."""
    skipped = _LOCATIONS | {name for name in {*a.environment, *b.environment} if name.startswith("RONDEL_")}
    old, new = (
        {name: value for name, value in each.environment.items() if name not in skipped} for each in (a, b)
    )
    yield from _maps("environment", old, new)
    names = [dict.fromkeys(each.secrets, "given") for each in (a, b)]
    yield from _maps("environment", names[0], names[1], prefix="secret ")


def _engine(a: Capsule, b: Capsule) -> Iterator[Difference]:
    if a.engine is None or b.engine is None:
        return
    for name in ("kind", "version", "mode"):
        old, new = getattr(a.engine, name), getattr(b.engine, name)
        if old != new:
            yield Difference(part="engine", entry=name, a=old, b=new)
    if a.host.rondel != b.host.rondel:
        yield Difference(part="engine", entry="rondel", a=a.host.rondel, b=b.host.rondel)


def _hardware(a: Capsule, b: Capsule) -> Iterator[Difference]:
    for name in ("machine", "cpus", "memory_bytes", "system", "distribution", "python"):
        old, new = getattr(a.host, name), getattr(b.host, name)
        if old != new:
            yield Difference(part="hardware", entry=name, a=old, b=new)


def _results(pairs: list[tuple[StageRecord, StageRecord]]) -> Iterator[Difference]:
    for one, other in pairs:
        name = one.name
        if (one.state in DONE) != (other.state in DONE):
            yield Difference(part="state", entry=name, a=one.state, b=other.state, stage=name)
            continue
        if one.state not in DONE:
            if one.exit_code != other.exit_code:
                yield Difference(part="exit code", entry=name, a=one.exit_code, b=other.exit_code, stage=name)
            continue
        # A cached stage's record may have fewer outputs than the record of the run that made them.
        for path in sorted(one.outputs.keys() & other.outputs.keys()):
            if one.outputs[path] != other.outputs[path]:
                yield Difference(
                    part="output", entry=path, a=one.outputs[path], b=other.outputs[path], stage=name
                )
        if {one.state, other.state}.isdisjoint({"cached"}):
            for path in sorted(one.outputs.keys() ^ other.outputs.keys()):
                yield Difference(
                    part="output",
                    entry=path,
                    a=one.outputs.get(path),
                    b=other.outputs.get(path),
                    stage=name,
                )
        for metric in sorted({*one.metrics, *other.metrics}):
            if one.metrics.get(metric) != other.metrics.get(metric):
                yield Difference(
                    part="metric",
                    entry=metric,
                    a=one.metrics.get(metric),
                    b=other.metrics.get(metric),
                    stage=name,
                )
