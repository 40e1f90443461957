"""The base class of operations.

Each method of a stage's context is an operation: a value that checks itself
before anything starts, adds its part to the stage's key, and describes itself
in a plan. Its coroutine ``run`` executes it. CONTRIBUTING.md shows how to add
one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from rondel.errors import ConfigurationError
    from rondel.operations.parameters import SettableParameter
    from rondel.operations.project import DvcResults, Project
    from rondel.operations.runtime import StageRuntime
    from rondel.pipeline import SourceLocation, Stage

ResultT_co = TypeVar("ResultT_co", covariant=True)


class Call(Protocol):
    """A call of a context method, in the source or in a run's record."""

    @property
    def kind(self) -> str:
        """The method's name."""

    @property
    def name(self) -> str:
        """Its first argument."""

    @property
    def details(self) -> Mapping[str, Any]:
        """Its other arguments as JSON values."""


@dataclass(slots=True, kw_only=True)
class KeyParts:
    """The parts of a stage's key that its operations add; ``made`` are the paths that these make."""

    command: dict[str, Any] = field(default_factory=dict)
    inputs: dict[str, Any] = field(default_factory=dict)
    parameters: dict[str, Any] = field(default_factory=dict)
    champion: dict[str, Any] = field(default_factory=dict)
    made: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelChange:
    """A change that an operation makes to a registered model: a verb, and ``NAME[@ALIAS]``."""

    action: str
    reference: str


@dataclass(frozen=True, kw_only=True)
class Operation(ABC, Generic[ResultT_co]):
    """One operation of a stage, with its arguments.

    ``place`` is the line of the call. ``literal`` is False if not all arguments
    are literals in the source. A recorded call has neither.
    """

    kind: ClassVar[str]
    """The name of the context's method."""
    reads_workspace: ClassVar[bool] = False
    """Whether it may read or make any file of the workspace."""
    changes_container: ClassVar[bool] = False
    """Whether it may change the container for the operations after it."""
    keeps_results: ClassVar[bool] = False
    """Whether its results have keys of their own, so that :meth:`results` finds them."""
    effect: ClassVar[bool] = False
    """Whether it has side effects outside, so that only an effect stage may call it."""

    if TYPE_CHECKING:
        call: ClassVar[Callable[..., Any]]
        """Makes the operation from the arguments of the context's method."""

    place: SourceLocation | None = None
    literal: bool = True

    @property
    @abstractmethod
    def name(self) -> str:
        """Its main argument: the dvc stage, the command, the model. Recorded, and part of the key."""

    @property
    def details(self) -> Mapping[str, Any]:
        """Its other arguments as JSON values. Recorded, and part of the key."""
        return {}

    @classmethod
    @abstractmethod
    def from_call(cls, call: Call) -> Self:
        """The operation of a call in the source or in a record."""

    @abstractmethod
    async def run(self, runtime: StageRuntime) -> ResultT_co:
        """Execute it, in the container of ``runtime``."""

    def check(self, stage: Stage, project: Project) -> Iterable[ConfigurationError]:
        """The mistakes that can be found before anything starts, without reading its inputs."""
        return ()

    def check_inputs(
        self, stage: Stage, project: Project, given: Mapping[str, Any], *, files_known: bool
    ) -> Iterable[ConfigurationError]:
        """The mistakes in its files and values; ``given`` are the stage's ``-P`` values.

        ``files_known`` is False after a stage that may make any file. May
        raise DataError for data that differs from its ``.dvc`` file.
        """
        return ()

    def add_to_key(
        self, key: KeyParts, number: int, stage: Stage, project: Project, given: Mapping[str, Any]
    ) -> None:
        """Add what its result depends on to the key; ``number`` is its index in the stage's operations.

        Raises what the project raises: DataError, ConfigurationError, TrackingUnavailable.
        """
        key.command[f"{self.kind} {number}"] = [self.name, dict(self.details)]

    def parameters(self, stage: Stage, project: Project) -> Mapping[str, SettableParameter]:
        """The parameters that ``-P`` can set for it, by their names on the command line."""
        return {}

    def outputs(self, project: Project) -> Sequence[str]:
        """The declared paths that it makes."""
        return ()

    def results(
        self,
        stage: Stage,
        project: Project,
        given: Mapping[str, Any],
        shell_run: str | None,
    ) -> DvcResults | None:
        """The valid results of an earlier run, or why there are none; None if it keeps no results.

        After an operation that changed the container, only results of the run ``shell_run`` are valid.
        """
        return None

    def affects(self) -> Sequence[ModelChange]:
        """The changes to models that are shown to the person who approves the stage."""
        return ()

    def describe(self, project: Project, given: Mapping[str, Any]) -> Sequence[str]:
        """The lines that describe it in a plan."""
        return [f"{self.kind} {self.name}".rstrip()]
