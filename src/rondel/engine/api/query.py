"""The root of queries: new objects, and objects by their ID."""

from __future__ import annotations

from importlib import metadata
from typing import TYPE_CHECKING

from rondel.engine.api.registry import Context, Keyed, Resolver, field, register_type
from rondel.engine.api.schema import load
from rondel.engine.values import (
    CacheVolume,
    Container,
    Directory,
    EnvVariable,
    File,
    Healthcheck,
    Label,
    Port,
    Secret,
    Socket,
    digest_of,
)
from rondel.errors import EngineError

if TYPE_CHECKING:
    from rondel.engine.api.objects import Obj

for _kind in (CacheVolume, Container, Directory, EnvVariable, File, Label, Port, Secret, Socket):
    register_type(_kind, _kind.__name__)
register_type(Healthcheck, "HealthcheckConfig")


@field("Query", "version")
async def version(ctx: Context, self: None) -> str:
    """The engine's version; the client only logs it."""
    return f"v0.21.8+rondel.{metadata.version('rondel')}"


@field("Query", "defaultPlatform")
async def default_platform(ctx: Context, self: None) -> str:
    """The platform of this machine."""
    return ctx.session.platform


@field("Query", "container")
async def container(ctx: Context, self: None, *, platform: str | None) -> Keyed:
    """An empty container; naming its default platform makes no difference."""
    made = Container(platform=platform or ctx.session.platform)
    return Keyed(made, digest_of("container", made.platform))


@field("Query", "directory")
async def directory(ctx: Context, self: None) -> Directory:
    """An empty directory."""
    return Directory()


@field("Query", "file")
async def file(ctx: Context, self: None, *, name: str, contents: str, permissions: int | None) -> Obj:
    """A new file, in an otherwise empty directory."""
    if "/" in name:
        raise EngineError(f'file name "{name}" must not contain a directory')
    empty = await ctx.root("directory")
    mode = 0o644 if permissions is None else permissions
    holder = await ctx.call(empty, "withNewFile", path=name, contents=contents, permissions=mode)
    found: Obj = await ctx.call(holder, "file", path=name)
    return found


@field("Query", "cacheVolume", source=Directory)
async def cache_volume(
    ctx: Context,
    self: None,
    *,
    key: str,
    source: Directory | None,
    sharing: str,
    owner: str,
) -> CacheVolume:
    """A cache volume; every argument is part of its identity."""
    return CacheVolume(key, sharing, owner, source)


@field("Query", "node", memo=False, as_is=True)
async def node(ctx: Context, self: None, *, id: Obj) -> Obj:
    """The object of an ID."""
    return ctx.obj if id is None else id


def _loader(type_name: str) -> Resolver:
    async def load_from_id(ctx: Context, self: None, *, id: Obj) -> Obj:
        """The object of an ID, which must have a certain type."""
        if id.type != type_name:
            raise EngineError(f"load {type_name}: expected {type_name}, got {id.type}")
        return id

    return load_from_id


for _name, _definition in load().types["Query"].fields.items():
    if _name.startswith("load") and _name.endswith("FromID"):
        field("Query", _name, memo=False, as_is=True)(_loader(_definition.base))
