"""ADD of a git repository: the tree that its reference refers to now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rondel.engine.evaluate.gitcommands import Checkout, advertised, tree_of
from rondel.engine.evaluate.giturls import GitError, clean_url
from rondel.engine.values.git import GitRef, GitRepository, is_commit
from rondel.engine.values.node import digest_of

if TYPE_CHECKING:
    from rondel.containerfile import GitStep
    from rondel.engine.evaluate.session import Session
    from rondel.engine.values import Fs, Socket


async def repository_tree(session: Session, step: GitStep, agent: Socket | None) -> Fs:
    """The tree of the step's reference. Raises GitError."""
    url = clean_url(step.url)
    repository = GitRepository(key=digest_of("build.git", url), url=url, auth_socket=agent)
    name = step.reference or step.commit or "HEAD"
    if is_commit(name):
        found: tuple[str, str] | None = (name, name)
    else:
        found = (await advertised(session, repository)).find(name)
    if found is None:
        raise GitError(f'repository does not contain ref "{name}"')
    if not found[1].startswith(step.commit):
        raise GitError(
            f"expected checksum to match {step.commit}, got {found[1]}",
            hint=f"{name} of {step.url} is another commit than the Containerfile asks for",
        )
    ref = GitRef(repository=repository, name=found[0], sha=found[1])
    return tree_of(Checkout(ref=ref, discard_git_dir=not step.keep_git_dir, depth=1))
