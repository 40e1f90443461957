"""An operation: what a stage can do, as one value with one coroutine.

Each method of a stage's context is an operation. Its value checks itself before
anything starts, gives its part of the stage's key, says what it affects and how a
plan shows it; ``run`` does it. CONTRIBUTING.md shows how to add one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from rondel.errors import ConfigurationError
    from rondel.operations.parameters import Parameter
    from rondel.operations.project import DvcResults, Project
    from rondel.operations.runtime import StageRuntime
    from rondel.pipeline import SourceLocation, Stage

ResultT_co = TypeVar("ResultT_co", covariant=True)


class Call(Protocol):
    """A call of a context method, as the source has it or as a run recorded it."""

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
    """The parts of a stage's key that its operations fill; ``made`` are the paths that these make."""

    command: dict[str, Any] = field(default_factory=dict)
    inputs: dict[str, Any] = field(default_factory=dict)
    parameters: dict[str, Any] = field(default_factory=dict)
    champion: dict[str, Any] = field(default_factory=dict)
    made: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelChange:
    """A change that an operation makes to a registered model: ``action`` in a word, and ``NAME[@ALIAS]``."""

    action: str
    reference: str


@dataclass(frozen=True, kw_only=True)
class Operation(ABC, Generic[ResultT_co]):
    """One thing that a stage does.

    ``place`` is the line of the call, ``literal`` is False where the source
    does not say all of its arguments. Both are unknown of a recorded call.
    """

    kind: ClassVar[str]
    """The name of the context's method."""
    reads_workspace: ClassVar[bool] = False
    """Whether it may read any file of the workspace, and make any."""
    changes_container: ClassVar[bool] = False
    """Whether it leaves the container another one for the operations after it."""
    keeps_results: ClassVar[bool] = False
    """Whether Rondel keeps its results by keys of their own, so that :meth:`results` finds them."""
    effect: ClassVar[bool] = False
    """Whether it acts on the outside world, so that only an effect stage may call it."""

    if TYPE_CHECKING:
        call: ClassVar[Callable[..., Any]]
        """The context's method: its arguments make the operation."""

    place: SourceLocation | None = None
    literal: bool = True

    @property
    @abstractmethod
    def name(self) -> str:
        """What it is about: the dvc stage, the command, the model. Recorded, and part of the key."""

    @property
    def details(self) -> Mapping[str, Any]:
        """Its other arguments as JSON values. Recorded, and part of the key."""
        return {}

    @classmethod
    @abstractmethod
    def from_call(cls, call: Call) -> Self:
        """The operation that a call in the source or in a record means."""

    @abstractmethod
    async def run(self, runtime: StageRuntime) -> ResultT_co:
        """Do it, in the container of ``runtime``."""

    def check(self, stage: Stage, project: Project) -> Iterable[ConfigurationError]:
        """What is wrong with it whatever ran before, known before anything starts."""
        return ()

    def check_inputs(
        self, stage: Stage, project: Project, given: Mapping[str, Any], *, files_known: bool
    ) -> Iterable[ConfigurationError]:
        """What is wrong with its files and values; ``given`` are the stage's ``-P`` values.

        ``files_known`` is False behind a stage that may make any file. May
        raise DataError for data that is not what its ``.dvc`` file says.
        """
        return ()

    def add_to_key(
        self, key: KeyParts, number: int, stage: Stage, project: Project, given: Mapping[str, Any]
    ) -> None:
        """Add what its result depends on to the key; ``number`` is its place among the stage's operations.

        Raises what the project raises: DataError, ConfigurationError, TrackingUnavailable.
        """
        key.command[f"{self.kind} {number}"] = [self.name, dict(self.details)]

    def parameters(self, stage: Stage, project: Project) -> Mapping[str, Parameter]:
        """The parameters that ``-P`` can set for it, by the name that the command line uses."""
        return {}

    def outputs(self, project: Project) -> Sequence[str]:
        """The paths that it makes, as far as they are declared anywhere."""
        return ()

    def results(
        self,
        stage: Stage,
        project: Project,
        given: Mapping[str, Any],
        shell_run: str | None,
    ) -> DvcResults | None:
        """The results of an earlier run that hold, or why none do; None if it keeps none.

        ``shell_run`` is the run whose results count after an operation that changed the container.
        """
        return None

    def affects(self) -> Sequence[ModelChange]:
        """The changes that somebody who approves the stage has to know of."""
        return ()

    def describe(self, project: Project, given: Mapping[str, Any]) -> Sequence[str]:
        """How a plan shows it, in lines."""
        return [f"{self.kind} {self.name}".rstrip()]
