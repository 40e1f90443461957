"""``ctx.mlflow``: an entry point of the project's ``MLproject`` file."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from rondel.errors import ConfigurationError, did_you_mean
from rondel.operations.operation import Call, KeyParts, Operation
from rondel.operations.parameters import EntryPointParameter

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rondel.operations.parameters import SettableParameter
    from rondel.operations.project import Project
    from rondel.operations.runtime import StageRuntime
    from rondel.pipeline import Stage


@dataclass(frozen=True, kw_only=True)
class EntryPointRun(Operation[None]):
    """An entry point of ``MLproject`` with values for its parameters."""

    kind = "mlflow"
    reads_workspace = True
    changes_container = True

    entry_point: str
    values: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def call(cls, entry_point: str, /, **parameters: Any) -> Self:
        """Run an entry point of the ``MLproject`` file, logging to the stage's MLflow run.

        ``-P STAGE.PARAMETER=VALUE`` on the command line overrides ``parameters``.
        """
        return cls(entry_point=entry_point, values=parameters)

    @classmethod
    def from_call(cls, call: Call) -> Self:
        """The entry point of a call, with the literal values in the source."""
        return cls(entry_point=call.name, values=call.details)

    @property
    def name(self) -> str:
        """The entry point."""
        return self.entry_point

    @property
    def details(self) -> Mapping[str, Any]:
        """The parameters."""
        return self.values

    async def run(self, runtime: StageRuntime) -> None:
        """Run it. Raises StageFailed."""
        from rondel.operations.mlflow.run import run_entry_point

        await run_entry_point(runtime, self.entry_point, self.values)

    def check(self, stage: Stage, project: Project) -> Iterator[ConfigurationError]:
        """Check that ``MLproject`` has the entry point, and that MLflow can run it."""
        if not self.entry_point:
            return
        points = project.entry_points()
        if self.entry_point not in points and not project.runs_script(self.entry_point):
            yield ConfigurationError(
                f"stage {stage.name!r} uses the entry point {self.entry_point!r}, "
                "which MLproject does not have",
                hint=did_you_mean(self.entry_point, points),
                place=str(self.place or stage.place),
            )
            return
        try:
            project.check_entry_point(self.entry_point)
        except ConfigurationError as error:
            yield error

    def check_inputs(
        self, stage: Stage, project: Project, given: Mapping[str, Any], *, files_known: bool
    ) -> Iterator[ConfigurationError]:
        """Check that each parameter without a default has a value, and that each value has the right type."""
        from rondel.data.mlproject import FILE
        from rondel.data.mlproject_check import missing_parameters, value_problem

        declared = project.entry_points().get(self.entry_point)
        if declared is None:
            return
        place = str(self.place or stage.place)
        values = {**self.values, **stage.variant, **given}
        # If the arguments are not literal, only MLflow can find out what is missing.
        unset = missing_parameters(declared, values) if self.literal else ()
        if unset:
            names = ", ".join(repr(name) for name in unset)
            in_code = ", ".join(f"{name}=…" for name in unset)
            call = f"pipeline.mlflow({self.entry_point!r}, {in_code})"
            on_line = " ".join(f"-P {stage.base}.{name}=VALUE" for name in unset)
            yield ConfigurationError(
                f"stage {stage.name!r}: no value for {names} of entry point {self.entry_point!r}",
                why=f"{FILE} has no default for {'it' if len(unset) == 1 else 'them'}",
                hint=f"set it in the pipeline with {call}, or for one run with {on_line}",
                place=place,
            )
        for name, value in values.items():
            if name not in given and (why := value_problem(declared, name, value)):
                yield ConfigurationError(
                    f"stage {stage.name!r}: a value of the wrong type for {name!r}", why=why, place=place
                )

    def add_to_key(
        self, key: KeyParts, number: int, stage: Stage, project: Project, given: Mapping[str, Any]
    ) -> None:
        """The entry point and all of its values."""
        super().add_to_key(key, number, stage, project, given)
        key.parameters |= given

    def parameters(self, stage: Stage, project: Project) -> Mapping[str, SettableParameter]:
        """``STAGE.PARAMETER`` for each parameter that is declared or passed."""
        if not self.entry_point:
            return {}
        declared = project.entry_points().get(self.entry_point, {})
        return {
            f"{stage.base}.{name}": EntryPointParameter(name, declared) for name in {*declared, *self.values}
        }
