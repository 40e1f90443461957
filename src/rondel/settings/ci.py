"""What a team says about its CI in ``[tool.rondel.ci]``."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal

from rondel.errors import ConfigurationError, did_you_mean

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class CiOptions:
    """How the wrappers are written.

    ``image`` is the runner's image (the Containerfile's target ``runner``), as
    the CI system's variable or a reference; empty for runners that have all
    they need. ``layout``: one job, or one for each stage. ``keep_days``: how
    long reports and capsules are kept. ``schedule``: a cron line for Jenkins
    (GitLab keeps its schedules outside of the file). ``branch``: the one that
    approvals are for, in Jenkins (GitLab knows its default branch). ``secrets``:
    names of the variables that jobs get as secrets, besides those of the
    option ``secrets``. ``workflow``: whether the
    GitLab file says that a merge request's branch has one pipeline, not two.
    ``agent``: what Jenkins runs on, as its ``agent`` directive has it, in place
    of the one with ``image``.
    ``lock``: Jenkins' Lockable Resources plugin keeps two deployments apart,
    also those of different branches.

    ``commit_message`` (with ``{stages}``, ``{run}``, ``{pipeline}``),
    ``commit_author`` (``Name <address>``; empty: who started the job) and
    ``commit_skip_ci`` are for ``--commit``.
    """

    image: str = "$RONDEL_RUNNER_IMAGE"
    layout: Literal["single", "stages"] = "single"
    keep_days: int = 30
    schedule: str = "H 4 * * *"
    branch: str = "main"
    secrets: tuple[str, ...] = ()
    workflow: bool = True
    lock: bool = False
    agent: str = ""
    commit_message: str = "Update results of {stages}"
    commit_author: str = ""
    commit_skip_ci: bool = True


def load_ci_options(root: Path) -> CiOptions:
    """The options of the project at ``root``. Raises ConfigurationError that names the key."""
    path = root / "pyproject.toml"
    table: dict[str, Any] = {}
    if path.exists():
        table = tomllib.loads(path.read_text()).get("tool", {}).get("rondel", {}).get("ci", {})
    known = {field.name.replace("_", "-"): field for field in fields(CiOptions)}
    values: dict[str, Any] = {}
    for key, value in table.items():
        place = f"pyproject.toml: tool.rondel.ci.{key}"
        if key not in known:
            raise ConfigurationError("there is no such option", hint=did_you_mean(key, known), place=place)
        expected = type(known[key].default)
        if isinstance(value, list) and all(isinstance(each, str) for each in value):
            value = tuple(value)  # noqa: PLW2901
        if type(value) is not expected:
            word = "a list of texts" if expected is tuple else expected.__name__
            raise ConfigurationError(f"expected {word}, found {value!r}", place=place)
        values[known[key].name] = value
    if values.get("layout", "single") not in {"single", "stages"}:
        raise ConfigurationError(
            f"{values['layout']!r} is no layout",
            hint="single or stages",
            place="pyproject.toml: tool.rondel.ci.layout",
        )
    agent = values.get("agent", "").strip()
    if agent and agent not in {"any", "none"} and not (agent.startswith("{") and agent.endswith("}")):
        raise ConfigurationError(
            f"{agent!r} is no agent of Jenkins",
            hint="any, none, or a block: { label 'ml' }",
            place="pyproject.toml: tool.rondel.ci.agent",
        )
    try:
        values.get("commit_message", "").format(stages="", run="", pipeline="")
    except (KeyError, IndexError, ValueError) as error:
        raise ConfigurationError(
            f"the message has a placeholder that there is not: {error}",
            hint="{stages}, {run} and {pipeline}",
            place="pyproject.toml: tool.rondel.ci.commit-message",
        ) from None
    return CiOptions(**values)
