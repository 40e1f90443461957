"""Finds all mistakes that can be found before anything starts, and reports them in one error."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rondel.context import registry
from rondel.context.registry import operations_of
from rondel.context.stage import OTHER_METHODS
from rondel.errors import ConfigurationError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from rondel.operations.parameters import SettableParameter
    from rondel.operations.project import Project
    from rondel.pipeline import Plan, Stage


def check_calls(stages: Iterable[Stage], project: Project) -> None:
    """Check the operations that the stages' sources call, and their arguments.

    Raises ConfigurationError with the location of each mistake.
    """
    stages = tuple(stages)
    mistakes = [
        error
        for stage in stages
        for error in (
            *registry.check_calls(stage, OTHER_METHODS),
            *(each for operation in operations_of(stage.calls) for each in operation.check(stage, project)),
        )
    ]
    with_git = [stage for stage in stages if stage.git]
    if with_git and project.commit() is None:
        mistakes += [
            ConfigurationError(
                f"stage {stage.name!r} needs the git repository, and there is no commit",
                hint="run `git init` and commit something; or declare the stage without git=True",
                place=str(stage.place),
            )
            for stage in with_git
        ]
    _raise_all(mistakes)


def check_inputs(
    plan: Plan,
    project: Project,
    overrides: Mapping[str, Mapping[str, Any]],
    done: Collection[str] = (),
) -> None:
    """Check that the files and parameters exist that the stages of the plan name.

    Files can't be checked for a stage after one that may make any file. Raises
    ConfigurationError with the location of each mistake, and DataError for
    tracked data that differs from its ``.dvc`` file.
    """
    mistakes: list[ConfigurationError] = []
    may_make_any_file: set[str] = set()
    for planned in plan.stages:
        stage = planned.stage
        any_file = any(need in may_make_any_file for need in planned.waits_for)
        operations = operations_of(stage.calls)
        for operation in operations:
            any_file = any_file or operation.reads_workspace
            if stage.name not in done:
                stage_overrides = overrides.get(stage.name, {})
                mistakes += operation.check_inputs(stage, project, stage_overrides, files_known=not any_file)
        if any_file or not operations:
            may_make_any_file.add(stage.name)
    _raise_all(mistakes)


def _raise_all(errors: list[ConfigurationError]) -> None:
    # Stages that depend on a wrong one report its mistake, too.
    mistakes = list({error.render(): error for error in errors}.values())
    if len(mistakes) == 1:
        raise mistakes[0]
    if mistakes:
        why = "\n".join(error.render() for error in mistakes)
        raise ConfigurationError(f"the pipeline has {len(mistakes)} mistakes", why=why)


def parse_overrides(
    pairs: Iterable[tuple[str, str]], plan: Plan, project: Project
) -> dict[str, dict[str, Any]]:
    """The ``-P`` values by the name of the stage that uses them.

    For a dvc stage the name is the dotted key in its parameter file
    (``train.max_iter``), for an entry point ``STAGE.PARAMETER``. Raises
    ConfigurationError for a name that no planned stage uses, and for a value
    that doesn't fit the parameter's type.
    """
    pairs = tuple(pairs)
    if not pairs:
        return {}
    known = {planned.name: _parameters(planned.stage, project) for planned in plan.stages}
    all_names = {name for names in known.values() for name in names}
    overrides: dict[str, dict[str, Any]] = {}
    mistakes: list[ConfigurationError] = []
    for name, text in pairs:
        place = f"-P {name}={text}"
        owners = [stage for stage, names in known.items() if name in names]
        if not owners:
            what = f"no stage of this run has a parameter {name!r}"
            mistakes.append(ConfigurationError(what, hint=did_you_mean(name, all_names), place=place))
        for owner in owners:
            try:
                value = known[owner][name].read(text, place)
            except ConfigurationError as error:
                mistakes.append(error)
            else:
                overrides.setdefault(owner, {})[known[owner][name].own] = value
    _raise_all(mistakes)
    return overrides


def params_for_plan(
    pairs: Iterable[tuple[str, str]], plan: Plan, stages: Iterable[Stage], project: Project
) -> tuple[tuple[str, str], ...]:
    """The ``-P`` values without those that only stages outside of the plan use."""
    planned_names = {name for planned in plan.stages for name in _parameters(planned.stage, project)}
    others = {name for stage in stages for name in _parameters(stage, project)} - planned_names
    return tuple(pair for pair in pairs if pair[0] not in others)


def _parameters(stage: Stage, project: Project) -> dict[str, SettableParameter]:
    """The parameters of a stage by the names that ``-P`` uses for them."""
    names: dict[str, SettableParameter] = {}
    for operation in operations_of(stage.calls):
        names |= operation.parameters(stage, project)
    return names
