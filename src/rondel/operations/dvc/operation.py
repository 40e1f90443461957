"""``ctx.dvc``: a stage of ``dvc.yaml``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from rondel.errors import ConfigurationError, did_you_mean
from rondel.operations.operation import Call, KeyParts, Operation
from rondel.operations.parameters import FileParameter

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from rondel.operations.dvc.commands import DvcOutcome
    from rondel.operations.parameters import SettableParameter
    from rondel.operations.project import DvcResults, Project
    from rondel.operations.runtime import StageRuntime
    from rondel.pipeline import Stage


@dataclass(frozen=True, kw_only=True)
class DvcStageRun(Operation["DvcOutcome"]):
    """A stage of ``dvc.yaml``, with values for some of its parameters."""

    kind = "dvc"
    keeps_results = True

    stage: str
    params: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def call(cls, name: str, /, params: Mapping[str, Any] | None = None, **more: Any) -> Self:
        """Bring a stage of ``dvc.yaml`` up to date, and push its outputs.

        Its command runs in the stage's container with its dependencies in
        place; the image doesn't need DVC. It does not run if an earlier result
        has the same key. First brings the stages up to date that it depends on
        and that the pipeline does not run itself.

        ``params`` sets parameters for this call, by dotted key, in the
        container's copy of the parameter file, not in the working tree. After
        the stage succeeded, its metrics, plots, uncached outputs and entry in
        ``dvc.lock`` are copied to the working tree. If parameters differ from
        the parameter files, they stay in the run's folder instead.

        Raises StageFailed if the command fails, DataError if data can't be
        pulled or pushed, ConfigurationError for an unknown stage or parameter.
        """
        return cls(stage=name, params={**(params or {}), **more})

    @classmethod
    def from_call(cls, call: Call) -> Self:
        """The stage of a call, with the parameters in the source or the record."""
        return cls(stage=call.name, params=call.details.get("params", call.details))

    @property
    def name(self) -> str:
        """The stage of ``dvc.yaml``."""
        return self.stage

    @property
    def details(self) -> Mapping[str, Any]:
        """The parameters of this call."""
        return {"params": dict(self.params)} if self.params else {}

    async def run(self, runtime: StageRuntime) -> DvcOutcome:
        """Bring the stage up to date."""
        from rondel.operations.dvc.run import DvcRunner

        return await DvcRunner(runtime).bring_up_to_date(self.stage, self.params)

    def check(self, stage: Stage, project: Project) -> Iterator[ConfigurationError]:
        """Check that ``dvc.yaml`` has the stage."""
        known = project.dvc_stages()
        if not self.stage or self.stage in known:
            return
        from rondel.data.project import ADD_STAGE, no_stages

        why = "which dvc.yaml does not have" if known else f"but {no_stages(project.root)}"
        yield ConfigurationError(
            f"stage {stage.name!r} uses the dvc stage {self.stage!r}, {why}",
            hint=did_you_mean(self.stage, known) if known else ADD_STAGE,
            place=str(self.place or stage.place),
        )

    def check_inputs(
        self, stage: Stage, project: Project, given: Mapping[str, Any], *, files_known: bool
    ) -> Iterator[ConfigurationError]:
        """Check that the stage's files and parameters exist, or that another stage makes them."""
        if not self.stage or not files_known:
            return
        try:
            project.check_dvc(self.stage, given, self.params)
        except ConfigurationError as error:
            yield error

    def values(self, stage: Stage, given: Mapping[str, Any]) -> dict[str, Any]:
        """The parameters that are set by the matrix, the command line, and this call."""
        return {**stage.variant, **given, **self.params}

    def add_to_key(
        self, key: KeyParts, number: int, stage: Stage, project: Project, given: Mapping[str, Any]
    ) -> None:
        """Command, files and parameters of the stage and of those that run with it."""
        for inputs in project.dvc_inputs(self.stage, self.values(stage, given)):
            key.command[f"dvc {inputs.address}"] = inputs.command
            key.inputs |= inputs.files
            key.parameters |= inputs.params

    def parameters(self, stage: Stage, project: Project) -> Mapping[str, SettableParameter]:
        """The dotted keys of the stage's parameter files."""
        known = project.dvc_parameters(self.stage) if self.stage else {}
        return {name: FileParameter(name, value) for name, value in known.items()}

    def outputs(self, project: Project) -> Sequence[str]:
        """The outputs that ``dvc.yaml`` declares."""
        return project.dvc_outputs(self.stage)

    def results(
        self, stage: Stage, project: Project, given: Mapping[str, Any], shell_run: str | None
    ) -> DvcResults:
        """The results of earlier runs with the same key."""
        return project.dvc_results(self.stage, self.values(stage, given), git=stage.git, shell_run=shell_run)

    def describe(self, project: Project, given: Mapping[str, Any]) -> Sequence[str]:
        """The commands that run."""
        if not self.stage:
            return ["dvc"]
        return [f"dvc {each.address}: {each.command}" for each in project.dvc_inputs(self.stage, given)]


def dvc_stage_names(operations: Iterable[Operation[Any]]) -> tuple[str, ...]:
    """The stages of ``dvc.yaml`` that these operations run, if the source names them literally."""
    names = (each.stage for each in operations if isinstance(each, DvcStageRun) and each.stage)
    return tuple(dict.fromkeys(names))
