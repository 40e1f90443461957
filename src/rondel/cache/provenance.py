"""``rondel.lock``: which key made each entry of ``dvc.lock``. Commit it with ``dvc.lock``.

``dvc.lock`` records what a result was made from as far as DVC knows: command,
dependencies, parameters. ``rondel.lock`` adds the digests of all key parts,
which include the image, the machine if it replaced the base image, variables,
and undeclared files. A clone with both files can tell whether an entry is
still valid. If nothing records what made an entry, its stage runs.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rondel.cache.key import digest, part_digests
from rondel.files.atomic import write_atomic

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from rondel.cache.entries import DvcCacheEntry

FILE = "rondel.lock"
_ABOUT = "Made by Rondel beside dvc.lock: what made each of its entries. Commit both."


@dataclass(frozen=True, kw_only=True, slots=True)
class Provenance:
    """What made one entry of ``dvc.lock``.

    ``entry`` is the digest of the entry, ``parts`` are the digests of the key
    parts. ``undeclared`` are the undeclared files that the command read; None if
    unknown. ``quiet`` are more such files, which are not reported. ``source`` and
    ``image`` are the image's origin and digest.
    """

    entry: str
    run: str
    parts: Mapping[str, str] = field(default_factory=dict)
    undeclared: tuple[str, ...] | None = None
    quiet: tuple[str, ...] = ()
    source: str | None = None
    image: str | None = None

    @classmethod
    def of(cls, cache_entry: DvcCacheEntry, entry: Mapping[str, Any]) -> Provenance:
        """The provenance of a cached result with this ``dvc.lock`` entry."""
        return cls(
            entry=entry_digest(entry),
            run=cache_entry.run,
            parts=part_digests(cache_entry.key),
            undeclared=cache_entry.undeclared,
            quiet=cache_entry.quiet,
            source=cache_entry.image.source if cache_entry.image else None,
            image=cache_entry.image.digest if cache_entry.image else None,
        )


def entry_digest(entry: Mapping[str, Any]) -> str:
    """The digest of a ``dvc.lock`` entry, independent of its layout."""
    return digest(json.loads(json.dumps(entry, default=str)))


def read_provenance(root: Path) -> dict[str, Provenance]:
    """Read ``rondel.lock``, by stage address; empty if it is missing or damaged, so that all stages run."""
    try:
        stages = json.loads((root / FILE).read_bytes())["stages"]
        return {str(address): _read(value) for address, value in stages.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _read(value: Mapping[str, Any]) -> Provenance:
    undeclared = value.get("undeclared")
    return Provenance(
        entry=str(value["entry"]),
        run=str(value["run"]),
        parts={str(name): str(part) for name, part in value["parts"].items()},
        undeclared=None if undeclared is None else tuple(map(str, undeclared)),
        quiet=tuple(map(str, value.get("quiet", ()))),
        source=value.get("source"),
        image=value.get("image"),
    )


def write_provenance(root: Path, found: Mapping[str, Provenance]) -> None:
    """Update the records of these stages. The caller holds the working tree's lock."""
    known = read_provenance(root)
    merged = {**known, **found}
    if merged == known and (root / FILE).exists():
        return
    stages = {
        address: {
            "entry": each.entry,
            "image": each.image,
            **({"quiet": list(each.quiet)} if each.quiet else {}),
            "parts": dict(sorted(each.parts.items())),
            "run": each.run,
            "source": each.source,
            "undeclared": None if each.undeclared is None else list(each.undeclared),
        }
        for address, each in sorted(merged.items())
    }
    text = json.dumps({"about": _ABOUT, "stages": stages}, indent=1, ensure_ascii=False)
    write_atomic(root / FILE, text.encode() + b"\n")
