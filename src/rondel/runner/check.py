"""What can be known to be wrong before anything starts, gathered into one error."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rondel.cache import code_parts, recall
from rondel.errors import ConfigurationError, did_you_mean
from rondel.runner.keys import WHOLE_WORKSPACE, call_parameters

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from rondel.pipeline import Plan, Stage, Use
    from rondel.runner.project import Project


def check_uses(stages: Iterable[Stage], project: Project) -> None:
    """Check what the stages' sources say: dvc stages, entry points, and the rules of gates.

    Raises ConfigurationError with the place of each mistake.
    """
    mistakes = [error for stage in stages for use in stage.uses for error in _use(stage, use, project)]
    _raise(mistakes)


def check_inputs(
    plan: Plan,
    project: Project,
    overrides: Mapping[str, Mapping[str, Any]],
    done: Collection[str] = (),
) -> None:
    """Check that the dvc stages of the plan have the files and parameters that they name.

    Of a stage behind one that may make any file, this is not known. Raises
    ConfigurationError with the place of each mistake, and DataError for
    tracked data that is not what its ``.dvc`` file says.
    """
    mistakes: list[ConfigurationError] = []
    open_ended: set[str] = set()
    for planned in plan.stages:
        stage = planned.stage
        makes_files = any(need in open_ended for need in planned.waits_for)
        for use in stage.uses:
            if use.kind in WHOLE_WORKSPACE:
                makes_files = True
            elif use.kind == "dvc" and use.name and not makes_files and stage.name not in done:
                given = {**overrides.get(stage.name, {}), **call_parameters(use)}
                try:
                    project.check_dvc(use.name, given)
                except ConfigurationError as error:
                    mistakes.append(error)
        if makes_files or not stage.uses:
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


def _use(stage: Stage, use: Use, project: Project) -> Iterable[ConfigurationError]:
    place = str(use.place or stage.place)
    if use.kind == "dvc" and use.name:
        known = project.dvc_stages()
        if use.name not in known:
            from rondel.data.project import ADD_STAGE, no_stages

            why = "which dvc.yaml does not have" if known else f"but {no_stages(project.root)}"
            yield ConfigurationError(
                f"stage {stage.name!r} uses the dvc stage {use.name!r}, {why}",
                hint=did_you_mean(use.name, known) if known else ADD_STAGE,
                place=place,
            )
    elif use.kind == "mlflow" and use.name:
        points = project.entry_points()
        if use.name not in points:
            yield ConfigurationError(
                f"stage {stage.name!r} uses the entry point {use.name!r}, which MLproject does not have",
                hint=did_you_mean(use.name, points),
                place=place,
            )
    elif use.kind == "gate" and not _passed_before(stage, project):
        yield from _rules(use, place)


def _passed_before(stage: Stage, project: Project) -> bool:
    """Whether this very code has succeeded: its rules need no parser then, which takes long to load."""
    code = code_parts(stage.body, project.root)
    return any(memory.key.parts.get("code") == code for memory in recall(project.root, stage.name))


def _rules(use: Use, place: str) -> Iterable[ConfigurationError]:
    rules = [str(rule) for rule in use.details.get("rules", ())]
    if not rules:
        return
    from rondel.gates import parse_rules

    try:
        parse_rules(rules, place=place)
    except ConfigurationError as error:
        yield error


def parse_overrides(
    pairs: Iterable[tuple[str, str]], plan: Plan, project: Project
) -> dict[str, dict[str, Any]]:
    """The ``-P`` values by the name of the stage that each concerns.

    For a dvc stage the name is the dotted key in its parameters' file
    (``train.max_iter``), for an entry point ``STAGE.PARAMETER``. Raises
    ConfigurationError for a name that no planned stage uses.
    """
    pairs = tuple(pairs)
    if not pairs:
        return {}
    from rondel.data.yamlfile import parse_yaml

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
            continue
        try:
            value = parse_yaml(text, name)
        except ConfigurationError as error:
            what = "the value is not valid YAML"
            mistakes.append(ConfigurationError(what, why=error.why, hint=error.hint, place=place))
            continue
        for owner in owners:
            chosen.setdefault(owner, {})[known[owner][name]] = value
    _raise(mistakes)
    return chosen


def concerning(
    pairs: Iterable[tuple[str, str]], plan: Plan, stages: Iterable[Stage], project: Project
) -> tuple[tuple[str, str], ...]:
    """The ``-P`` values without those that are for stages of the pipeline which are not part of the plan."""
    mine = {name for planned in plan.stages for name in _known(planned.stage, project)}
    others = {name for stage in stages for name in _known(stage, project)} - mine
    return tuple(pair for pair in pairs if pair[0] not in others)


def _known(stage: Stage, project: Project) -> dict[str, str]:
    """The names that ``-P`` may use for a stage, each with the name that the stage itself knows it by."""
    names: dict[str, str] = {}
    for use in stage.uses:
        if use.kind == "dvc" and use.name:
            names |= {key: key for key in project.dvc_parameters(use.name)}
        elif use.kind == "mlflow" and use.name:
            points = project.entry_points().get(use.name, {})
            names |= {f"{stage.base}.{key}": key for key in {*points, *use.details}}
    return names


def dvc_names(stages: Iterable[Stage]) -> tuple[str, ...]:
    """The stages of ``dvc.yaml`` that these stages run, as far as their source says so."""
    return tuple(
        dict.fromkeys(use.name for stage in stages for use in stage.uses if use.kind == "dvc" and use.name)
    )
