"""The capsule: everything that is recorded about one run.

Frozen values that are encoded as versioned JSON (``rondel.record.codec``). The
JSON Schema in ``docs/reference/capsule.schema.json`` is generated from these
classes, so their docstrings are its documentation. There is no field for the
value of a secret: only names are recorded.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

SCHEMA_VERSION = 1

RunState = Literal["running", "succeeded", "failed", "waiting", "interrupted"]
StageState = Literal["pending", "running", "ran", "restored", "cached", "failed", "skipped", "cancelled"]
Outcome = StageState


@dataclass(frozen=True, kw_only=True)
class Git:
    """The commit, and what differed from it.

    ``diff`` names the file in the run's folder with the output of ``git diff
    --binary HEAD``; empty if there was none. ``changed`` maps each path in it to
    the SHA-256 of its section. ``untracked`` maps each untracked file that is not
    ignored to the SHA-256 of its content, which is in ``untracked/SHA256``.
    ``omitted`` maps paths that were left out to the reason. ``prefix`` is the
    project's folder in the repository.
    """

    commit: str | None = None
    branch: str | None = None
    dirty: bool = False
    diff: str = ""
    changed: dict[str, str] = field(default_factory=dict)
    untracked: dict[str, str] = field(default_factory=dict)
    omitted: dict[str, str] = field(default_factory=dict)
    remote_url: str | None = None
    prefix: str = ""


@dataclass(frozen=True, kw_only=True)
class Image:
    """The image that the stages ran in, and its origin.

    ``digest`` identifies the image to its engine: a Dagger engine's is that of its
    files, the embedded engine's (``blake2b:…``) that of base, steps and copied
    content. ``source`` is ``registry`` (also for archives), ``host`` if this
    machine's own system replaced a base image, or ``in-place``. ``base`` is the
    base image's reference with digest, if the engine reports it. ``recipe`` maps
    what the image is made from (Containerfile, files that it copies, platform, and
    the host if it replaced the base image) to a hash or a name. ``packages`` are
    its Python distributions with their versions.
    """

    reference: str
    digest: str | None = None
    source: str | None = None
    base: str | None = None
    recipe: dict[str, str] = field(default_factory=dict)
    packages: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Engine:
    """What executed the run: a Dagger engine (``dagger``) or Rondel's ``embedded`` one.

    Older records have ``session`` for an existing Dagger session.
    """

    kind: Literal["session", "dagger", "embedded"]
    version: str = ""
    mode: str = ""


@dataclass(frozen=True, kw_only=True)
class Host:
    """The properties of the machine that results could depend on."""

    system: str = ""
    machine: str = ""
    python: str = ""
    distribution: str = ""
    cpus: int = 0
    memory_bytes: int = 0
    rondel: str = ""


@dataclass(frozen=True, kw_only=True)
class CiJob:
    """The CI job that executed the run."""

    provider: str
    url: str | None = None
    id: str | None = None
    name: str | None = None


@dataclass(frozen=True, kw_only=True)
class MlflowRun:
    """A run on the MLflow server. ``uri`` is the server's address without credentials.

    ``url`` is the run's page. It is None if the page can't be opened later: a
    server on the loopback address of a CI job's machine, or one that stopped with
    the run.
    """

    run_id: str
    url: str | None = None
    uri: str | None = None


@dataclass(frozen=True, kw_only=True)
class CommandRecord:
    """A command that ran in a container. ``exit_code`` is None if it has not ended.

    ``outcome`` is set for DVC stages: the command ``ran``, or an earlier result with
    the same key was ``restored`` or is ``unchanged`` in the working tree. ``made_by``
    is the run that made the result.
    """

    args: list[str]
    exit_code: int | None = None
    seconds: float | None = None
    outcome: str = ""
    made_by: str | None = None


@dataclass(frozen=True, kw_only=True)
class CallRecord:
    """A context method that the stage called, with its arguments as JSON values."""

    kind: str
    name: str = ""
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Approval:
    """Who approved a stage for what, and how: by a ``flag`` or at a ``terminal``."""

    environment: str
    by: str
    how: str

    @property
    def sentence(self) -> str:
        """The approval as a sentence."""
        return f"approved for {self.environment} by {self.by} ({self.how})"


@dataclass(frozen=True, kw_only=True)
class VerdictRecord:
    """A gate's verdict: each rule with the values that it compared.

    ``source`` is the file with the metrics. ``evaluation`` has the parts of the
    evaluation that measured them: data, code, parameters, command and image, each
    with a hash. A champion with another evaluation (``champion_measured``) is not
    comparable.
    """

    passed: bool
    model: str | None = None
    champion_version: str | None = None
    source: str = ""
    rules: list[dict[str, Any]] = field(default_factory=list)
    metrics: dict[str, float] = field(default_factory=dict)
    champion_metrics: dict[str, float] = field(default_factory=dict)
    champion_measured: str = ""
    champion_note: str = ""
    evaluation: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class KeyRecord:
    """A stage's key: the digest, and the parts that it was made from, so that keys can be compared."""

    digest: str
    parts: dict[str, dict[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class StageRecord:
    """What happened to one stage. Times are ISO 8601 in UTC; ``seconds`` is wall time.

    A stage with the state ``ran`` executed. A ``cached`` one reused an earlier result
    with the same key, and ``image`` is the image that made it. So did a ``restored``
    one, but a container had to fetch the result. ``reused_from`` is the run that
    made a reused result.

    ``undeclared`` are files of the workspace that its commands read and that are
    not among its dependencies. If it is None, they are unknown, and ``untraced``
    says why. ``aside``: its results were not written to the working tree, because
    its parameters differ from the files there. ``pushed``: its results were pushed
    to the DVC remote.
    ``approval`` says who approved the stage, ``awaits_approval`` what it still has to
    be approved for. ``cause`` is the line of ``error`` that tells most: the last one that
    the failed command printed.

    ``inputs`` and ``outputs`` map paths to ``md5:…`` (DVC's) or ``sha256:…``.
    ``log`` is the log's path relative to the run's folder.
    """

    name: str
    kind: Literal["pure", "effect"]
    state: Outcome = "pending"
    needs: list[str] = field(default_factory=list)
    reason: str = ""
    started: str | None = None
    finished: str | None = None
    seconds: float = 0.0
    attempts: int = 0
    key: KeyRecord | None = None
    parameters: dict[str, Any] = field(default_factory=dict)
    inputs: dict[str, str] = field(default_factory=dict)
    outputs: dict[str, str] = field(default_factory=dict)
    uses: list[CallRecord] = field(default_factory=list)
    commands: list[CommandRecord] = field(default_factory=list)
    image: Image | None = None
    undeclared: list[str] | None = None
    untraced: str = ""
    aside: bool = False
    pushed: bool = False
    metrics: dict[str, float] = field(default_factory=dict)
    verdicts: list[VerdictRecord] = field(default_factory=list)
    mlflow: MlflowRun | None = None
    approval: Approval | None = None
    awaits_approval: str | None = None
    exit_code: int | None = None
    error: str | None = None
    cause: str | None = None
    log: str | None = None
    reused_from: str | None = None


@dataclass(frozen=True, kw_only=True)
class Capsule:
    """The record of one run. ``arguments`` are what follows ``python ci/main.py`` to repeat it.

    ``options`` are the values of options that were set or differ from their
    defaults; ``settings`` says where they came from. Options about the machine are
    recorded for information only: nothing applies them on another machine.
    ``resumes`` and ``reproduces`` are the IDs of the runs that this one continues
    or repeats.
    """

    schema_version: int
    id: str
    state: RunState
    pipeline: str
    file: str
    created: str
    finished: str | None = None
    seconds: float = 0.0
    arguments: list[str] = field(default_factory=list)
    invocation: list[str] = field(default_factory=list)
    targets: list[str] = field(default_factory=list)
    overrides: dict[str, str] = field(default_factory=dict)
    settings: dict[str, str] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    resumes: str | None = None
    reproduces: str | None = None
    git: Git = field(default_factory=Git)
    image: Image | None = None
    engine: Engine | None = None
    host: Host = field(default_factory=Host)
    ci: CiJob | None = None
    environment: dict[str, str] = field(default_factory=dict)
    secrets: list[str] = field(default_factory=list)
    mlflow: MlflowRun | None = None
    exit_code: int | None = None
    error: str | None = None
    stages: list[StageRecord] = field(default_factory=list)

    def stage(self, name: str) -> StageRecord:
        """The record of the stage with this name. Raises KeyError if the run has none."""
        for record in self.stages:
            if record.name == name:
                return record
        raise KeyError(name)
