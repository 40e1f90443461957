"""Addresses: texts that stand for objects."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from rondel.engine.api.registry import Context, field, register_type
from rondel.errors import EngineError

if TYPE_CHECKING:
    from rondel.engine.api.objects import Obj


@dataclass(frozen=True, slots=True)
class Address:
    """A path, URL or image reference."""

    value: str


register_type(Address, "Address")

_GIT = ("https://", "http://", "ssh://", "git://", "git@")


@field("Query", "address")
async def address(ctx: Context, self: None, *, value: str) -> Address:
    """An address."""
    return Address(value)


@field("Address", "value")
async def value(ctx: Context, self: Address) -> str:
    """The address as given."""
    return self.value


async def _git(ctx: Context, text: str) -> tuple[Obj, Obj, str]:
    """Repository, reference and subdirectory of ``URL#REF:SUBDIR``."""
    url, _, fragment = text.partition("#")
    name, _, path = fragment.partition(":")
    repository = await ctx.root("git", url=url)
    reference = await (ctx.call(repository, "ref", name=name) if name else ctx.call(repository, "head"))
    return repository, reference, path


@field("Address", "directory")
async def directory(
    ctx: Context, self: Address, *, exclude: list[str], include: list[str], gitignore: bool, no_cache: bool
) -> Obj:
    """The directory: of a repository, or of the host."""
    found: Obj
    if self.value.startswith(_GIT):
        _, reference, path = await _git(ctx, self.value)
        found = await ctx.call(reference, "tree")
        if path:
            found = await ctx.call(found, "directory", path=path)
        if exclude or include or gitignore:
            found = await ctx.call(found, "filter", exclude=exclude, include=include, gitignore=gitignore)
        return found
    host = await ctx.root("host")
    path = self.value.removeprefix("file://")
    found = await ctx.call(
        host, "directory", path=path, exclude=exclude, include=include, gitignore=gitignore, noCache=no_cache
    )
    return found


@field("Address", "file")
async def file(
    ctx: Context, self: Address, *, exclude: list[str], include: list[str], gitignore: bool, no_cache: bool
) -> Obj:
    """The file: of a repository, or of the host."""
    found: Obj
    if self.value.startswith(_GIT):
        _, reference, path = await _git(ctx, self.value)
        tree = await ctx.call(reference, "tree")
        found = await ctx.call(tree, "file", path=path)
        return found
    host = await ctx.root("host")
    found = await ctx.call(host, "file", path=self.value.removeprefix("file://"), noCache=no_cache)
    return found


@field("Address", "secret")
async def secret(ctx: Context, self: Address) -> Obj:
    """The secret of a provider's URI."""
    found: Obj = await ctx.root("secret", uri=self.value)
    return found


@field("Address", "container")
async def container(ctx: Context, self: Address) -> Obj:
    """The container of an image reference."""
    found: Obj = await ctx.call(await ctx.root("container"), "from", address=self.value)
    return found


@field("Address", "gitRepository")
async def git_repository(ctx: Context, self: Address) -> Obj:
    """The repository of a URL."""
    return (await _git(ctx, self.value))[0]


@field("Address", "gitRef")
async def git_ref(ctx: Context, self: Address) -> Obj:
    """The reference of ``URL#REF``; without one the repository's head."""
    return (await _git(ctx, self.value))[1]


@field("Address", "socket")
async def socket(ctx: Context, self: Address) -> Obj:
    """The Unix socket of a path."""
    host = await ctx.root("host")
    found: Obj = await ctx.call(
        host, "unixSocket", path=posixpath.normpath(self.value.removeprefix("unix://"))
    )
    return found


@field("Address", "service")
async def service(ctx: Context, self: Address) -> Obj:
    """The service of ``tcp://HOST:PORT`` on the host's side."""
    parts = urlsplit(self.value)
    if parts.scheme not in {"tcp", "udp"} or parts.port is None:
        raise EngineError(f"service address {self.value!r} must be tcp://HOST:PORT or udp://HOST:PORT")
    host = await ctx.root("host")
    ports = [{"backend": parts.port, "frontend": parts.port, "protocol": parts.scheme.upper()}]
    found: Obj = await ctx.call(host, "service", host=parts.hostname or "localhost", ports=ports)
    return found
