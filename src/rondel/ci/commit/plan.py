"""What ``--commit`` commits and where to, from the run's capsule and its CI job."""

from __future__ import annotations

import os
import re
from posixpath import dirname, join
from typing import TYPE_CHECKING

from rondel.ci.commit.push import TOKEN, ResultCommit, commit_results
from rondel.ci.model import ADDRESS, AUTHOR
from rondel.ci.providers import REGISTRY, provider_of
from rondel.errors import ConfigurationError
from rondel.git.state import read_git
from rondel.settings import load_ci_options

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rondel.ci.model import CiContext
    from rondel.record import Capsule
    from rondel.settings import CiOptions, Settings


def commit_run(capsule: Capsule, settings: Settings, context: CiContext | None) -> str:
    """Commit and push what the run changed; what happened in words.

    Raises ConfigurationError if there is no branch, and DataError if nothing can
    be pushed.
    """
    options = load_ci_options(settings.root, {}, os.environ)
    done = commit_results(settings.root, plan_commit(capsule, context, options, os.environ), os.environ)
    if done is None:
        return "--commit: nothing to commit"
    short = done.commit[:12]
    if done.aside:
        text = f"--commit: {short} is on {done.branch}, for a merge request"
        return f"{text} ({done.why.splitlines()[0]})" if done.why else text
    return f"--commit: {short} is on {done.branch}{', rebased' if done.rebased else ''}"


def check_commit(settings: Settings, context: CiContext | None) -> None:
    """Raise ConfigurationError before anything starts if ``--commit`` could not commit the results."""
    if not settings.commit:
        return
    if settings.push is False:
        raise ConfigurationError(
            "--commit needs the data to be pushed, and --no-push forbids it",
            place=settings.sources.get("push"),
        )
    git = read_git(settings.root)
    if git.commit is None:
        raise ConfigurationError("--commit: there is no git repository here, or it has no commit")
    _branch(context, git.branch)


def _branch(context: CiContext | None, checked_out: str | None) -> str:
    """The branch to commit to. Raises ConfigurationError if there is none."""
    if context is None:
        branch = checked_out
    elif context.provider in REGISTRY:
        branch = context.branch  # the checkout's may have the name of a tag
    else:
        branch = checked_out or context.branch
    if not branch or branch == "HEAD":
        raise ConfigurationError(
            "--commit: this job runs for no branch" if context else "--commit: no branch is checked out",
            why="it runs for a tag, or its checkout is detached",
            hint=None if context else "git switch BRANCH",
        )
    return branch


def plan_commit(
    capsule: Capsule,
    context: CiContext | None,
    options: CiOptions,
    environ: Mapping[str, str],
) -> ResultCommit:
    """What to commit, and where to. Raises ConfigurationError if there is no branch."""
    branch = _branch(context, capsule.git.branch)
    ran = [record for record in capsule.stages if record.state in {"ran", "restored"}]
    # A cached stage may have restored an earlier result.
    there = [*ran, *(record for record in capsule.stages if record.state == "cached" and record.pushed)]
    outputs = {path: digest for record in there for path, digest in record.outputs.items()}
    names = ", ".join(record.name for record in ran) or "nothing"
    message = options.commit_message.format(stages=names, run=capsule.id, pipeline=capsule.pipeline)
    if options.commit_skip_ci:
        message += "\n\n[skip ci]"
    push = provider_of(context).push if context is not None else None
    return ResultCommit(
        branch=branch,
        message=message,
        author=author_of(context, options),
        aside=f"rondel/{re.sub(r'[^A-Za-z0-9._-]+', '-', branch)}-{capsule.id}",
        made=frozenset(outputs.values()),
        paths=tuple(sorted({*outputs, *(join(dirname(path), ".gitignore") for path in outputs)})),
        url=push.url(environ) if push is not None and environ.get(TOKEN) else None,
        options=push.options(branch, message.splitlines()[0]) if push is not None else (),
        merged=context is not None and context.merge_request is not None,
    )


def author_of(context: CiContext | None, options: CiOptions) -> str:
    """The author of the commit: the option's, else the person who started the job, else Rondel."""
    started_by = context.author if context is not None else None
    return options.commit_author or started_by or f"{AUTHOR} <{ADDRESS}>"
