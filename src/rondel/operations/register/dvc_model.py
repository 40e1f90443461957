"""Finds the model file that DVC keeps, and makes the program that logs it to MLflow again; pure."""

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
    from rondel.operations.program import ProgramResult
    from rondel.record import StageRecord

LOG_PROGRAM = "/rondel/log_model.py"
NO_MLMODEL = 65
"""The program's exit code for a folder that is not in MLflow's format."""

RESTORED_TAG = "rondel.restored"


@dataclass(frozen=True, kw_only=True, slots=True)
class DvcModel:
    """A model that DVC keeps, with its DVC hash.

    ``made`` is the stage of ``dvc.yaml`` that made it, with its inputs from the
    lock file; ``record`` is the pipeline stage that ran it.
    """

    path: str
    digest: str
    made: Evaluation
    record: StageRecord

    @property
    def folder(self) -> bool:
        """Whether it is a folder."""
        return self.digest.endswith(".dir")


def find_dvc_model(
    project: DvcProject, records: Sequence[StageRecord], *, model: str, model_file: str | None = None
) -> DvcModel | None:
    """The model that the stages of these records made with DVC; None if they made none.

    Raises ConfigurationError if it is unclear which output is the model.
    """
    path = model_file or _evaluated_model(project, records, model) or _last_output(project, records)
    if path is None:
        return None
    maker = project.producer(path)
    entry = None if maker is None else project.lock.get(maker.address)
    record = next((each for each in reversed(records) if path in each.outputs), None)
    if maker is None or entry is None or record is None:
        if model_file is None:
            return None
        raise ConfigurationError(
            f"{model_file} is not an output of the stages that this one needs",
            hint="set model_file= to an output of a stage of dvc.yaml, as written there",
        )
    made = read_evaluation(project, maker, entry)
    return DvcModel(path=path, digest=record.outputs[path], made=made, record=record)


def _evaluated_model(project: DvcProject, records: Sequence[StageRecord], model: str) -> str | None:
    """The model file of the evaluation whose metrics a gate judged."""
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
    """The only cached output that no stage of ``dvc.yaml`` reads; None if there is none."""
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
            f"it is unclear which output is the model: {', '.join(last)}",
            hint="name it with ctx.register(…, model_file='…')",
        )
    return last[0] if last else None


def logging_program(project: DvcProject, model: DvcModel, command: str) -> Program:
    """The program that logs the model: fetches it and its stage's dependencies, and runs the command."""
    return Program(needs=project.data_needed_for([model.path, *model.made.stage.deps]), commands=(command,))


def logging_command(model: DvcModel, name: str, log: str | None) -> str:
    """The command that logs the model: ``log`` if given, else the program for folders in MLflow's format.

    Raises DataError for a single file without ``log``: only the team knows its format.
    """
    if log is not None:
        return log
    if not model.folder:
        raise DataError(
            "there is no model to register",
            why=f"no run on this MLflow server logged it; DVC has {model.path}, "
            f"so stage {model.record.name!r} did not run again",
            hint="add a command that logs that file, ctx.register(…, log='python log_model.py'), "
            "or train again with --no-cache",
        )
    return shlex.join(["python", LOG_PROGRAM, model.path, name])


def logging_failure(model: DvcModel, done: ProgramResult, command: str) -> DataError | StageFailed:
    """The error for a program that failed to log the model."""
    code = done.code
    if done.phase in {"model", "data"}:
        return DataError(
            f"{model.path} is lost: neither this MLflow server nor the DVC remote has it",
            why=f"stage {model.record.name!r} made it ({model.digest}), and DVC can't fetch it",
            hint="run `dvc push` on a machine that has it, or train again with --no-cache",
        )
    if code == NO_MLMODEL and LOG_PROGRAM in command:
        return DataError(
            "there is no model to register",
            why=f"{model.path} is a folder without an MLmodel file, so it can't be logged as it is",
            hint="add a command that logs it, ctx.register(…, log='python log_model.py'), "
            "or train again with --no-cache",
        )
    return StageFailed(
        f"the command that logs {model.path} again ended with exit code {code}",
        why=f"command: {command}",
        hint="it runs with that file and the dependencies of its stage in place, and with MLFLOW_RUN_ID set",
    )
