"""Which file of DVC's is the model that a server does not have, and how it is logged again; pure."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rondel.data.model import overlap
from rondel.errors import ConfigurationError, DataError, StageFailed
from rondel.operations.evaluation import model_of, read_evaluation
from rondel.operations.program import Program

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rondel.data import DvcProject
    from rondel.operations.evaluation import Evaluation
    from rondel.operations.program import Done
    from rondel.record import StageRecord

LOG_PROGRAM = "/rondel/log_model.py"
NO_MLMODEL = 65
"""What the program ends with when the folder is not in MLflow's format."""

RESTORED_TAG = "rondel.restored"


@dataclass(frozen=True, kw_only=True, slots=True)
class Restorable:
    """A model that DVC keeps: its path, the stage of ``dvc.yaml`` that makes it, the record that tells of it.

    ``made`` is how the lock file says it was made; ``digest`` its DVC hash.
    """

    path: str
    digest: str
    made: Evaluation
    record: StageRecord

    @property
    def folder(self) -> bool:
        """Whether it is a folder."""
        return self.digest.endswith(".dir")


def restorable(
    project: DvcProject, records: Sequence[StageRecord], *, model: str, model_file: str | None = None
) -> Restorable | None:
    """The model that the stages of these records made with DVC; None where they made nothing with it.

    Raises ConfigurationError when it is not clear which output is the model.
    """
    path = model_file or _judged(project, records, model) or _last_output(project, records)
    if path is None:
        return None
    maker = project.producer(path)
    entry = None if maker is None else project.lock.get(maker.address)
    record = next((each for each in reversed(records) if path in each.outputs), None)
    if maker is None or entry is None or record is None:
        if model_file is None:
            return None
        raise ConfigurationError(
            f"{model_file} is no output of the stages that this one needs",
            hint="model_file= names an output of a stage of dvc.yaml, as written there",
        )
    made = read_evaluation(project, maker, entry)
    return Restorable(path=path, digest=record.outputs[path], made=made, record=record)


def _judged(project: DvcProject, records: Sequence[StageRecord], model: str) -> str | None:
    """The model file of the evaluation whose metrics the gate judged."""
    for record in reversed(records):
        for use in record.uses:
            metrics = use.details.get("metrics")
            if use.kind != "gate" or use.name not in {model, ""} or not isinstance(metrics, str):
                continue
            if named := use.details.get("model_file"):
                return str(named)
            stage = project.owner_of(metrics)
            found = model_of(project, stage)[0] if stage is not None else None
            if found is not None:
                return found
    return None


def _last_output(project: DvcProject, records: Sequence[StageRecord]) -> str | None:
    """The one cached output that no other stage of ``dvc.yaml`` reads; None if there is none."""
    made = {path for record in records for path in record.outputs}
    read = [dep for stage in project.stages.values() for dep in stage.deps]
    last = [
        out.path
        for stage in project.stages.values()
        for out in stage.outs
        if out.cached
        and out.kind == "out"
        and out.path in made
        and not any(overlap(dep, out.path) for dep in read)
    ]
    if len(last) > 1:
        raise ConfigurationError(
            f"it is not clear which output is the model: {', '.join(last)}",
            hint="name it: ctx.register(…, model_file='…')",
        )
    return last[0] if last else None


def logging(project: DvcProject, model: Restorable, command: str) -> Program:
    """What is done to log the model: it and its stage's data are brought, the command runs."""
    return Program(needs=project.data_needed_for([model.path, *model.made.stage.deps]), commands=(command,))


def logging_command(model: Restorable, name: str, log: str | None) -> str:
    """The command that logs the model: the team's own, else the program for folders in MLflow's format.

    Raises DataError when a single file would have to be logged: what is in it, only the team knows.
    """
    if log is not None:
        return log
    if not model.folder:
        raise DataError(
            "there is no model to register",
            why=f"no run on this MLflow server logged it; DVC has {model.path}, "
            f"so stage {model.record.name!r} did not run again",
            hint="say how that file is logged: ctx.register(…, log='python log_model.py'), and it is logged "
            "again without training; or train anew with --no-cache",
        )
    return shlex.join(["python", LOG_PROGRAM, model.path, name])


def logging_failure(model: Restorable, done: Done, command: str) -> DataError | StageFailed:
    """What it means that the program failed."""
    code = done.code
    if done.phase in {"model", "data"}:
        return DataError(
            f"{model.path} is lost: neither this MLflow server nor the DVC remote has it",
            why=f"stage {model.record.name!r} made it ({model.digest}), and DVC cannot bring it",
            hint="`dvc push` where it still is, or train anew: --no-cache",
        )
    if code == NO_MLMODEL and LOG_PROGRAM in command:
        return DataError(
            "there is no model to register",
            why=f"{model.path} is a folder without a file MLmodel, so it cannot be logged as it is",
            hint="say how it is logged: ctx.register(…, log='python log_model.py'); "
            "or train anew with --no-cache",
        )
    return StageFailed(
        f"the command that logs {model.path} again ended with exit code {code}",
        why=f"command: {command}",
        hint="it finds that file and what its stage depends on in place, and MLFLOW_RUN_ID set",
    )
