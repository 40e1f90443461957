"""The registry of operations, by the names of the context's methods."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, overload

from rondel.errors import ConfigurationError, did_you_mean
from rondel.pipeline import Stage, StageCall

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Iterator

    from rondel.operations.operation import Call, Operation

P = ParamSpec("P")
R = TypeVar("R")

OPERATIONS: dict[str, type[Operation[Any]]] = {}
"""Every operation by its kind. A ``method`` of ``StageContext`` registers its operation here."""


class method(Generic[P, R]):  # noqa: N801 - used like ``property``
    """A method of a context that records an operation and executes it."""

    def __init__(self, call: Callable[P, Operation[R]]) -> None:
        self._call = call
        self.__doc__ = call.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        OPERATIONS[name] = self._call.__self__  # type: ignore[attr-defined]  # a class method

    @overload
    def __get__(self, context: None, owner: type) -> method[P, R]: ...

    @overload
    def __get__(self, context: Any, owner: type) -> Callable[P, Coroutine[Any, Any, R]]: ...

    def __get__(self, context: Any, owner: type) -> Any:
        if context is None:
            return self

        async def perform(*args: P.args, **kwargs: P.kwargs) -> R:
            result: R = await context.perform(self._call(*args, **kwargs))
            return result

        perform.__doc__ = self.__doc__
        return perform


def operations_of(calls: Iterable[Call]) -> tuple[Operation[Any], ...]:
    """The operations of these calls; skips calls of other methods."""
    return tuple(_operations(calls))


def _operations(calls: Iterable[Call]) -> Iterator[Operation[Any]]:
    for call in calls:
        kind = OPERATIONS.get(call.kind)
        if kind is None:
            continue
        operation = kind.from_call(call)
        if isinstance(call, StageCall):
            operation = replace(operation, place=call.place, literal=call.literal)
        yield operation


def check_calls(stage: Stage, others: Iterable[str]) -> Iterator[ConfigurationError]:
    """The errors for calls of unknown methods, and of effects in a pure stage.

    ``others`` are the context's methods that are not operations.
    """
    known = {*OPERATIONS, *others}
    for call in stage.calls:
        place = str(call.place or stage.place)
        if call.kind not in known:
            yield ConfigurationError(
                f"stage {stage.name!r} calls ctx.{call.kind}, which does not exist",
                hint=did_you_mean(call.kind, known),
                place=place,
            )
        elif stage.pure and call.kind in OPERATIONS and OPERATIONS[call.kind].effect:
            yield effect_in_pure_stage(stage, call.kind, place)


def effect_in_pure_stage(stage: Stage, kind: str, place: str) -> ConfigurationError:
    """The error for a pure stage that calls an operation with side effects."""
    return ConfigurationError(
        f"stage {stage.name!r} calls ctx.{kind}, but it is a pure stage",
        hint="declare it with @pipeline.effect: Rondel skips and repeats pure stages, but not effects",
        place=place,
    )
