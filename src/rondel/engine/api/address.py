"""Addresses: texts that refer to objects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlencode, urlsplit

from rondel.engine.api.registry import Context, field, register_type
from rondel.engine.evaluate.giturls import is_remote, split_fragment
from rondel.errors import EngineError

if TYPE_CHECKING:
    from rondel.engine.api.objects import Obj


@dataclass(frozen=True, slots=True)
class Address:
    """A path, URL or image reference."""

    value: str

    @property
    def local_path(self) -> str:
        """The address as a path on the client's machine."""
        return self.value.removeprefix("file://")


register_type(Address, "Address")


@field("Query", "address")
async def address(ctx: Context, self: None, *, value: str) -> Address:
    """Create an address. Raises EngineError for an empty one."""
    if not value:
        raise EngineError("resource cannot have empty address")
    return Address(value)


@field("Address", "value")
async def value(ctx: Context, self: Address) -> str:
    """The address as given."""
    return self.value


# -- files and directories


@field("Address", "directory")
async def directory(
    ctx: Context, self: Address, *, exclude: list[str], include: list[str], gitignore: bool, no_cache: bool
) -> Obj:
    """The directory at the address: of a repository, or of the host."""
    found: Obj
    if is_remote(self.value):
        found, path = await _tree(ctx, self.value)
        if path:
            found = await ctx.call(found, "directory", path=path)
        if exclude or include or gitignore:
            found = await ctx.call(found, "filter", exclude=exclude, include=include, gitignore=gitignore)
        return found
    found = await ctx.call(
        await ctx.root("host"),
        "directory",
        path=self.local_path,
        exclude=exclude,
        include=include,
        gitignore=gitignore,
        noCache=no_cache,
    )
    return found


@field("Address", "file")
async def file(
    ctx: Context, self: Address, *, exclude: list[str], include: list[str], gitignore: bool, no_cache: bool
) -> Obj:
    """The file at the address: of a repository (``URL#REF:PATH``), or of the host."""
    found: Obj
    if is_remote(self.value):
        if not split_fragment(self.value)[2]:
            raise EngineError("no file path specified within git repository")
        tree, path = await _tree(ctx, self.value)
        found = await ctx.call(tree, "file", path=path)
        return found
    found = await ctx.call(await ctx.root("host"), "file", path=self.local_path, noCache=no_cache)
    return found


# -- git


async def _tree(ctx: Context, text: str) -> tuple[Obj, str]:
    """The files of ``URL#REF:PATH``, and the path in them."""
    url, name, path = split_fragment(text)
    return await ctx.call(await _reference(ctx, await ctx.root("git", url=url), name), "tree"), path


async def _reference(ctx: Context, repository: Obj, name: str) -> Obj:
    """The reference with a name, or the head."""
    found: Obj
    found = await (ctx.call(repository, "ref", name=name) if name else ctx.call(repository, "head"))
    return found


async def _local_repository(ctx: Context, path: str) -> Obj:
    folder = await ctx.call(await ctx.root("host"), "directory", path=path)
    found: Obj = await ctx.call(folder, "asGit")
    return found


@field("Address", "gitRepository")
async def git_repository(ctx: Context, self: Address) -> Obj:
    """The repository with a URL, or in a directory of the host."""
    if not is_remote(self.value):
        return await _local_repository(ctx, self.local_path)
    url, name, path = split_fragment(self.value)
    if name:
        raise EngineError("git repository address cannot contain ref")
    if path:
        raise EngineError("git repository address cannot contain subdir")
    found: Obj = await ctx.root("git", url=url)
    return found


@field("Address", "gitRef")
async def git_ref(ctx: Context, self: Address) -> Obj:
    """The reference of ``URL#REF``, or ``PATH#REF`` on the host; the repository's head without one."""
    if not is_remote(self.value):
        path, _, name = self.local_path.partition("#")
        return await _reference(ctx, await _local_repository(ctx, path), name)
    url, name, path = split_fragment(self.value)
    if path:
        raise EngineError("git ref address cannot contain subdir")
    return await _reference(ctx, await ctx.root("git", url=url), name)


# -- secrets, containers, networks


@field("Address", "secret")
async def secret(ctx: Context, self: Address) -> Obj:
    """The secret of a provider's URI; a bare word is a variable's name, as in ``env://NAME``.

    ``?cacheKey=`` at its end is the secret's cache key and not part of the URI.
    """
    uri = self.value if ":" in self.value else f"env://{self.value}"
    scheme, _, rest = uri.partition(":")
    if not rest.startswith("//"):
        uri = f"{scheme}://{rest}"
    bare, _, text = uri.partition("?")
    pairs = parse_qsl(text, keep_blank_values=True)
    key = next((value for name, value in pairs if name == "cacheKey"), "")
    found: Obj
    if not key:
        found = await ctx.root("secret", uri=uri)
        return found
    others = urlencode(sorted((name, value) for name, value in pairs if name != "cacheKey"))
    found = await ctx.root("secret", uri=f"{bare}?{others}" if others else bare, cacheKey=key)
    return found


@field("Address", "container")
async def container(ctx: Context, self: Address) -> Obj:
    """The container of an image reference."""
    found: Obj = await ctx.call(await ctx.root("container"), "from", address=self.value)
    return found


@field("Address", "socket")
async def socket(ctx: Context, self: Address) -> Obj:
    """The Unix socket of a path."""
    found: Obj = await ctx.call(await ctx.root("host"), "unixSocket", path=self.value.removeprefix("unix://"))
    return found


@field("Address", "service")
async def service(ctx: Context, self: Address) -> Obj:
    """The service of ``tcp://HOST:PORT`` on the host."""
    parts = urlsplit(self.value)
    try:
        port = parts.port
    except ValueError:
        raise EngineError(f'address "{self.value}": invalid port') from None
    if port is None:
        where = f"address {parts.netloc}: " if parts.netloc else ""
        raise EngineError(f"{where}missing port in address")
    if parts.scheme not in {"tcp", "udp"}:
        raise EngineError(
            f'unsupported service address: "{parts.scheme}". Must be a valid tcp:// or udp:// URL'
        )
    ports = [{"backend": port, "frontend": port, "protocol": parts.scheme.upper()}]
    found: Obj = await ctx.call(
        await ctx.root("host"), "service", host=parts.hostname or "localhost", ports=ports
    )
    return found
