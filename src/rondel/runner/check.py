"""What can be known to be wrong before anything starts, gathered into one error."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rondel.cache import code_parts, load_entries
from rondel.errors import ConfigurationError, did_you_mean
from rondel.runner.keys import WHOLE_WORKSPACE, call_parameters
from rondel.runner.parameters import Argument, InFile

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from rondel.pipeline import Plan, Stage, StageCall
    from rondel.runner.parameters import Settable
    from rondel.runner.project import Project


def check_uses(stages: Iterable[Stage], project: Project) -> None:
    """Check what the stages' sources say: dvc stages, entry points, and the rules of gates.

    Raises ConfigurationError with the place of each mistake.
    """
    stages = tuple(stages)
    mistakes = [error for stage in stages for use in stage.uses for error in _use(stage, use, project)]
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
        for use in stage.uses:
            if use.kind == "mlflow" and stage.name not in done:
                mistakes += _arguments(stage, use, project, overrides.get(stage.name, {}))
            if use.kind in WHOLE_WORKSPACE:
                makes_files = True
            elif use.kind == "dvc" and use.name and not makes_files and stage.name not in done:
                mine = overrides.get(stage.name, {})
                try:
                    project.check_dvc(use.name, mine, call_parameters(use))
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


def _use(stage: Stage, use: StageCall, project: Project) -> Iterable[ConfigurationError]:
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
        if use.name not in points and not project.runs_script(use.name):
            yield ConfigurationError(
                f"stage {stage.name!r} uses the entry point {use.name!r}, which MLproject does not have",
                hint=did_you_mean(use.name, points),
                place=place,
            )
            return
        try:
            project.check_entry_point(use.name)
        except ConfigurationError as error:
            yield error
    elif use.kind == "gate" and not _passed_before(stage, project):
        yield from _rules(use, place)


def _arguments(
    stage: Stage, use: StageCall, project: Project, overrides: Mapping[str, Any]
) -> Iterable[ConfigurationError]:
    """What is wrong with the values that an entry point is given: one is missing, or of another type."""
    from rondel.data.mlcheck import missing, problem
    from rondel.data.mlproject import FILE

    declared = project.entry_points().get(use.name)
    if declared is None:
        return
    place = str(use.place or stage.place)
    given = {**use.details, **stage.variant, **overrides}
    # Where the source does not say what it passes, only the container will tell what is missing.
    lacking = missing(declared, given) if use.literal else ()
    if lacking:
        names = ", ".join(repr(name) for name in lacking)
        in_code = ", ".join(f"{name}=…" for name in lacking)
        call = f"pipeline.mlflow({use.name!r}, {in_code})"
        on_line = " ".join(f"-P {stage.base}.{name}=VALUE" for name in lacking)
        yield ConfigurationError(
            f"stage {stage.name!r}: no value for {names} of entry point {use.name!r}",
            why=f"{FILE} has no default for {'it' if len(lacking) == 1 else 'them'}",
            hint=f"give it in the pipeline, as in {call}, or for one run: {on_line}",
            place=place,
        )
    for name, value in given.items():
        if name not in overrides and (why := problem(declared, name, value)):
            yield ConfigurationError(
                f"stage {stage.name!r}: a value of the wrong type for {name!r}", why=why, place=place
            )


def _passed_before(stage: Stage, project: Project) -> bool:
    """Whether this very code has succeeded: its rules need no parser then, which takes long to load."""
    code = code_parts(stage.body, project.root)
    return any(
        cache_entry.key.parts.get("code") == code for cache_entry in load_entries(project.root, stage.name)
    )


def _rules(use: StageCall, place: str) -> Iterable[ConfigurationError]:
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


def _known(stage: Stage, project: Project) -> dict[str, Settable]:
    """The parameters of a stage by the names that ``-P`` may use for them."""
    names: dict[str, Settable] = {}
    for use in stage.uses:
        if use.kind == "dvc" and use.name:
            known = project.dvc_parameters(use.name)
            names |= {key: InFile(key, value) for key, value in known.items()}
        elif use.kind == "mlflow" and use.name:
            declared = project.entry_points().get(use.name, {})
            names |= {f"{stage.base}.{key}": Argument(key, declared) for key in {*declared, *use.details}}
    return names


def dvc_names(stages: Iterable[Stage]) -> tuple[str, ...]:
    """The stages of ``dvc.yaml`` that these stages run, as far as their source says so."""
    return tuple(
        dict.fromkeys(use.name for stage in stages for use in stage.uses if use.kind == "dvc" and use.name)
    )
