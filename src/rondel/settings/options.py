"""The settings of a run, each option declared where its field stands."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

EngineChoice = Literal["auto", "dagger", "embedded"]
Kind = Literal["flag", "switch", "text", "choice", "number", "list", "pairs", "count"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One option: how it is written in each place where it can be set.

    ``flags`` are command line flags (none: it can't be given there); ``env``
    is the environment variable; ``key`` the dotted key in ``[tool.rondel]``.
    A *flag* is a plain yes; a *switch* has a ``--no-`` form, too.
    """

    name: str
    kind: Kind
    help: str
    default: Any
    flags: tuple[str, ...] = ()
    env: str | None = None
    key: str | None = None
    metavar: str | None = None
    choices: tuple[str, ...] = ()
    repeats: bool = True
    """Whether the option belongs to the arguments that repeat a run."""
    bare: str | None = None
    """What the flag means without a value; None if it has to have one."""


def _option(
    kind: Kind,
    help_: str,
    default: Any,
    *,
    flags: tuple[str, ...] = (),
    env: str | None = None,
    key: str | None = None,
    metavar: str | None = None,
    choices: tuple[str, ...] = (),
    repeats: bool = True,
    bare: str | None = None,
) -> Any:
    declared = {
        "kind": kind,
        "help": help_,
        "flags": flags,
        "env": env,
        "key": key,
        "metavar": metavar,
        "choices": choices,
        "repeats": repeats,
        "bare": bare,
    }
    return field(default=default, metadata={"option": declared})


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of one run.

    ``root`` is the project's folder (where ``pyproject.toml`` stands); paths
    in other options are relative to it. ``sources`` says for each option that
    is not at its default where its value came from.
    """

    root: Path
    sources: Mapping[str, str] = field(default_factory=dict)

    only: bool = _option("flag", "run the targets alone, without what they need", False, flags=("--only",))
    from_: str | None = _option(
        "text", "run this stage and what depends on it", None, flags=("--from",), metavar="STAGE"
    )
    resume: str | None = _option(
        "text",
        "go on where a run failed or waits (the newest one that did), with what succeeded before it",
        None,
        flags=("--resume",),
        metavar="RUN",
        repeats=False,
        bare="latest",
    )
    force: bool = _option(
        "flag", "with --resume: also when inputs have changed since", False, flags=("--force",), repeats=False
    )
    interactive: bool = _option(
        "flag",
        "when a stage fails, open a shell in its container, and ask what next",
        False,
        flags=("--interactive", "-i"),
        repeats=False,
    )
    shell: Literal["before", "after"] | None = _option(
        "choice",
        "open a shell in the stage's container before its command, or in what the command left",
        None,
        flags=("--shell",),
        env="RONDEL_SHELL",
        choices=("before", "after"),
        repeats=False,
    )
    shell_at: int = _option(
        "number",
        "before or after which command of the stage, from 0",
        0,
        env="RONDEL_SHELL_AT",
        repeats=False,
    )
    reproduces: str | None = _option(
        "text",
        "the run that this one repeats; `rondel reproduce` sets it",
        None,
        env="RONDEL_REPRODUCES",
        repeats=False,
    )
    base_image: str | None = _option(
        "text",
        "build on this base image (NAME@DIGEST) where the Containerfile names it by tag; "
        "`rondel reproduce` sets it",
        None,
        env="RONDEL_BASE_IMAGE",
        repeats=False,
    )
    params: tuple[tuple[str, str], ...] = _option(
        "pairs",
        "use another value for a parameter in this run (repeatable)",
        (),
        flags=("-P", "--param"),
        metavar="STAGE.PARAM=VALUE",
    )
    apply: bool = _option(
        "flag",
        "with -P: write the parameters and what was made with them to the working tree",
        False,
        flags=("--apply",),
    )
    cache: bool = _option(
        "switch",
        "skip stages whose inputs have not changed",
        True,
        flags=("--cache",),
        env="RONDEL_CACHE",
        key="cache",
    )
    keep_going: bool = _option(
        "flag",
        "when a stage fails, let the stages that do not depend on it end",
        False,
        flags=("--keep-going", "-k"),
        env="RONDEL_KEEP_GOING",
        key="keep-going",
    )
    engine: EngineChoice = _option(  # noqa: RUF009 - it makes a field, as field() does
        "choice",
        "what runs the containers: a Dagger engine, or Rondel's embedded one",
        "auto",
        flags=("--engine",),
        env="RONDEL_ENGINE",
        key="engine.kind",
        choices=("auto", "dagger", "embedded"),
    )
    push: bool | None = _option(
        "switch",
        "push results to the DVC remote (default: in CI, and to the local default remote)",
        None,
        flags=("--push",),
        env="RONDEL_PUSH",
        key="push",
    )
    commit: bool = _option(
        "flag",
        "after success, commit dvc.lock, *.dvc and metrics to the branch, data pushed first",
        False,
        flags=("--commit",),
        env="RONDEL_COMMIT",
        repeats=False,
    )
    approve_by: str | None = _option(
        "text",
        "approve the stages of this run that need it, in this name",
        None,
        flags=("--approve-by",),
        metavar="NAME",
        repeats=False,
    )
    jobs: int = _option(
        "number",
        "how many stages run at once (0: as many as the machine has processors)",
        0,
        flags=("--jobs", "-j"),
        env="RONDEL_JOBS",
        key="jobs",
        metavar="N",
    )
    dry_run: bool = _option(
        "flag",
        "print what would run, and why, and start nothing",
        False,
        flags=("--dry-run", "-n"),
        repeats=False,
    )
    list_stages: bool = _option(
        "flag", "list the pipeline's stages", False, flags=("--list", "-l"), repeats=False
    )
    verbose: int = _option(
        "count",
        "show the stages' output as it comes",
        0,
        flags=("-v", "--verbose"),
        env="RONDEL_VERBOSE",
        repeats=False,
    )
    quiet: bool = _option(
        "flag", "show only failures and the final table", False, flags=("-q", "--quiet"), repeats=False
    )

    name: str = _option(
        "text",
        "the project's name: the MLflow experiment, names of services",
        "",
        env="RONDEL_NAME",
        key="name",
    )
    containerfile: str = _option(
        "text", "the Containerfile of the stages' image", "Containerfile", key="containerfile"
    )
    target: str = _option("text", "the Containerfile's target that stages run in", "stage", key="target")
    data_image: str | None = _option(
        "text",
        "an image with DVC that moves data, where the stages' own has none (default: one is built)",
        None,
        env="RONDEL_DATA_IMAGE",
        key="data.image",
    )
    build_args: tuple[tuple[str, str], ...] = _option(
        "pairs", "build arguments of the Containerfile", (), key="build-args"
    )
    secrets: tuple[str, ...] = _option(
        "list",
        "environment variables that reach the stages as secrets",
        (),
        env="RONDEL_SECRETS",
        key="secrets",
    )
    environment: tuple[str, ...] = _option(
        "list", "environment variables that reach the stages and the record", (), key="environment"
    )
    host_image: Literal["auto", "never"] = _option(
        "choice",
        "whether this machine's own system may stand in where no registry answers",
        "auto",
        env="RONDEL_ENGINE_HOST_IMAGE",
        key="engine.host-image",
        choices=("auto", "never"),
    )
    cache_size: str | None = _option(
        "text",
        "how large the engine's store may grow (default: 20G, or a quarter of the disk if that is less)",
        None,
        env="RONDEL_ENGINE_CACHE_SIZE",
        key="engine.cache-size",
        metavar="SIZE",
    )
    tracking_uri: str | None = _option(
        "text",
        "the MLflow server; without it a local one is started",
        None,
        env="MLFLOW_TRACKING_URI",
        key="tracking.uri",
    )
    experiment: str | None = _option(
        "text", "the MLflow experiment", None, env="MLFLOW_EXPERIMENT_NAME", key="tracking.experiment"
    )
    linger: int = _option(
        "number",
        "seconds that the local MLflow server stays after the last run",
        600,
        env="RONDEL_TRACKING_LINGER",
        key="tracking.linger",
    )
    runs_megabytes: int = _option(
        "number",
        "how much the records of runs may take before the oldest are removed (0: no limit)",
        2000,
        env="RONDEL_RUNS_MEGABYTES",
        key="runs.megabytes",
        repeats=False,
    )
    remote: str | None = _option(
        "text", "the DVC remote, instead of the project's own", None, env="DVC_REMOTE_URL", key="remote"
    )
    ci: bool = _option("flag", "whether this is a CI job", False, env="CI", repeats=False)

    def arguments(self) -> list[str]:
        """The command line flags that give these settings again, other options at their defaults."""
        words: list[str] = []
        for option in OPTIONS:
            value = getattr(self, option.name)
            if option.repeats and option.flags and value != option.default:
                words += flag_words(option, value)
        return words


def flag_words(option: Option, value: Any) -> list[str]:
    """The words on a command line that set ``option`` to ``value``."""
    flag = next((flag for flag in option.flags if flag.startswith("--")), option.flags[0])
    if option.kind == "flag":
        return [flag] if value else []
    if option.kind == "switch":
        return [flag] if value else [f"--no-{flag.removeprefix('--')}"]
    if option.kind == "count":
        return [flag] * int(value)
    if option.kind == "pairs":
        return [word for key, text in value for word in (option.flags[0], f"{key}={text}")]
    if option.kind == "list":
        return [word for text in value for word in (flag, text)]
    return [flag, str(value)]


OPTIONS: tuple[Option, ...] = tuple(
    Option(name=each.name, default=each.default, **each.metadata["option"])
    for each in fields(Settings)
    if "option" in each.metadata
)
"""All options, in the order of their declaration."""
