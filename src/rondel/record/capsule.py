"""The capsule: everything that has to be known about one run to hold it in one's hand.

Frozen values that turn into versioned JSON and back (``rondel.record.codec``).
The JSON Schema in ``docs/reference/capsule.schema.json`` is made from these
classes, so a field's comment here is its documentation there. Values of
secrets have no field to go to: only their names are kept.
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
    """The code's state: a commit, and what differed from it.

    ``diff`` names the file beside the capsule that holds the output of ``git
    diff --binary HEAD``, empty if there was none; ``changed`` maps each path in
    it to the sha256 of its part. ``untracked`` maps the path of each file that
    git neither knew nor ignored to the sha256 of its content, which lies in
    ``untracked/SHA256``. ``omitted`` maps paths that were not kept to the
    reason. ``prefix`` is the project's folder in the repository.
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
    """The image that the stages ran in, and where it came from.

    ``digest`` is what the engine calls it: a Dagger engine's of its files, the
    embedded one's (``blake2b:…``) of base, steps and copied content. ``source``
    is ``registry`` (which archives count as), ``host`` where this machine's own
    system stood in for a base image, or ``in-place``; ``base`` is the base
    image's reference with digest, where the engine tells it. ``recipe`` maps what the image is
    made from (Containerfile, files that it copies, platform, and the host's
    part where it stood in) to a hash or a name; ``packages`` are the Python
    distributions in it with their versions.
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

    Older records have ``session`` for a Dagger engine's session that was there already.
    """

    kind: Literal["session", "dagger", "embedded"]
    version: str = ""
    mode: str = ""


@dataclass(frozen=True, kw_only=True)
class Host:
    """The machine, as far as results can depend on it."""

    system: str = ""
    machine: str = ""
    python: str = ""
    distribution: str = ""
    cpus: int = 0
    memory_bytes: int = 0
    rondel: str = ""


@dataclass(frozen=True, kw_only=True)
class CiJob:
    """The CI job that made the run."""

    provider: str
    url: str | None = None
    id: str | None = None
    name: str | None = None


@dataclass(frozen=True, kw_only=True)
class MlflowRun:
    """A run on the MLflow server. ``uri`` is the server's address without credentials.

    ``url`` is the run's page; None where nobody but the run itself reaches it:
    a server on the loopback of a CI job's machine, or one that ended with the run.
    """

    run_id: str
    url: str | None = None
    uri: str | None = None


@dataclass(frozen=True, kw_only=True)
class CommandRecord:
    """A command that ran in a container. ``exit_code`` is None while it runs or if it never ended.

    ``outcome`` tells of a DVC stage whether its command ``ran``, or what it
    made earlier under the same key was ``restored``, or is ``unchanged`` in
    place; then ``made_by`` is the run that made it.
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
        """The same in words."""
        return f"approved for {self.environment} by {self.by} ({self.how})"


@dataclass(frozen=True, kw_only=True)
class VerdictRecord:
    """A gate's verdict: each rule with what it was compared with.

    ``source`` is where the metrics came from. ``evaluation`` is what they were
    measured with: data, code, parameters, command and image, each with a hash;
    a champion that was measured with something else (``champion_measured``) is
    not comparable.
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
    """A stage's key and the parts that it is the digest of, kept apart so that they can be compared."""

    digest: str
    parts: dict[str, dict[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class StageRecord:
    """What became of one stage. Times are ISO 8601 in UTC, ``seconds`` is wall time.

    A stage that ``ran`` did so. Of a ``cached`` one an earlier success under
    the same key holds, and ``image`` is the one that it was made in; of a
    ``restored`` one, too, but its results had to be brought by a container.
    ``undeclared`` are files of the workspace that its commands read and that
    are not among its dependencies; None where that is not known, and
    ``untraced`` says why. ``aside`` says that its results were not brought to
    the working tree, because their parameters are not those of its files;
    ``pushed`` that what it made was pushed to the DVC remote. ``approval`` says who approved it, and
    ``awaits_approval`` for what it still has to be approved.

    ``inputs`` and ``outputs`` map paths to ``md5:…`` (DVC's) or ``sha256:…``;
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
    log: str | None = None
    reused_from: str | None = None


@dataclass(frozen=True, kw_only=True)
class Capsule:
    """The record of one run. ``arguments`` repeat it: they are what follows ``python ci/main.py``.

    ``options`` are the values of options that were given, or not at their
    default, and ``settings`` says where they came from. Those about the machine
    are for the reader: nothing applies them on another one. ``resumes`` and ``reproduces`` are
    the IDs of the runs that this one goes on from, or repeats.
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
        """The record of the stage of that name; KeyError if the run had none."""
        for record in self.stages:
            if record.name == name:
                return record
        raise KeyError(name)
