"""What a successful run gives back to git, from its capsule and the job that it ran in."""

from __future__ import annotations

import os
import re
from posixpath import dirname, join
from typing import TYPE_CHECKING

from rondel.ci.commit_results import TOKEN, ResultCommit, commit_results, default_author
from rondel.errors import ConfigurationError
from rondel.git.state import read_git
from rondel.settings.ci import load_ci_options

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rondel.ci.detect import CiContext
    from rondel.record import Capsule
    from rondel.settings import Settings
    from rondel.settings.ci import CiOptions


def give(capsule: Capsule, settings: Settings, context: CiContext | None) -> str:
    """Commit and push what the run changed; what became of it in words.

    Raises ConfigurationError where there is no branch, and DataError if
    nothing can be pushed.
    """
    wanted = plan_result_commit(capsule, context, load_ci_options(settings.root), os.environ)
    given = commit_results(settings.root, wanted, os.environ)
    if given is None:
        return "--commit: nothing to commit"
    short = given.commit[:12]
    if given.aside:
        said = f"--commit: {short} is on {given.branch}, for a merge request"
        return f"{said} ({given.why.splitlines()[0]})" if given.why else said
    return f"--commit: {short} is on {given.branch}{', rebased' if given.rebased else ''}"


def check_result_commit(settings: Settings, context: CiContext | None) -> None:
    """Refuse before anything starts what could not be given back. Raises ConfigurationError."""
    if not settings.commit:
        return
    if settings.push is False:
        raise ConfigurationError(
            "--commit needs the data to be pushed, and --no-push forbids it",
            place=settings.sources.get("push"),
        )
    git = read_git(settings.root)
    if git.commit is None:
        raise ConfigurationError("--commit: there is no git repository here, or nothing is committed in it")
    _branch(context, git.branch)


def _branch(context: CiContext | None, checked_out: str | None) -> str:
    """The branch to commit to. Raises ConfigurationError where there is none."""
    # Of a CI system that is known the checkout's name may be a tag's.
    known = context is not None and context.provider != "other"
    branch = context.branch if context and known else checked_out
    if not branch or branch == "HEAD":
        raise ConfigurationError(
            "--commit: this job is for no branch" if context else "--commit: no branch is checked out",
            why="a tag, or a checkout that names none",
            hint=None if context else "git switch BRANCH",
        )
    return branch


def plan_result_commit(
    capsule: Capsule,
    context: CiContext | None,
    options: CiOptions,
    environ: Mapping[str, str],
) -> ResultCommit:
    """What would be committed, and where to. Raises ConfigurationError."""
    branch = _branch(context, capsule.git.branch)
    ran = [record for record in capsule.stages if record.state in {"ran", "restored"}]
    # Of a cached stage, an earlier result may have been put back.
    there = [*ran, *(record for record in capsule.stages if record.state == "cached" and record.pushed)]
    outputs = {path: digest for record in there for path, digest in record.outputs.items()}
    names = ", ".join(record.name for record in ran) or "nothing"
    message = options.commit_message.format(stages=names, run=capsule.id, pipeline=capsule.pipeline)
    if options.commit_skip_ci:
        message += "\n\n[skip ci]"
    return ResultCommit(
        branch=branch,
        message=message,
        author=options.commit_author or default_author(environ),
        aside=f"rondel/{re.sub(r'[^A-Za-z0-9._-]+', '-', branch)}-{capsule.id}",
        made=frozenset(outputs.values()),
        paths=tuple(sorted({*outputs, *(join(dirname(path), ".gitignore") for path in outputs)})),
        url=_url(environ),
        options=_push_options(context, branch, message),
        merged=context is not None and context.merge_request is not None,
    )


def _url(environ: Mapping[str, str]) -> str | None:
    """GitLab's checkout has the job's own token in its address, which may not push."""
    if environ.get("GITLAB_CI") and environ.get(TOKEN) and environ.get("CI_PROJECT_URL"):
        return f"{environ['CI_PROJECT_URL']}.git"
    return None


def _push_options(context: CiContext | None, branch: str, message: str) -> tuple[str, ...]:
    """GitLab makes the merge request by itself: https://docs.gitlab.com/topics/git/commit/#push-options"""
    if context is None or context.provider != "gitlab":
        return ()
    title = message.splitlines()[0]
    return (
        "merge_request.create",
        f"merge_request.target={branch}",
        f"merge_request.title={title}",
        "merge_request.remove_source_branch",
    )
