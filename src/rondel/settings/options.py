"""The settings of a run. Each option is declared with its field."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from rondel.settings.declare import COMMAND_LINE, RESUMED, declare, declared, flag_words

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from rondel.settings.declare import Option

EngineChoice = Literal["auto", "dagger", "embedded"]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of one run.

    ``root`` is the project's folder, which contains ``pyproject.toml``; paths in
    other options are relative to it. ``sources`` maps each option that was set
    to the place that set it.
    """

    root: Path
    sources: Mapping[str, str] = field(default_factory=dict)

    only: bool = declare(
        "flag", "run the targets alone, without what they need", False, flags=("--only",), concerns="run"
    )
    from_: str | None = declare(
        "text",
        "run this stage and what depends on it",
        None,
        flags=("--from",),
        metavar="STAGE",
        concerns="run",
    )
    resume: str | None = declare(
        "text",
        "go on where a run failed or waits (the newest one that did), with what succeeded before it",
        None,
        flags=("--resume",),
        metavar="RUN",
        bare="latest",
        concerns="command",
    )
    force: bool = declare(
        "flag",
        "with --resume: also when inputs have changed since",
        False,
        flags=("--force",),
        concerns="command",
    )
    interactive: bool = declare(
        "flag",
        "when a stage fails, open a shell in its container, and ask what next",
        False,
        flags=("--interactive", "-i"),
        concerns="command",
    )
    shell: Literal["before", "after"] | None = declare(
        "choice",
        "open a shell in the stage's container before its command, or in what the command left",
        None,
        flags=("--shell",),
        env="RONDEL_SHELL",
        choices=("before", "after"),
        concerns="command",
    )
    shell_at: int = declare(
        "number",
        "before or after which command of the stage, from 0",
        0,
        env="RONDEL_SHELL_AT",
        concerns="command",
    )
    reproduces: str | None = declare(
        "text",
        "the run that this one repeats; `rondel reproduce` sets it",
        None,
        env="RONDEL_REPRODUCES",
        concerns="command",
    )
    base_image: str | None = declare(
        "text",
        "build on this base image (NAME@DIGEST) where the Containerfile names it by tag; "
        "`rondel reproduce` sets it",
        None,
        env="RONDEL_BASE_IMAGE",
        concerns="command",
    )
    params: tuple[tuple[str, str], ...] = declare(
        "pairs",
        "use another value for a parameter in this run (repeatable)",
        (),
        flags=("-P", "--param"),
        metavar="STAGE.PARAM=VALUE",
        concerns="result",
    )
    apply: bool = declare(
        "flag",
        "with -P: write the parameters and what was made with them to the working tree",
        False,
        flags=("--apply",),
        concerns="run",
    )
    cache: bool = declare(
        "switch",
        "skip stages whose inputs have not changed",
        True,
        flags=("--cache",),
        env="RONDEL_CACHE",
        key="cache",
        concerns="run",
    )
    keep_going: bool = declare(
        "flag",
        "when a stage fails, let the stages that do not depend on it end",
        False,
        flags=("--keep-going", "-k"),
        env="RONDEL_KEEP_GOING",
        key="keep-going",
        concerns="run",
    )
    engine: EngineChoice = declare(  # noqa: RUF009 - it makes a field, as field() does
        "choice",
        "what runs the containers: a Dagger engine, or Rondel's embedded one",
        "auto",
        flags=("--engine",),
        env="RONDEL_ENGINE",
        key="engine.kind",
        choices=("auto", "dagger", "embedded"),
        concerns="machine",
    )
    push: bool | None = declare(
        "switch",
        "push results to the DVC remote (default: in CI, and to the local default remote)",
        None,
        flags=("--push",),
        env="RONDEL_PUSH",
        key="push",
        concerns="run",
    )
    commit: bool = declare(
        "flag",
        "after success, commit dvc.lock, *.dvc and metrics to the branch, data pushed first",
        False,
        flags=("--commit",),
        env="RONDEL_COMMIT",
        concerns="run",
    )
    approve_by: str | None = declare(
        "text",
        "approve the stages of this run that need it, in this name",
        None,
        flags=("--approve-by",),
        metavar="NAME",
        concerns="run",
    )
    jobs: int = declare(
        "number",
        "how many stages run at once (0: as many as the machine has processors)",
        0,
        flags=("--jobs", "-j"),
        env="RONDEL_JOBS",
        key="jobs",
        metavar="N",
        concerns="machine",
    )
    dry_run: bool = declare(
        "flag",
        "print what would run, and why, and start nothing",
        False,
        flags=("--dry-run", "-n"),
        concerns="command",
    )
    list_stages: bool = declare(
        "flag", "list the pipeline's stages", False, flags=("--list", "-l"), concerns="command"
    )
    verbose: int = declare(
        "count",
        "show the stages' output as it comes",
        0,
        flags=("-v", "--verbose"),
        env="RONDEL_VERBOSE",
        concerns="command",
    )
    quiet: bool = declare(
        "flag", "show only failures and the final table", False, flags=("-q", "--quiet"), concerns="command"
    )

    name: str = declare(
        "text",
        "the project's name: the MLflow experiment, names of services",
        "",
        env="RONDEL_NAME",
        key="name",
        concerns="result",
    )
    containerfile: str = declare(
        "text",
        "the Containerfile of the stages' image",
        "Containerfile",
        key="containerfile",
        concerns="result",
    )
    target: str = declare(
        "text", "the Containerfile's target that stages run in", "stage", key="target", concerns="result"
    )
    data_image: str | None = declare(
        "text",
        "an image with DVC that moves data, where the stages' own has none (default: one is built)",
        None,
        env="RONDEL_DATA_IMAGE",
        key="data.image",
        concerns="machine",
    )
    build_args: tuple[tuple[str, str], ...] = declare(
        "pairs", "build arguments of the Containerfile", (), key="build-args", concerns="result"
    )
    secrets: tuple[str, ...] = declare(
        "list",
        "environment variables that reach the stages as secrets",
        (),
        env="RONDEL_SECRETS",
        key="secrets",
        concerns="run",
    )
    environment: tuple[str, ...] = declare(
        "list",
        "environment variables that reach the stages and the record",
        (),
        key="environment",
        concerns="result",
    )
    host_image: Literal["auto", "never"] = declare(
        "choice",
        "whether this machine's own system may stand in where no registry answers",
        "auto",
        env="RONDEL_ENGINE_HOST_IMAGE",
        key="engine.host-image",
        choices=("auto", "never"),
        concerns="machine",
    )
    cache_size: str | None = declare(
        "text",
        "how large the engine's store may grow (default: 20G, or a quarter of the disk if that is less)",
        None,
        env="RONDEL_ENGINE_CACHE_SIZE",
        key="engine.cache-size",
        metavar="SIZE",
        concerns="machine",
    )
    tracking_uri: str | None = declare(
        "text",
        "the MLflow server; without it a local one is started",
        None,
        env="MLFLOW_TRACKING_URI",
        key="tracking.uri",
        concerns="run",
    )
    experiment: str | None = declare(
        "text",
        "the MLflow experiment",
        None,
        env="MLFLOW_EXPERIMENT_NAME",
        key="tracking.experiment",
        concerns="result",
    )
    linger: int = declare(
        "number",
        "seconds that the local MLflow server stays after the last run",
        600,
        env="RONDEL_TRACKING_LINGER",
        key="tracking.linger",
        concerns="machine",
    )
    runs_megabytes: int = declare(
        "number",
        "how much the records of runs may take before the oldest are removed (0: no limit)",
        2000,
        env="RONDEL_RUNS_MEGABYTES",
        key="runs.megabytes",
        concerns="machine",
    )
    remote: str | None = declare(
        "text",
        "the DVC remote, instead of the project's own",
        None,
        env="DVC_REMOTE_URL",
        key="remote",
        concerns="run",
    )
    ci: bool = declare(
        "flag", "whether this is a CI job; Rondel detects the CI system", False, concerns="machine"
    )

    def arguments(self) -> list[str]:
        """The flags that ask for the same again, on any machine."""
        return [
            word
            for option in OPTIONS
            if option.flags and option.concerns in {"result", "run"} and self.is_set(option)
            for word in flag_words(option, getattr(self, option.name))
        ]

    def machine_arguments(self) -> list[str]:
        """The flags of this command line that are about this machine: for a command that is for here."""
        return [
            word
            for option in OPTIONS
            if option.concerns == "machine" and self.sources.get(option.name) == COMMAND_LINE
            for word in flag_words(option, getattr(self, option.name))
        ]

    def is_set(self, option: Option) -> bool:
        """Whether an option is not at its default, or was put there on purpose."""
        value = getattr(self, option.name)
        source = self.sources.get(option.name, "")
        asked = value is not None and (source == COMMAND_LINE or source.startswith(RESUMED))
        return asked or value != option.default


OPTIONS = declared(Settings)
"""All options, in the order of their declaration."""
