"""How a model was measured, and how another one is measured the same way; pure.

A gate's metrics come from a stage of ``dvc.yaml``. Its entry in ``dvc.lock``
says what it measured with: test data, code, parameters, command. With the
image these are the *parts* of an evaluation. They are tags of a registered
version, so that a later gate can tell whether its champion's metrics are
comparable with its challenger's, and if not, run the same command once more
with the champion's model file in place of the challenger's.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rondel.data.model import overlap
from rondel.data.params import leaves
from rondel.data.project import join, lock_hash
from rondel.operations.program import Program

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rondel.data import DvcProject, DvcStage

MEGABYTE = 1_000_000
MODEL_SIZE = "model_mb"
_KINDS = {kind: number for number, kind in enumerate(("data", "code", "command", "parameter", "image"))}


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """An evaluation: the DVC stage that measured, its file of metrics, which file its model is, its parts.

    ``model`` is None where it is not clear which dependency is the model;
    ``unclear`` then says why. ``parts`` map names in words (``data …``,
    ``code …``, ``parameter …``, ``command``, ``image …``) to hashes or values.
    """

    stage: DvcStage
    metrics: str
    model: str | None = None
    model_hash: str | None = None
    model_bytes: int | None = None
    unclear: str = ""
    params: Mapping[str, Any] = field(default_factory=dict)
    parts: Mapping[str, str] = field(default_factory=dict)

    def differs(self, other: Mapping[str, str]) -> list[str]:
        """The parts in which another evaluation is different, by name: data first, the image last."""
        changed = {name for name in {*self.parts, *other} if self.parts.get(name) != other.get(name)}
        return sorted(changed, key=lambda name: (_KINDS.get(name.partition(" ")[0], len(_KINDS)), name))

    def measured(self) -> dict[str, float]:
        """``model_mb``: the size of the model's file in millions of bytes, as its DVC entry has it."""
        return {} if self.model_bytes is None else {MODEL_SIZE: round(self.model_bytes / MEGABYTE, 6)}


def read_evaluation(
    project: DvcProject,
    stage: DvcStage,
    entry: Mapping[str, Any],
    *,
    metrics: str = "",
    model: str | None = None,
    image: Mapping[str, str] | None = None,
) -> Evaluation:
    """The evaluation that ``entry``, the lock's entry of ``stage``, tells of.

    ``model`` names the model's file where :func:`model_of` would not find it;
    ``image`` is the recipe of the image.
    """
    found, unclear = (model, "") if model else model_of(project, stage)
    parts: dict[str, str] = {}
    size = digest = None
    data_paths = project.data_paths()
    for dep in entry.get("deps") or ():
        path, value = join(stage.wdir, str(dep["path"])), lock_hash(dep) or "unknown"
        if path == found:
            digest, size = value, dep.get("size")
        else:
            kind = "data" if any(overlap(path, each) for each in data_paths) else "code"
            parts[f"{kind} {path}"] = value
    if found and digest is None:
        found, unclear = None, f"{stage.name} does not depend on {found}"
    params = {key: value for values in (entry.get("params") or {}).values() for key, value in leaves(values)}
    parts |= {f"parameter {key}": json.dumps(value, default=str) for key, value in params.items()}
    parts["command"] = _digest(entry.get("cmd"))
    parts |= {f"image {name}": value for name, value in (image or {}).items()}
    return Evaluation(
        stage=stage,
        metrics=metrics,
        model=found,
        model_hash=digest,
        model_bytes=size if isinstance(size, int) else None,
        unclear=unclear,
        params=params,
        parts=parts,
    )


def model_of(project: DvcProject, stage: DvcStage) -> tuple[str | None, str]:
    """Which dependency of an evaluation is the model; or None, and why that is not clear.

    It is the one whose stage stands below those of all the others: what is
    trained is made from data, and data is not made from it.
    """
    makers = {
        dep: maker
        for dep in stage.deps
        if (maker := project.producer(dep)) is not None
        and any(out.path == dep and out.cached for out in maker.outs)
    }
    above = {address for maker in makers.values() for address in project.upstream(maker.address)}
    last = [dep for dep, maker in makers.items() if maker.address not in above]
    if len(last) == 1:
        return last[0], ""
    what = "none" if not last else "any of " + ", ".join(last)
    return None, f"of what {stage.name} depends on, {what} may be the model: name it with model_file="


def champion_model(outputs: Mapping[str, str], evaluation: Evaluation) -> tuple[str | None, str]:
    """The DVC hash of the champion's model file by its lineage; or None, and why there is none."""
    if evaluation.model is None:
        return None, evaluation.unclear
    digest = outputs.get(evaluation.model)
    if digest is None:
        return None, f"its lineage has no hash of {evaluation.model}"
    return digest, ""


def measuring(
    evaluation: Evaluation,
    project: DvcProject,
    *,
    swap: str | None = None,
    evaluate: bool = False,
    measure: str | None = None,
    collect: Sequence[str] = (),
) -> Program:
    """What is done to measure a model.

    ``swap`` is the hash of another model to measure; ``evaluate`` runs the
    stage's command, ``measure`` a command that prints further metrics.
    """
    stage = evaluation.stage
    maker = project.producer(evaluation.model) if evaluation.model else None
    models = []
    if swap and maker and evaluation.model:
        models.append(
            {
                "lock": maker.lock_file,
                "stage": maker.name,
                "wdir": maker.wdir,
                "path": evaluation.model,
                "md5": swap.partition(":")[2] or swap,
            }
        )
    return Program(
        models=tuple(models),
        needs=project.data_needed_for(stage.deps),
        commands=stage.cmd if evaluate else (),
        wdir=stage.wdir,
        remove=tuple(out.path for out in stage.outs) if evaluate else (),
        measure=measure,
        collect=tuple(collect),
        size=evaluation.model,
    )


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()
