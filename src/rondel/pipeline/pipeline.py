"""The pipeline as the team writes it in ``ci/main.py``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Literal, overload

from rondel.errors import ConfigurationError
from rondel.pipeline.calls import find_calls
from rondel.pipeline.graph import check_stages, expand_matrices
from rondel.pipeline.stage import SourceLocation, Stage, StageBody, StageCall

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

Need = Stage | str


class Pipeline:
    """Collects a team's stages.

    Options belong in ``[tool.rondel]`` of ``pyproject.toml``. ``name`` appears in
    reports and is the default MLflow experiment; without it, the project's name is
    used.
    """

    def __init__(self, name: str | None = None) -> None:
        self.name = name
        self.place = _caller()
        self._declared: list[Stage] = []

    @overload
    def stage(self, body: StageBody, /) -> Stage: ...

    @overload
    def stage(
        self,
        *,
        needs: Iterable[Need] = (),
        name: str | None = None,
        timeout: float | None = None,
        retries: int = 0,
        matrix: Mapping[str, Sequence[Any]] | None = None,
        git: bool = False,
    ) -> Callable[[StageBody], Stage]: ...

    def stage(
        self,
        body: StageBody | None = None,
        *,
        needs: Iterable[Need] = (),
        name: str | None = None,
        timeout: float | None = None,
        retries: int = 0,
        matrix: Mapping[str, Sequence[Any]] | None = None,
        git: bool = False,
    ) -> Stage | Callable[[StageBody], Stage]:
        """Declare a pure stage; usable with and without arguments.

        The stage gets the function's name, with ``_`` replaced by ``-``, or ``name``.
        ``timeout`` is in seconds; ``retries`` is how often a failed stage runs again;
        ``matrix`` runs the stage once per combination of its values, which are in
        ``ctx.params``. ``git=True`` puts the repository into the workspace, for
        programs that ask git for the commit, tags or history; the stage then runs for
        every new commit.
        """
        place = _caller()

        def declare(function: StageBody) -> Stage:
            return self._add(
                function,
                "pure",
                place,
                needs=needs,
                name=name,
                timeout=timeout,
                retries=retries,
                matrix=matrix,
                git=git,
            )

        return declare if body is None else declare(body)

    @overload
    def effect(self, body: StageBody, /) -> Stage: ...

    @overload
    def effect(
        self,
        *,
        needs: Iterable[Need] = (),
        name: str | None = None,
        timeout: float | None = None,
        approval: str | None = None,
        on: Literal["schedule"] | None = None,
        git: bool = False,
    ) -> Callable[[StageBody], Stage]: ...

    def effect(
        self,
        body: StageBody | None = None,
        *,
        needs: Iterable[Need] = (),
        name: str | None = None,
        timeout: float | None = None,
        approval: str | None = None,
        on: Literal["schedule"] | None = None,
        git: bool = False,
    ) -> Stage | Callable[[StageBody], Stage]:
        """Declare a stage that acts on the outside world: never cached, never retried.

        ``approval`` names what has to be approved before the stage runs
        (``"production"``). With ``on="schedule"``, only scheduled CI jobs and runs that
        name the stage include it.
        """
        place = _caller()

        def declare(function: StageBody) -> Stage:
            return self._add(
                function,
                "effect",
                place,
                needs=needs,
                name=name,
                timeout=timeout,
                approval=approval,
                on=on,
                git=git,
            )

        return declare if body is None else declare(body)

    def dvc(
        self,
        stage: str,
        *,
        needs: Iterable[Need] = (),
        name: str | None = None,
        timeout: float | None = None,
        retries: int = 0,
        git: bool = False,
    ) -> Stage:
        """Declare a pure stage that runs a stage of ``dvc.yaml``."""
        place = _caller()

        async def reproduce(ctx: Any) -> None:
            await ctx.dvc(stage)

        call = StageCall(kind="dvc", name=stage, place=place)
        return self._add(
            reproduce,
            "pure",
            place,
            needs=needs,
            name=name or stage,
            timeout=timeout,
            retries=retries,
            calls=(call,),
            git=git,
        )

    def mlflow(
        self,
        entry_point: str,
        *,
        needs: Iterable[Need] = (),
        name: str | None = None,
        timeout: float | None = None,
        retries: int = 0,
        git: bool = False,
        **parameters: Any,
    ) -> Stage:
        """Declare a pure stage that runs an entry point of the project's ``MLproject`` file."""
        place = _caller()

        async def run(ctx: Any) -> None:
            await ctx.mlflow(entry_point, **parameters)

        call = StageCall(kind="mlflow", name=entry_point, details=parameters, place=place)
        return self._add(
            run,
            "pure",
            place,
            needs=needs,
            name=name or entry_point,
            timeout=timeout,
            retries=retries,
            calls=(call,),
            git=git,
        )

    @property
    def declared(self) -> tuple[Stage, ...]:
        """The stages in the order of declaration, unchecked."""
        return tuple(self._declared)

    def stages(self) -> tuple[Stage, ...]:
        """All stages, with matrices expanded.

        Raises ConfigurationError that names every mistake (unknown need, cycle,
        duplicate name) with its file and line.
        """
        check_stages(self.declared)
        return expand_matrices(self.declared)

    def _add(
        self,
        body: StageBody,
        kind: Literal["pure", "effect"],
        place: SourceLocation,
        *,
        needs: Iterable[Need],
        name: str | None,
        timeout: float | None = None,
        retries: int = 0,
        matrix: Mapping[str, Sequence[Any]] | None = None,
        calls: tuple[StageCall, ...] | None = None,
        approval: str | None = None,
        on: Literal["schedule"] | None = None,
        git: bool = False,
    ) -> Stage:
        title = name or getattr(body, "__name__", "stage").strip("_").replace("_", "-")
        if timeout is not None and timeout <= 0:
            raise ConfigurationError(
                f"stage {title!r}: the timeout must be a positive number of seconds", place=str(place)
            )
        if retries < 0:
            raise ConfigurationError(f"stage {title!r}: retries must not be negative", place=str(place))
        stage = Stage(
            name=title,
            base=title,
            body=body,
            place=place,
            kind=kind,
            needs=tuple(need.name if isinstance(need, Stage) else need for need in needs),
            timeout=timeout,
            retries=retries,
            matrix={key: tuple(values) for key, values in (matrix or {}).items()},
            calls=find_calls(body) if calls is None else calls,
            approval=approval,
            on=on,
            git=git,
            doc=(body.__doc__ or "").strip().partition("\n")[0],
        )
        self._declared.append(stage)
        return stage


def _caller() -> SourceLocation:
    """The line outside of this file that is being executed."""
    frame = sys._getframe(1)  # noqa: SLF001 - the public way, inspect.stack(), reads every file on the stack
    while frame.f_back is not None and frame.f_code.co_filename == __file__:
        frame = frame.f_back
    return SourceLocation(frame.f_code.co_filename, frame.f_lineno)
