"""``ctx.register``: make a version of a registered model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from rondel.operations.operation import Call, ModelChange, Operation
from rondel.pipeline import StageCall

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rondel.operations.project import Project
    from rondel.operations.runtime import StageRuntime
    from rondel.registry.versions import ModelVersion


@dataclass(frozen=True, kw_only=True)
class Register(Operation["ModelVersion"]):
    """Make a new version of ``model`` from what the run's stages logged, and point ``alias`` at it."""

    kind = "register"
    effect = True

    model: str
    alias: str | None = "challenger"
    artifact: str | None = None
    log: str | None = None
    model_file: str | None = None

    @classmethod
    def call(
        cls,
        name: str,
        alias: str | None = "challenger",
        *,
        artifact: str | None = None,
        log: str | None = None,
        model_file: str | None = None,
    ) -> Self:
        """Make a version of the registered model ``name`` from what this run's stages logged.

        The version records the run's lineage and verdict; afterwards ``alias``
        points at it. Repeating a run after a crash registers nothing twice.
        ``artifact`` names the logged model if a stage logged several.

        A stage that DVC restored did not run, so it logged nothing. If no
        earlier run on this server logged the model either, the command ``log``
        does. It runs with the model file and the dependencies of its stage in
        place. A folder in MLflow's format needs no command. ``model_file``
        names the model file if it is unclear.

        Raises DataError if there is no model, StageFailed if ``log`` fails,
        TrackingUnavailable if the server does not answer.
        """
        return cls(model=name, alias=alias, artifact=artifact, log=log, model_file=model_file)

    @classmethod
    def from_call(cls, call: Call) -> Self:
        """The registration of a call."""
        details = dict(call.details)
        alias = details.get("alias", "challenger")
        if isinstance(call, StageCall) and call.args[1:]:
            alias = call.args[1]
        return cls(
            model=str(details.get("name") or call.name),
            alias=alias,
            artifact=details.get("artifact"),
            log=details.get("log"),
            model_file=details.get("model_file"),
        )

    @property
    def name(self) -> str:
        """The registered model."""
        return self.model

    @property
    def details(self) -> Mapping[str, Any]:
        """The other arguments."""
        given = {"artifact": self.artifact, "log": self.log, "model_file": self.model_file}
        return {"alias": self.alias, **{name: value for name, value in given.items() if value is not None}}

    async def run(self, runtime: StageRuntime) -> ModelVersion:
        """Register the model."""
        from rondel.operations.register.run import Registrar

        return await Registrar(runtime).register(
            self.model,
            self.alias,
            artifact=self.artifact,
            log=self.log,
            model_file=self.model_file,
        )

    def affects(self) -> Sequence[ModelChange]:
        """The model."""
        return [ModelChange(action="register", reference=self.model)] if self.model else []

    def describe(self, project: Project, given: Mapping[str, Any]) -> Sequence[str]:
        """The model and its alias."""
        return [f"register {self.model}{f' as {self.alias}' if self.alias else ''}".rstrip()]
