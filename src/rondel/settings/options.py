"""The settings of a run. Each option is declared with its field."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from rondel.settings.declare import COMMAND_LINE, declare, declared, flag_words

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
    resumed: frozenset[str] = frozenset()
    """The options whose values come from the run that is resumed."""

    only: bool = declare(
        "flag", "run only the given stages, without what they need", False, flags=("--only",), concerns="run"
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
        "resume a failed or waiting run (default: the newest)",
        None,
        flags=("--resume",),
        metavar="RUN",
        bare="latest",
        concerns="command",
    )
    force: bool = declare(
        "flag",
        "with --resume: resume even if inputs have changed",
        False,
        flags=("--force",),
        concerns="command",
    )
    interactive: bool = declare(
        "flag",
        "if a stage fails, open a shell in its container and ask how to continue",
        False,
        flags=("--interactive", "-i"),
        concerns="command",
    )
    shell: Literal["before", "after"] | None = declare(
        "choice",
        "open a shell in the stage's container before or after its command",
        None,
        flags=("--shell",),
        env="RONDEL_SHELL",
        choices=("before", "after"),
        concerns="command",
    )
    shell_at: int = declare(
        "number",
        "the index of the command that --shell applies to, from 0",
        0,
        env="RONDEL_SHELL_AT",
        concerns="command",
    )
    reproduces: str | None = declare(
        "text",
        "the run that this run reproduces; `rondel reproduce` sets it",
        None,
        env="RONDEL_REPRODUCES",
        concerns="command",
    )
    base_image: str | None = declare(
        "text",
        "use this base image (NAME@DIGEST) instead of its tag in the Containerfile; "
        "`rondel reproduce` sets it",
        None,
        env="RONDEL_BASE_IMAGE",
        concerns="command",
    )
    params: tuple[tuple[str, str], ...] = declare(
        "pairs",
        "override a parameter in this run (repeatable)",
        (),
        flags=("-P", "--param"),
        metavar="STAGE.PARAM=VALUE",
        concerns="result",
    )
    apply: bool = declare(
        "flag",
        "with -P: write the parameters and the results to the working tree",
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
        "if a stage fails, still run the stages that don't depend on it",
        False,
        flags=("--keep-going", "-k"),
        env="RONDEL_KEEP_GOING",
        key="keep-going",
        concerns="run",
    )
    engine: EngineChoice = declare(  # noqa: RUF009 - it makes a field, as field() does
        "choice",
        "the engine that runs containers: a Dagger engine, or Rondel's embedded one",
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
        "after success, push data, then commit dvc.lock, *.dvc and metrics to the branch",
        False,
        flags=("--commit",),
        env="RONDEL_COMMIT",
        concerns="run",
    )
    approve_by: str | None = declare(
        "text",
        "approve the stages that need approval, in the name of NAME",
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
        "show what would run and why, without starting anything",
        False,
        flags=("--dry-run", "-n"),
        concerns="command",
    )
    list_stages: bool = declare(
        "flag", "list the pipeline's stages", False, flags=("--list", "-l"), concerns="command"
    )
    verbose: int = declare(
        "count",
        "show the stages' output while they run",
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
        "the project's name, also of the MLflow experiment and of services",
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
        "text", "the Containerfile's target for stages", "stage", key="target", concerns="result"
    )
    data_image: str | None = declare(
        "text",
        "an image with DVC to move data, if the stages' image has no DVC (default: build one)",
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
        "environment variables to pass to stages as secrets",
        (),
        env="RONDEL_SECRETS",
        key="secrets",
        concerns="run",
    )
    environment: tuple[str, ...] = declare(
        "list",
        "environment variables to pass to stages and to record",
        (),
        key="environment",
        concerns="result",
    )
    host_image: Literal["auto", "never"] = declare(
        "choice",
        "use this machine's system as base image if no registry answers",
        "auto",
        env="RONDEL_ENGINE_HOST_IMAGE",
        key="engine.host-image",
        choices=("auto", "never"),
        concerns="machine",
    )
    cache_size: str | None = declare(
        "text",
        "the maximum size of the engine's store (default: 20G, or a quarter of the disk if that is less)",
        None,
        env="RONDEL_ENGINE_CACHE_SIZE",
        key="engine.cache-size",
        metavar="SIZE",
        concerns="machine",
    )
    tracking_uri: str | None = declare(
        "text",
        "the MLflow server (default: a local one)",
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
        "how many seconds the local MLflow server runs after its last use",
        600,
        env="RONDEL_TRACKING_LINGER",
        key="tracking.linger",
        concerns="machine",
    )
    runs_megabytes: int = declare(
        "number",
        "the maximum size of the records of runs; the oldest are removed (0: no limit)",
        2000,
        env="RONDEL_RUNS_MEGABYTES",
        key="runs.megabytes",
        concerns="machine",
    )
    remote: str | None = declare(
        "text",
        "the DVC remote, instead of the project's",
        None,
        env="DVC_REMOTE_URL",
        key="remote",
        concerns="run",
    )
    ci: bool = declare(
        "flag", "whether this is a CI job; Rondel detects the CI system", False, concerns="machine"
    )

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


OPTIONS = declared(Settings)
"""All options, in the order of their declaration."""
