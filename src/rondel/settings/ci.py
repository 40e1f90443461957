"""What a team says about its CI in ``[tool.rondel.ci]``."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal

from rondel.errors import ConfigurationError, did_you_mean
from rondel.settings.load import read_project, table_of

if TYPE_CHECKING:
    from pathlib import Path


def _option(default: Any, text: str) -> Any:
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True, slots=True, kw_only=True)
class CiOptions:
    """How the wrappers are written, and how ``--commit`` commits; docs/reference/options.md has the table."""

    image: str = _option(
        "$RONDEL_RUNNER_IMAGE",
        "the runner's image, a reference or a variable of the CI system; empty where runners need none",
    )
    layout: Literal["single", "stages"] = _option(
        "single", "one job (`single`), or one for each stage (`stages`)"
    )
    keep_days: int = _option(30, "days that reports and capsules are kept")
    secrets: tuple[str, ...] = _option(
        (), "names of variables that jobs get as secrets, besides those of the option `secrets`"
    )
    stages: tuple[str, ...] = _option((), "GitLab: stages of your own, before the pipeline's")
    workflow: bool = _option(
        True, "GitLab: whether the file says that a merge request's branch has one pipeline, not two"
    )
    agent: str = _option("", "Jenkins: the `agent` directive as it is, in place of the one with `image`")
    branch: str = _option(
        "main", "Jenkins: the branch that approvals are for (GitLab knows its default branch)"
    )
    schedule: str = _option(
        "H 4 * * *", "Jenkins: when scheduled stages run (GitLab keeps its schedules outside of the file)"
    )
    lock: bool = _option(
        False, "Jenkins: keep deployments apart also across branches, by the Lockable Resources plugin"
    )
    commit_message: str = _option(
        "Update results of {stages}", "the message of `--commit`, with `{stages}`, `{run}`, `{pipeline}`"
    )
    commit_author: str = _option("", "`Name <address>` of `--commit` (default: who started the job)")
    commit_skip_ci: bool = _option(True, "whether that message ends with `[skip ci]`")


def load_ci_options(root: Path) -> CiOptions:
    """The options of the project at ``root``. Raises ConfigurationError that names the key."""
    table = table_of(read_project(root)[1], "ci", place="tool.rondel.ci")
    known = {each.name.replace("_", "-"): each for each in fields(CiOptions)}
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
