"""Git repositories, remote ones and those in a directory."""

from __future__ import annotations

import posixpath
from typing import Any

from rondel.engine.api.changeset import Changeset
from rondel.engine.api.registry import Context, Keyed, field, register_type
from rondel.engine.evaluate.gitaccess import git_folder
from rondel.engine.evaluate.gitcommands import Checkout, advertised, cleaned, merge_base, tree_of
from rondel.engine.evaluate.giturls import GitError, clean_url
from rondel.engine.values import Directory, Secret, Socket
from rondel.engine.values.git import Advertised, GitRef, GitRepository, is_commit
from rondel.engine.values.node import digest_of
from rondel.engine.values.service import ContainerService, HostService

register_type(GitRepository, "GitRepository")
register_type(GitRef, "GitRef")


class Repositories:
    """The references of repositories; each one is asked once per session, for one consistent state."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self._known: dict[str, Advertised] = {}

    async def advertised(self, repository: GitRepository) -> Advertised:
        """The references of a repository."""
        known = self._known.get(repository.key)
        if known is None:
            known = self._known[repository.key] = await self._session.single_flight.do(
                ("git", repository.key), lambda: advertised(self._session, repository)
            )
        return known


async def _advertised(ctx: Context, repository: GitRepository) -> Advertised:
    return await ctx.session.part(Repositories).advertised(repository)


async def _ref(ctx: Context, repository: GitRepository, name: str) -> Keyed:
    """The reference with a name; its key is the commit that it refers to now."""
    found = (name, name) if is_commit(name) else (await _advertised(ctx, repository)).find(name)
    if found is None:
        raise GitError(f'repository does not contain ref "{name}"')
    ref = GitRef(repository=repository, name=found[0], sha=found[1])
    return Keyed(ref, digest_of("git-ref", repository.key, ref.name, ref.sha))


@field(
    "Query",
    "git",
    ssh_auth_socket=Socket,
    http_auth_token=Secret,
    http_auth_header=Secret,
    experimental_service_host=(ContainerService, HostService),
)
async def git(
    ctx: Context,
    self: None,
    *,
    url: str,
    keep_git_dir: bool | None,
    ssh_known_hosts: str,
    ssh_auth_socket: Socket | None,
    http_auth_username: str,
    http_auth_token: Secret | None,
    http_auth_header: Secret | None,
    experimental_service_host: ContainerService | HostService | None,
) -> GitRepository:
    """A remote repository; it must be reachable.

    If its server wants a login and none is given, the login of your own git is used.
    """
    _ = self
    repository = GitRepository(
        key=ctx.key,
        url=clean_url(url),
        known_hosts=ssh_known_hosts,
        auth_socket=ssh_auth_socket,
        username=http_auth_username,
        token=http_auth_token,
        header=http_auth_header,
        service=experimental_service_host,
        discard_git_dir=keep_git_dir is False,
    )
    await _advertised(ctx, repository)
    return repository


@field("Directory", "asGit")
async def as_git(ctx: Context, self: Directory) -> GitRepository:
    """The repository in a directory."""
    repository = GitRepository(key=ctx.key, fs=self.fs, path=self.path, local=True)
    if self.fs is None or git_folder(await ctx.view(self.fs), self.path) is None:
        raise GitError("git error: not a git repository")
    return repository


@field("GitRepository", "url")
async def url(ctx: Context, self: GitRepository) -> str | None:
    """The URL; empty for a local repository."""
    _ = ctx
    return self.url or None


@field("GitRepository", "head")
async def head(ctx: Context, self: GitRepository) -> Keyed:
    """The commit of HEAD."""
    return await _ref(ctx, self, "HEAD")


@field("GitRepository", "ref")
async def ref(ctx: Context, self: GitRepository, *, name: str) -> Keyed:
    """A branch, tag, full reference name or commit."""
    return await _ref(ctx, self, name)


@field("GitRepository", "branch")
async def branch(ctx: Context, self: GitRepository, *, name: str) -> Keyed:
    """A branch."""
    return await _ref(ctx, self, "refs/heads/" + name.removeprefix("refs/heads/"))


@field("GitRepository", "tag")
async def tag(ctx: Context, self: GitRepository, *, name: str) -> Keyed:
    """A tag."""
    return await _ref(ctx, self, "refs/tags/" + name.removeprefix("refs/tags/"))


@field("GitRepository", "commit")
async def commit(ctx: Context, self: GitRepository, *, id: str) -> Keyed:  # noqa: A002 - the schema's name
    """A commit by its full hash."""
    if not is_commit(id):
        raise GitError(f'invalid commit SHA: "{id}"')
    return await _ref(ctx, self, id)


@field("GitRepository", "latestVersion")
async def latest_version(ctx: Context, self: GitRepository) -> Keyed:
    """The highest tag that is a semantic version."""
    newest = (await _advertised(ctx, self)).latest_version()
    if newest is None:
        raise GitError("no valid semver tags found")
    return await _ref(ctx, self, "refs/tags/" + newest)


@field("GitRepository", "tags")
async def tags(ctx: Context, self: GitRepository, *, patterns: list[str] | None) -> list[str]:
    """The tags that match any of the patterns, or all."""
    return (await _advertised(ctx, self)).short_names("refs/tags/", patterns or ())


@field("GitRepository", "branches")
async def branches(ctx: Context, self: GitRepository, *, patterns: list[str] | None) -> list[str]:
    """The branches that match any of the patterns, or all."""
    return (await _advertised(ctx, self)).short_names("refs/heads/", patterns or ())


@field("GitRepository", "uncommitted")
async def uncommitted(ctx: Context, self: GitRepository) -> Changeset:
    """The changes of a local working tree since its last commit; ignored files don't count."""
    folder = None if self.fs is None else git_folder(await ctx.view(self.fs), self.path)
    now = Directory(self.fs, self.path)
    if folder is None or posixpath.basename(folder) != ".git":  # a bare repository has no changes
        return Changeset(now, now)
    top = posixpath.dirname(folder)
    inside = posixpath.normpath(posixpath.join("/", posixpath.relpath(self.path, top)))
    await ctx.view(cleaned(self, top))
    return Changeset(Directory(cleaned(self, top), inside), now)


@field("GitRef", "commit")
async def ref_commit(ctx: Context, self: GitRef) -> str:
    """The commit's hash."""
    _ = ctx
    return self.sha


@field("GitRef", "ref")
async def ref_name(ctx: Context, self: GitRef) -> str:
    """The full name, or the hash if the commit was requested by it."""
    _ = ctx
    return self.name


@field("GitRef", "tree")
async def tree(ctx: Context, self: GitRef, *, discard_git_dir: bool, depth: int, include_tags: bool) -> Keyed:
    """The commit's files, with a git folder of the requested depth unless it is discarded."""
    discard = discard_git_dir or self.repository.discard_git_dir
    checkout = Checkout(ref=self, discard_git_dir=discard, depth=depth, include_tags=include_tags)
    fs = tree_of(checkout)
    await ctx.view(fs)
    return Keyed(Directory(fs), fs.key)


@field("GitRef", "commonAncestor", other=GitRef)
async def common_ancestor(ctx: Context, self: GitRef, *, other: GitRef) -> Keyed:
    """The best common ancestor of both."""
    sha = await merge_base(ctx.session, self, other)
    return await _ref(ctx, self.repository, sha)
