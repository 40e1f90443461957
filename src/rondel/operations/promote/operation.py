"""``ctx.promote``: move an alias to another version."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from rondel.operations.operation import Call, ModelChange, Operation

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rondel.errors import ConfigurationError
    from rondel.operations.project import Project
    from rondel.operations.runtime import StageRuntime
    from rondel.pipeline import Stage
    from rondel.registry.promote import AliasChange


@dataclass(frozen=True, kw_only=True)
class Promote(Operation["AliasChange"]):
    """Move the alias ``to`` to the version that ``reference`` names."""

    kind = "promote"
    effect = True

    reference: str
    to: str = "champion"
    force: bool = False
    reason: str = ""

    @classmethod
    def call(cls, reference: str, *, to: str = "champion", force: bool = False, reason: str = "") -> Self:
        """Move the alias ``to`` to the version that ``reference`` names.

        A model name without version or alias means its challenger. Raises
        GateFailed with every unmet condition; see ``rondel promote``.
        """
        return cls(reference=reference, to=to, force=force, reason=reason)

    @classmethod
    def from_call(cls, call: Call) -> Self:
        """The promotion of a call."""
        details = dict(call.details)
        return cls(
            reference=str(details.pop("reference", call.name)),
            **{name: details[name] for name in ("to", "force", "reason") if name in details},
        )

    @property
    def name(self) -> str:
        """The model, with alias or version."""
        return self.reference

    @property
    def details(self) -> Mapping[str, Any]:
        """The alias, and the reason if the conditions are overridden."""
        forced = {"force": True} if self.force else {}
        return {"to": self.to, **forced, **({"reason": self.reason} if self.reason else {})}

    async def run(self, runtime: StageRuntime) -> AliasChange:
        """Move the alias."""
        from rondel.operations.promote.run import promote_version

        return await promote_version(
            runtime, self.reference, to=self.to, force=self.force, reason=self.reason
        )

    def check(self, stage: Stage, project: Project) -> Iterator[ConfigurationError]:
        """Check the alias, and that overriding the conditions has a reason."""
        from rondel.errors import ConfigurationError
        from rondel.registry.aliases import check_alias
        from rondel.registry.promote import check_override

        try:
            check_alias(self.to)
            if self.literal:
                check_override(force=self.force, reason=self.reason)
        except ConfigurationError as error:
            error.place = error.place or str(self.place or stage.place)
            yield error

    def affects(self) -> Sequence[ModelChange]:
        """The model's alias."""
        return [ModelChange(action="promote", reference=self.reference)] if self.reference else []

    def describe(self, project: Project, given: Mapping[str, Any]) -> Sequence[str]:
        """The version and the alias."""
        return [f"promote {self.reference} to {self.to}"]
