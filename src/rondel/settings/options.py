"""The settings of a run, each option declared where its field stands."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

EngineChoice = Literal["auto", "dagger", "embedded"]
Kind = Literal["flag", "switch", "text", "choice", "number", "list", "pairs", "count"]
Concern = Literal["result", "run", "machine", "command"]
"""What an option is about, and so how far it goes.

``result``: what is computed. It is recorded, and repeated wherever the run is.
``run``: what this run was asked to do. It is recorded; ``--resume`` goes on with it.
``machine``: where and with what it runs. It is recorded as a fact, and applied nowhere else.
``command``: this one command line alone. It is not recorded.
"""


COMMAND_LINE = "the command line"
"""The source of a setting that was given as a flag."""

RESUMED = "run "
"""How the source begins of a setting that comes from the run that is resumed; its ID follows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One option: how it is written in each place where it can be set.

    ``flags`` are command line flags (none: it can't be given there); ``env``
    is the environment variable; ``key`` the dotted key in ``[tool.rondel]``;
    ``concerns`` says how far it goes. A *flag* is a plain yes; a *switch* has a ``--no-`` form, too.
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
    concerns: Concern
    bare: str | None = None
    """What the flag means without a value; None if it has to have one."""


def _option(
    kind: Kind,
    help_: str,
    default: Any,
    *,
    concerns: Concern,
    flags: tuple[str, ...] = (),
    env: str | None = None,
    key: str | None = None,
    metavar: str | None = None,
    choices: tuple[str, ...] = (),
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
        "concerns": concerns,
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
    resumed: frozenset[str] = frozenset()
    """The options whose values come from the run that is resumed."""

    only: bool = _option(
        "flag", "run the targets alone, without what they need", False, flags=("--only",), concerns="run"
    )
    from_: str | None = _option(
        "text",
        "run this stage and what depends on it",
        None,
        flags=("--from",),
        metavar="STAGE",
        concerns="run",
    )
    resume: str | None = _option(
        "text",
        "resume a failed or waiting run (default: the newest)",
        None,
        flags=("--resume",),
        metavar="RUN",
        bare="latest",
        concerns="command",
    )
    force: bool = _option(
        "flag",
        "with --resume, even if inputs have changed",
        False,
        flags=("--force",),
        concerns="command",
    )
    interactive: bool = _option(
        "flag",
        "if a stage fails, open a shell in its container and ask how to continue",
        False,
        flags=("--interactive", "-i"),
        concerns="command",
    )
    shell: Literal["before", "after"] | None = _option(
        "choice",
        "open a shell in the stage's container before or after its command",
        None,
        flags=("--shell",),
        env="RONDEL_SHELL",
        choices=("before", "after"),
        concerns="command",
    )
    shell_at: int = _option(
        "number",
        "the index of the command that --shell applies to, from 0",
        0,
        env="RONDEL_SHELL_AT",
        concerns="command",
    )
    reproduces: str | None = _option(
        "text",
        "the run that this run reproduces; `rondel reproduce` sets it",
        None,
        env="RONDEL_REPRODUCES",
        concerns="command",
    )
    base_image: str | None = _option(
        "text",
        "use this base image (NAME@DIGEST) instead of its tag in the Containerfile; "
        "`rondel reproduce` sets it",
        None,
        env="RONDEL_BASE_IMAGE",
        concerns="command",
    )
    params: tuple[tuple[str, str], ...] = _option(
        "pairs",
        "override a parameter in this run (repeatable)",
        (),
        flags=("-P", "--param"),
        metavar="STAGE.PARAM=VALUE",
        concerns="result",
    )
    apply: bool = _option(
        "flag",
        "with -P: write the parameters and the results to the working tree",
        False,
        flags=("--apply",),
        concerns="run",
    )
    cache: bool = _option(
        "switch",
        "skip stages whose inputs have not changed",
        True,
        flags=("--cache",),
        env="RONDEL_CACHE",
        key="cache",
        concerns="run",
    )
    keep_going: bool = _option(
        "flag",
        "if a stage fails, still run the stages that don't depend on it",
        False,
        flags=("--keep-going", "-k"),
        env="RONDEL_KEEP_GOING",
        key="keep-going",
        concerns="run",
    )
    engine: EngineChoice = _option(  # noqa: RUF009 - it makes a field, as field() does
        "choice",
        "what runs the containers: a Dagger engine, or Rondel's embedded one",
        "auto",
        flags=("--engine",),
        env="RONDEL_ENGINE",
        key="engine.kind",
        choices=("auto", "dagger", "embedded"),
        concerns="machine",
    )
    push: bool | None = _option(
        "switch",
        "push results to the DVC remote (default: in CI, and to the local default remote)",
        None,
        flags=("--push",),
        env="RONDEL_PUSH",
        key="push",
        concerns="run",
    )
    commit: bool = _option(
        "flag",
        "after success, push data, then commit dvc.lock, *.dvc and metrics to the branch",
        False,
        flags=("--commit",),
        env="RONDEL_COMMIT",
        concerns="run",
    )
    approve_by: str | None = _option(
        "text",
        "approve the stages of this run that need approval, in this name",
        None,
        flags=("--approve-by",),
        metavar="NAME",
        concerns="run",
    )
    jobs: int = _option(
        "number",
        "how many stages run at once (0: as many as the machine has processors)",
        0,
        flags=("--jobs", "-j"),
        env="RONDEL_JOBS",
        key="jobs",
        metavar="N",
        concerns="machine",
    )
    dry_run: bool = _option(
        "flag",
        "show what would run and why, without starting anything",
        False,
        flags=("--dry-run", "-n"),
        concerns="command",
    )
    list_stages: bool = _option(
        "flag", "list the pipeline's stages", False, flags=("--list", "-l"), concerns="command"
    )
    verbose: int = _option(
        "count",
        "show the stages' output while they run",
        0,
        flags=("-v", "--verbose"),
        env="RONDEL_VERBOSE",
        concerns="command",
    )
    quiet: bool = _option(
        "flag", "show only failures and the final table", False, flags=("-q", "--quiet"), concerns="command"
    )

    name: str = _option(
        "text",
        "the project's name, also of the MLflow experiment and of services",
        "",
        env="RONDEL_NAME",
        key="name",
        concerns="result",
    )
    containerfile: str = _option(
        "text",
        "the Containerfile of the stages' image",
        "Containerfile",
        key="containerfile",
        concerns="result",
    )
    target: str = _option(
        "text", "the Containerfile's target that stages run in", "stage", key="target", concerns="result"
    )
    data_image: str | None = _option(
        "text",
        "an image with DVC to move data, if the stages' image has no DVC (default: build one)",
        None,
        env="RONDEL_DATA_IMAGE",
        key="data.image",
        concerns="machine",
    )
    build_args: tuple[tuple[str, str], ...] = _option(
        "pairs", "build arguments of the Containerfile", (), key="build-args", concerns="result"
    )
    secrets: tuple[str, ...] = _option(
        "list",
        "environment variables to pass to stages as secrets",
        (),
        env="RONDEL_SECRETS",
        key="secrets",
        concerns="run",
    )
    environment: tuple[str, ...] = _option(
        "list",
        "environment variables to pass to stages and to record",
        (),
        key="environment",
        concerns="result",
    )
    host_image: Literal["auto", "never"] = _option(
        "choice",
        "use this machine's system as base image if no registry answers",
        "auto",
        env="RONDEL_ENGINE_HOST_IMAGE",
        key="engine.host-image",
        choices=("auto", "never"),
        concerns="machine",
    )
    cache_size: str | None = _option(
        "text",
        "the maximum size of the engine's store (default: 20G, or a quarter of the disk if that is less)",
        None,
        env="RONDEL_ENGINE_CACHE_SIZE",
        key="engine.cache-size",
        metavar="SIZE",
        concerns="machine",
    )
    tracking_uri: str | None = _option(
        "text",
        "the MLflow server (default: a local one)",
        None,
        env="MLFLOW_TRACKING_URI",
        key="tracking.uri",
        concerns="run",
    )
    experiment: str | None = _option(
        "text",
        "the MLflow experiment",
        None,
        env="MLFLOW_EXPERIMENT_NAME",
        key="tracking.experiment",
        concerns="result",
    )
    linger: int = _option(
        "number",
        "how many seconds the local MLflow server runs after its last use",
        600,
        env="RONDEL_TRACKING_LINGER",
        key="tracking.linger",
        concerns="machine",
    )
    runs_megabytes: int = _option(
        "number",
        "the maximum size of the records of runs; the oldest are removed (0: no limit)",
        2000,
        env="RONDEL_RUNS_MEGABYTES",
        key="runs.megabytes",
        concerns="machine",
    )
    remote: str | None = _option(
        "text",
        "the DVC remote, instead of the project's",
        None,
        env="DVC_REMOTE_URL",
        key="remote",
        concerns="run",
    )
    ci: bool = _option("flag", "whether this is a CI job", False, env="CI", concerns="machine")

    def arguments(self) -> list[str]:
        """The flags that repeat these settings on any machine."""
        return [
            word
            for option in OPTIONS
            if option.flags and option.concerns in {"result", "run"} and self.is_set(option)
            for word in flag_words(option, getattr(self, option.name))
        ]

    def machine_arguments(self) -> list[str]:
        """The flags of this command line that apply to this machine only."""
        return [
            word
            for option in OPTIONS
            if option.concerns == "machine" and self.sources.get(option.name) == COMMAND_LINE
            for word in flag_words(option, getattr(self, option.name))
        ]

    def is_set(self, option: Option) -> bool:
        """Whether an option differs from its default, or was set to it explicitly."""
        value = getattr(self, option.name)
        explicit = self.sources.get(option.name) == COMMAND_LINE or option.name in self.resumed
        return (value is not None and explicit) or value != option.default


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
    text = str(value)
    return [f"{flag}={text}"] if text.startswith("-") else [flag, text]


OPTIONS: tuple[Option, ...] = tuple(
    Option(name=each.name, default=each.default, **each.metadata["option"])
    for each in fields(Settings)
    if "option" in each.metadata
)
"""All options, in the order of their declaration."""
