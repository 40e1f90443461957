"""The options of ``[tool.rondel.ci]``: how CI files are written, and how ``--commit`` commits."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from rondel.settings.declare import declare, declared

if TYPE_CHECKING:
    from collections.abc import Mapping


def _check_agent(value: str) -> None:
    agent = value.strip()
    if agent and agent not in {"any", "none"} and not (agent.startswith("{") and agent.endswith("}")):
        raise ValueError(f"{agent!r} is not an agent of Jenkins", "any, none, or a block: { label 'ml' }")


def _check_message(value: str) -> None:
    try:
        value.format(stages="", run="", pipeline="")
    except (KeyError, IndexError, ValueError) as error:
        raise ValueError(
            f"the message has an unknown placeholder: {error}", "{stages}, {run} and {pipeline}"
        ) from None


def _option(kind: Any, help_: str, default: Any, key: str, **more: Any) -> Any:
    """An option of ``[tool.rondel.ci]``; no run depends on it, so no record has it."""
    return declare(kind, help_, default, key=f"ci.{key}", concerns="command", **more)


@dataclass(frozen=True, slots=True, kw_only=True)
class CiOptions:
    """How CI files are written, and how ``--commit`` commits.

    ``sources`` maps each option that was set to the place that set it.
    """

    sources: Mapping[str, str] = field(default_factory=dict)

    image: str = _option(
        "text",
        "the runner's image: a reference, or a variable of the CI system; empty if runners need none",
        "$RONDEL_RUNNER_IMAGE",
        "image",
        env="RONDEL_CI_IMAGE",
    )
    layout: Literal["single", "stages"] = _option(
        "choice",
        "one job (`single`), or one for each stage (`stages`)",
        "single",
        "layout",
        flags=("--layout",),
        env="RONDEL_CI_LAYOUT",
        choices=("single", "stages"),
    )
    keep_days: int = _option(
        "number",
        "how many days the CI system keeps reports and capsules",
        30,
        "keep-days",
        env="RONDEL_CI_KEEP_DAYS",
    )
    secrets: tuple[str, ...] = _option(
        "list", "variables that jobs get as secrets, in addition to the option `secrets`", (), "secrets"
    )
    stages: tuple[str, ...] = _option(
        "list",
        "GitLab: your own stages, which come before the pipeline's",
        (),
        "stages",
        env="RONDEL_CI_STAGES",
    )
    workflow: bool = _option(
        "switch",
        "GitLab: write a `workflow` that gives a merge request's branch one pipeline, not two",
        True,
        "workflow",
        env="RONDEL_CI_WORKFLOW",
    )
    agent: str = _option(
        "text",
        "Jenkins: the `agent` directive, in place of the one with `image`",
        "",
        "agent",
        env="RONDEL_CI_AGENT",
        check=_check_agent,
    )
    branch: str = _option(
        "text",
        "Jenkins: the branch that approvals are for (GitLab knows its default branch)",
        "main",
        "branch",
        env="RONDEL_CI_BRANCH",
    )
    schedule: str = _option(
        "text",
        "Jenkins: when scheduled stages run (GitLab keeps schedules outside of the file)",
        "H 4 * * *",
        "schedule",
        env="RONDEL_CI_SCHEDULE",
    )
    lock: bool = _option(
        "switch",
        "Jenkins: lock deployments across branches, with the Lockable Resources plugin",
        False,
        "lock",
        env="RONDEL_CI_LOCK",
    )
    commit_message: str = _option(
        "text",
        "the message of `--commit`, with `{stages}`, `{run}`, `{pipeline}`",
        "Update results of {stages}",
        "commit-message",
        env="RONDEL_CI_COMMIT_MESSAGE",
        check=_check_message,
    )
    commit_author: str = _option(
        "text",
        "the author of `--commit`, as `Name <address>` (default: the person who started the job)",
        "",
        "commit-author",
        env="RONDEL_CI_COMMIT_AUTHOR",
    )
    commit_skip_ci: bool = _option(
        "switch",
        "end the message of `--commit` with `[skip ci]`",
        True,
        "commit-skip-ci",
        env="RONDEL_CI_COMMIT_SKIP_CI",
    )


CI_OPTIONS = declared(CiOptions)
"""All options of ``[tool.rondel.ci]``, in the order of their declaration."""
