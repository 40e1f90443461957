"""The client's machine: its directories, files and sockets."""

from __future__ import annotations

import os
import posixpath
from dataclasses import dataclass

from rondel.engine.api.exports import client_path
from rondel.engine.api.registry import Context, Keyed, field, register_type
from rondel.engine.evaluate.hostfiles import host_directory, host_file
from rondel.engine.values import Directory, File, Socket, digest_of


@dataclass(frozen=True, slots=True)
class ClientHost:
    """The machine that the client runs on."""


register_type(ClientHost, "Host")


@field("Query", "host")
async def host(ctx: Context, self: None) -> ClientHost:
    """The client's machine."""
    return ClientHost()


def _inside(patterns: list[str]) -> list[str]:
    """The patterns without those that lead out of the directory, which match nothing; ``.`` is everything."""
    kept = []
    for pattern in patterns:
        bare = pattern.removeprefix("!")
        clean = posixpath.normpath(bare) if bare else ".."
        if clean != ".." and not clean.startswith(("/", "../")):
            kept.append(pattern[: len(pattern) - len(bare)] + ("*" if clean == "." else clean))
    return kept


@field("Host", "directory")
async def directory(
    ctx: Context,
    self: ClientHost,
    *,
    path: str,
    exclude: list[str],
    include: list[str],
    no_cache: bool,
    gitignore: bool,
) -> Keyed:
    """A directory in its current state; read once per session, unless ``noCache`` is set."""
    root = client_path(ctx.session, path)
    fs = await host_directory(ctx.session, root, _inside(include), _inside(exclude), gitignore=gitignore)
    return Keyed(Directory(fs), fs.key, pin=no_cache, fresh=no_cache)


@field("Host", "file")
async def file(ctx: Context, self: ClientHost, *, path: str, no_cache: bool) -> Keyed:
    """A file in its current state; read once per session, unless ``noCache`` is set."""
    fs, inner = await host_file(ctx.session, client_path(ctx.session, path))
    return Keyed(File(fs, inner), digest_of("host file", fs.key), pin=no_cache, fresh=no_cache)


@field("Host", "unixSocket")
async def unix_socket(ctx: Context, self: ClientHost, *, path: str) -> Socket:
    """A Unix socket."""
    return Socket(str(client_path(ctx.session, path)))


@field("Host", "findUp")
async def find_up(ctx: Context, self: ClientHost, *, name: str, no_cache: bool) -> str | None:
    """The nearest path with a name, from the client's directory upwards, relative to it."""
    start = ctx.session.workdir
    for folder in (start, *start.parents):
        found = folder / name
        if os.path.lexists(found):
            return os.path.relpath(found, start)
    return None
