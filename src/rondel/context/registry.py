"""The operations that a stage has, by the names of the context's methods."""

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
"""Every operation by its kind. ``StageContext`` fills it: a method there is all that registers one."""


class method(Generic[P, R]):  # noqa: N801 - used like ``property``
    """A method of a context that records an operation and does it."""

    def __init__(self, call: Callable[P, Operation[R]]) -> None:
        self._call = call
        self.__doc__ = call.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        OPERATIONS[name] = self._call.__self__  # type: ignore[attr-defined]  # it is a class method

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
    """The operations that calls of a context mean; calls of other methods are left out."""
    return tuple(_operations(calls))


def _operations(calls: Iterable[Call]) -> Iterator[Operation[Any]]:
    for call in calls:
        kind = OPERATIONS.get(call.kind)
        if kind is None:
            continue
        found = kind.from_call(call)
        yield replace(found, place=call.place, literal=call.literal) if isinstance(call, StageCall) else found


def check_calls(stage: Stage, others: Iterable[str]) -> Iterator[ConfigurationError]:
    """The calls of a stage's function that its context does not have, or not for a stage of its kind.

    ``others`` are the context's methods that are no operations.
    """
    known = {*OPERATIONS, *others}
    for call in stage.calls:
        place = str(call.place or stage.place)
        if call.kind not in known:
            yield ConfigurationError(
                f"stage {stage.name!r} calls ctx.{call.kind}, which there is not",
                hint=did_you_mean(call.kind, known),
                place=place,
            )
        elif stage.pure and call.kind in OPERATIONS and OPERATIONS[call.kind].effect:
            yield effect_in_pure_stage(stage, call.kind, place)


def effect_in_pure_stage(stage: Stage, kind: str, place: str) -> ConfigurationError:
    """The error of a pure stage that calls an operation which acts on the outside world."""
    return ConfigurationError(
        f"stage {stage.name!r} calls ctx.{kind}, but it is a pure stage",
        hint="declare it with @pipeline.effect: what it does must not be skipped or repeated",
        place=place,
    )
