"""``terminal``: a shell in a container, on the terminal that the session was started from."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from rondel.engine.api.registry import Context, field
from rondel.engine.evaluate.terminal import shell, shell_inside
from rondel.engine.values import Container, Directory
from rondel.engine.values.service import ContainerService, HostService, Tunnel
from rondel.errors import EngineError

if TYPE_CHECKING:
    from rondel.engine.api.objects import Obj

_MOUNT = "/src"


@field("Container", "terminal", memo=False, run_pending=True)
async def container_terminal(
    ctx: Context,
    self: Container,
    *,
    cmd: list[str],
    experimental_privileged_nesting: bool,
    insecure_root_capabilities: bool,
) -> Obj:
    """Open a shell; its changes are discarded, because containers are immutable."""
    _ = experimental_privileged_nesting
    words = cmd or self.terminal_cmd or ("sh",)
    await shell(ctx.session, self, words, insecure=insecure_root_capabilities)
    return ctx.obj


@field("Directory", "terminal", memo=False, container=Container)
async def directory_terminal(
    ctx: Context,
    self: Directory,
    *,
    container: Container | None,
    cmd: list[str],
    experimental_privileged_nesting: bool,
    insecure_root_capabilities: bool,
) -> Obj:
    """Open a shell on a directory, in a container (this machine's own system unless one is given)."""
    _ = self, experimental_privileged_nesting
    if container is None:
        holder = await ctx.call(await ctx.root("container"), "from", address="host")
        container = holder.value
    holder = await ctx.root("container")
    mounted = await ctx.call(holder, "withMountedDirectory", path=_MOUNT, source=ctx.obj)
    own = container.with_mount(mounted.value.mounts[-1])
    own = own.with_config(replace(own.config, workdir=_MOUNT))
    words = cmd or container.terminal_cmd or ("sh",)
    await shell(ctx.session, own, words, insecure=insecure_root_capabilities)
    return ctx.obj


@field("Service", "terminal", memo=False)
async def service_terminal(
    ctx: Context, self: ContainerService | HostService | Tunnel, *, cmd: list[str]
) -> Obj:
    """Open a shell in a service's running container; the service sees its changes."""
    if not isinstance(self, ContainerService):
        raise EngineError("terminal not supported on non-container services")
    await shell_inside(ctx.session, self, cmd or self.container.terminal_cmd or ("sh",))
    return ctx.obj
