"""Commands and their results."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from rondel.engine.api.expansion import expand_path
from rondel.engine.api.paths import require_directory, require_file
from rondel.engine.api.registry import NO_NESTING, Context, field
from rondel.engine.evaluate.execs import Command, absolute, after, decode, exec_node
from rondel.engine.values import DirectoryMount, FileMount
from rondel.errors import EngineError

if TYPE_CHECKING:
    from rondel.engine.api.objects import Obj
    from rondel.engine.store import OperationResult, Output
    from rondel.engine.values import Container


def command_line(
    container: Container, args: list[str], *, use_entrypoint: bool = False, expand: bool = False
) -> tuple[str, ...]:
    """The whole command for some arguments; empty if there is nothing to run.

    Only the given arguments are expanded: the container's own stay as they were set.
    """
    words = tuple(expand_path(container, word, expand) for word in args) or container.config.cmd
    if use_entrypoint:
        words = container.config.entrypoint + words
    return words


@field("Container", "withExec")
async def with_exec(
    ctx: Context,
    self: Container,
    *,
    args: list[str],
    use_entrypoint: bool,
    stdin: str,
    redirect_stdin: str,
    redirect_stdout: str,
    redirect_stderr: str,
    expect: str,
    experimental_privileged_nesting: bool,
    insecure_root_capabilities: bool,
    expand: bool,
    no_init: bool,
) -> Container:
    """Add a command; it runs when its result is requested."""
    if stdin and redirect_stdin:
        raise EngineError("cannot set both stdin and redirectStdin")
    if experimental_privileged_nesting:
        raise EngineError(NO_NESTING)

    def container_path(path: str) -> str:
        return absolute(self, expand_path(self, path, expand)) if path else ""

    command = Command(
        container=self,
        args=(),
        stdin=stdin,
        expect=expect,
        no_init=no_init,
        insecure=insecure_root_capabilities,
    )
    try:
        command = replace(
            command,
            args=command_line(self, args, use_entrypoint=use_entrypoint, expand=expand),
            redirect_stdin=container_path(redirect_stdin),
            redirect_stdout=container_path(redirect_stdout),
            redirect_stderr=container_path(redirect_stderr),
        )
    except EngineError as error:  # raised when the result is requested, like all failures of a command
        command = replace(command, refusal=error)
    return after(command, exec_node(command, ctx.key))


async def last_result(ctx: Context, container: Container) -> OperationResult:
    """The result of the latest command. Raises EngineError if there is none."""
    await ctx.session.run_pending(container)
    if container.last_exec is None:
        raise EngineError("no command has been set")
    return await ctx.session.run(container.last_exec)


def _text(ctx: Context, output: Output) -> str:
    return decode(ctx.session.store.read(output))


@field("Container", "stdout")
async def stdout(ctx: Context, self: Container) -> str:
    """The latest command's standard output."""
    return _text(ctx, (await last_result(ctx, self)).stdout)


@field("Container", "stderr")
async def stderr(ctx: Context, self: Container) -> str:
    """The latest command's standard error."""
    return _text(ctx, (await last_result(ctx, self)).stderr)


@field("Container", "combinedOutput")
async def combined_output(ctx: Context, self: Container) -> str:
    """The latest command's output on both streams, in order."""
    return _text(ctx, (await last_result(ctx, self)).combined)


@field("Container", "exitCode")
async def exit_code(ctx: Context, self: Container) -> int:
    """The latest command's exit code."""
    return (await last_result(ctx, self)).exit_code


@field("Container", "sync")
async def sync(ctx: Context, self: Container) -> Obj:
    """Evaluate the container, both commands and file changes."""
    await ctx.session.run_pending(self)
    await ctx.snapshot(self.fs)
    for mount in self.mounts:
        if isinstance(mount, DirectoryMount):
            require_directory(await ctx.view(mount.source), mount.subpath, mount.subpath)
        elif isinstance(mount, FileMount):
            require_file(await ctx.view(mount.source), mount.file, mount.file)
    return ctx.obj
