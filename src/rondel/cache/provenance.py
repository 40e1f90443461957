"""``rondel.lock``: which key made each entry of ``dvc.lock``. It belongs into git beside that.

DVC's lock says what a result was made from as far as DVC knows: command,
dependencies, parameters. This file says the rest, by digest: the image, the
machine where it stood in for one, variables, and files that were read beside
the declared ones. A clone that has both files knows whether an entry holds
under its own key; an entry without such a record is nobody's result, and its
stage runs.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rondel.cache.key import digest
from rondel.record.folder import write_atomically

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FILE = "rondel.lock"
_ABOUT = "Made by Rondel beside dvc.lock: what made each of its entries. Commit both."


@dataclass(frozen=True, kw_only=True, slots=True)
class Provenance:
    """What made one entry of ``dvc.lock``.

    ``entry`` is the digest of the entry, ``parts`` those of the parts of the
    key that it was made under. ``undeclared`` are files that the command read
    beside its dependencies, None where that is not known. ``source`` and
    ``image`` are the origin and the digest of the image.
    """

    entry: str
    run: str
    parts: Mapping[str, str] = field(default_factory=dict)
    undeclared: tuple[str, ...] | None = None
    quiet: tuple[str, ...] = ()
    source: str | None = None
    image: str | None = None


def entry_digest(entry: Mapping[str, Any]) -> str:
    """The digest of an entry of ``dvc.lock``, however it is laid out."""
    return digest(json.loads(json.dumps(entry, default=str)))


def read_provenance(root: Path) -> dict[str, Provenance]:
    """What the file says, by the stage's address. What can't be read says nothing: its stages run."""
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
    """Put these records in; those of other stages stay. The caller holds the lock of the working tree."""
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
    write_atomically(root / FILE, text.encode() + b"\n")
