"""What can be known to be wrong before anything starts, gathered into one error."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rondel.context import registry
from rondel.context.registry import operations_of
from rondel.context.stage import OTHER_METHODS
from rondel.errors import ConfigurationError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from rondel.operations.parameters import Parameter
    from rondel.operations.project import Project
    from rondel.pipeline import Plan, Stage


def check_calls(stages: Iterable[Stage], project: Project) -> None:
    """Check what the stages' sources say: the operations that they call, and what these are about.

    Raises ConfigurationError with the place of each mistake.
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
    lacking = [stage for stage in stages if stage.git]
    if lacking and project.commit() is None:
        mistakes += [
            ConfigurationError(
                f"stage {stage.name!r} asks for the repository, and there is no commit",
                hint="git init, and commit something; or declare it without git=True",
                place=str(stage.place),
            )
            for stage in lacking
        ]
    _raise(mistakes)


def check_inputs(
    plan: Plan,
    project: Project,
    overrides: Mapping[str, Mapping[str, Any]],
    done: Collection[str] = (),
) -> None:
    """Check that the stages of the plan have the files and parameters that they name.

    A dvc stage has its parameters in files; an entry point of MLflow is given
    them. Of a stage behind one that may make any file, this is not known.
    Raises ConfigurationError with the place of each mistake, and DataError for
    tracked data that is not what its ``.dvc`` file says.
    """
    mistakes: list[ConfigurationError] = []
    open_ended: set[str] = set()
    for planned in plan.stages:
        stage = planned.stage
        makes_files = any(need in open_ended for need in planned.waits_for)
        operations = operations_of(stage.calls)
        given = overrides.get(stage.name, {})
        for operation in operations:
            makes_files = makes_files or operation.reads_workspace
            if stage.name not in done:
                mistakes += operation.check_inputs(stage, project, given, files_known=not makes_files)
        if makes_files or not operations:
            open_ended.add(stage.name)
    _raise(mistakes)


def _raise(found: list[ConfigurationError]) -> None:
    # Stages that stand on one that is wrong meet its mistake, too.
    mistakes = list({error.render(): error for error in found}.values())
    if len(mistakes) == 1:
        raise mistakes[0]
    if mistakes:
        why = "\n".join(error.render() for error in mistakes)
        raise ConfigurationError(f"the pipeline has {len(mistakes)} mistakes", why=why)


def parse_overrides(
    pairs: Iterable[tuple[str, str]], plan: Plan, project: Project
) -> dict[str, dict[str, Any]]:
    """The ``-P`` values by the name of the stage that each concerns.

    For a dvc stage the name is the dotted key in its parameters' file
    (``train.max_iter``), for an entry point ``STAGE.PARAMETER``. Raises
    ConfigurationError for a name that no planned stage uses, and for a value
    of another kind than the parameter's.
    """
    pairs = tuple(pairs)
    if not pairs:
        return {}
    known = {planned.name: _known(planned.stage, project) for planned in plan.stages}
    everything = {name for names in known.values() for name in names}
    chosen: dict[str, dict[str, Any]] = {}
    mistakes: list[ConfigurationError] = []
    for name, text in pairs:
        place = f"-P {name}={text}"
        owners = [stage for stage, names in known.items() if name in names]
        if not owners:
            what = f"no stage of this run has a parameter {name!r}"
            mistakes.append(ConfigurationError(what, hint=did_you_mean(name, everything), place=place))
        for owner in owners:
            try:
                value = known[owner][name].read(text, place)
            except ConfigurationError as error:
                # Once is enough where several stages use the parameter.
                mistakes += [error] if error.render() not in {each.render() for each in mistakes} else []
            else:
                chosen.setdefault(owner, {})[known[owner][name].own] = value
    _raise(mistakes)
    return chosen


def concerning(
    pairs: Iterable[tuple[str, str]], plan: Plan, stages: Iterable[Stage], project: Project
) -> tuple[tuple[str, str], ...]:
    """The ``-P`` values without those that are for stages of the pipeline which are not part of the plan."""
    mine = {name for planned in plan.stages for name in _known(planned.stage, project)}
    others = {name for stage in stages for name in _known(stage, project)} - mine
    return tuple(pair for pair in pairs if pair[0] not in others)


def _known(stage: Stage, project: Project) -> dict[str, Parameter]:
    """The parameters of a stage by the names that ``-P`` may use for them."""
    names: dict[str, Parameter] = {}
    for operation in operations_of(stage.calls):
        names |= operation.parameters(stage, project)
    return names
