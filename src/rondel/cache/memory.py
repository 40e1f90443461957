"""The memory of a stage's last success: ``.rondel/stages/NAME.json``."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from rondel.record import KeyRecord, UseRecord, VerdictRecord
from rondel.record.folder import write_atomically

if TYPE_CHECKING:
    from pathlib import Path

FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class StageMemory:
    """What a stage's last success was made of, and what it made.

    ``uses`` are the context calls that it made then: with the same code it
    makes the same ones, so the next key is made from them before it runs.
    ``outputs`` maps files of the workspace to hashes, ``made`` all that the
    stage made, also what lies in DVC's cache only.
    """

    key: KeyRecord
    run: str
    uses: tuple[UseRecord, ...] = ()
    image_source: str | None = None
    outputs: dict[str, str] = field(default_factory=dict)
    made: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    verdicts: tuple[VerdictRecord, ...] = ()
    mlflow: str | None = None


def _file(root: Path, stage: str) -> Path:
    return root / ".rondel" / "stages" / f"{re.sub(r'[^A-Za-z0-9._=,-]+', '_', stage)}.json"


def remember(root: Path, stage: str, memory: StageMemory) -> None:
    """Keep the memory of a stage's success; atomic."""
    data = json.dumps({"format": FORMAT, "stage": stage, **asdict(memory)}, indent=1)
    write_atomically(_file(root, stage), data.encode() + b"\n")


def recall(root: Path, stage: str) -> StageMemory | None:
    """The stage's last success; None if there is none, or if its file is damaged or of another format.

    A memory is only ever a reason not to work, so what cannot be read is as good as absent.
    """
    try:
        data: dict[str, Any] = json.loads(_file(root, stage).read_bytes())
        if data["format"] != FORMAT or data["stage"] != stage:
            return None
        return StageMemory(
            key=KeyRecord(digest=str(data["key"]["digest"]), parts=dict(data["key"]["parts"])),
            run=str(data["run"]),
            uses=tuple(UseRecord(**use) for use in data["uses"]),
            image_source=data["image_source"],
            outputs=dict(data["outputs"]),
            made=dict(data.get("made", data["outputs"])),
            metrics={name: float(value) for name, value in data["metrics"].items()},
            verdicts=tuple(VerdictRecord(**verdict) for verdict in data["verdicts"]),
            mlflow=data["mlflow"],
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def forget(root: Path, stage: str) -> None:
    """Remove the memory of a stage: it is about to run, and may leave half a result behind."""
    _file(root, stage).unlink(missing_ok=True)


def remembered_runs(root: Path) -> frozenset[str]:
    """The runs that a stage's last success is from: their records are still needed."""
    found = set()
    for file in (root / ".rondel" / "stages").glob("*.json"):
        try:
            found.add(str(json.loads(file.read_bytes())["run"]))
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return frozenset(found)
