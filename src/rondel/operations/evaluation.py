"""How a model was evaluated, and how to evaluate another one in the same way; pure.

A gate's metrics come from a stage of ``dvc.yaml``. Its entry in ``dvc.lock``
has the test data, code, parameters and command of the evaluation. With the
image these are the *parts* of an evaluation. A registered version keeps them
as tags, so that a later gate knows whether the metrics of champion and
challenger are comparable. If not, the gate runs the same command with the
champion's model file in place of the challenger's.
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
    """An evaluation: its DVC stage, its metrics file, the path of the model, and its parts.

    ``model`` is None if it is unclear which dependency is the model; ``unclear``
    then says why. ``parts`` maps readable names (``data …``, ``code …``,
    ``parameter …``, ``command``, ``image …``) to hashes or values.
    """

    stage: DvcStage
    metrics: str
    model: str | None = None
    model_hash: str | None = None
    model_bytes: int | None = None
    unclear: str = ""
    params: Mapping[str, Any] = field(default_factory=dict)
    parts: Mapping[str, str] = field(default_factory=dict)

    def differences(self, other: Mapping[str, str]) -> list[str]:
        """The names of the parts that differ from another evaluation's: data first, the image last."""
        changed = {name for name in {*self.parts, *other} if self.parts.get(name) != other.get(name)}
        return sorted(changed, key=lambda name: (_KINDS.get(name.partition(" ")[0], len(_KINDS)), name))

    def size_metric(self) -> dict[str, float]:
        """``model_mb``: the size of the model file in millions of bytes, from its lock entry."""
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
    """The evaluation that the lock entry of ``stage`` describes.

    ``model`` is the path of the model file, if :func:`model_of` can't find it;
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
    """Which dependency of an evaluation is the model; or None, and why that is unclear.

    It is the dependency whose stage comes after those of all others: the model
    is made from the data, not the other way round.
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
    if not last:
        return (
            None,
            f"no dependency of {stage.name} is the output of a stage; name the model with model_file=",
        )
    return None, f"{stage.name} has several candidates for the model: {', '.join(last)}; use model_file="


def champion_model(outputs: Mapping[str, str], evaluation: Evaluation) -> tuple[str | None, str]:
    """The DVC hash of the champion's model file in its lineage; or None, and why there is none."""
    if evaluation.model is None:
        return None, evaluation.unclear
    digest = outputs.get(evaluation.model)
    if digest is None:
        return None, f"its lineage has no hash of {evaluation.model}"
    return digest, ""


def evaluation_program(
    evaluation: Evaluation,
    project: DvcProject,
    *,
    swap: str | None = None,
    evaluate: bool = False,
    measure: str | None = None,
    collect: Sequence[str] = (),
) -> Program:
    """The program that evaluates a model.

    ``swap`` is the hash of another model to evaluate; ``evaluate`` runs the
    stage's command, ``measure`` is a command that prints more metrics.
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
