"""Runs a command in the stage's container: streams its output, opens shells, and exports its outputs."""

from __future__ import annotations

import shlex
import time
from typing import TYPE_CHECKING

from rondel.environment import WORK
from rondel.environment.shell import keeps_failures
from rondel.errors import StageFailed, command_and_output, last_line
from rondel.operations.runtime import PendingResults

if TYPE_CHECKING:
    import dagger

    from rondel.data.workspace_sync import WorkspaceSnapshot
    from rondel.operations.runtime import StageRuntime


async def run_command(
    runtime: StageRuntime, args: list[str], *, shown: list[str], outputs: tuple[str, ...] = ()
) -> str:
    """Run a command in the stage's container and return its standard output.

    ``shown`` is the command as a person would type it. ``outputs`` are copied to the working tree
    after the stage succeeded. Raises StageFailed if the command fails or does not make them.
    """
    import dagger
    from anyio import to_thread

    from rondel.data.workspace_sync import take_snapshot

    names = [name.rstrip("/") for name in outputs]
    before = await to_thread.run_sync(take_snapshot, runtime.run.root, names, {})
    await runtime.open_shell("before", command=shlex.join(shown))
    runtime.recorder.step(shlex.join(shown)[:120])
    runtime.recorder.command(shown)
    began = time.monotonic()
    keep = keeps_failures(runtime.settings)
    # Dagger drops the container of a failed command if it expected success.
    expect = dagger.ReturnType.ANY if keep else dagger.ReturnType.SUCCESS
    output, container = runtime.with_output_stream(runtime.container)
    executed = container.with_exec(args, expect=expect)
    try:
        stdout = await runtime.environment.output_stream.follow(output, executed.stdout)
        stderr, code = await executed.stderr(), await executed.exit_code() if keep else 0
        runtime.last_container = executed
    except dagger.ExecError as error:
        stdout, stderr, code = error.stdout, error.stderr, error.exit_code
    seconds = round(time.monotonic() - began, 3)
    output.log(stdout=stdout, stderr=stderr)
    runtime.recorder.command(shown, exit_code=code, seconds=seconds)
    await runtime.open_shell("after", of=runtime.last_container)
    if code:
        tail = list(runtime.recorder.tail)[-20:]
        raise StageFailed(
            f"the command ended with exit code {code}",
            why=command_and_output(shlex.join(shown), tail),
            cause=last_line(tail),
        )
    runtime.commands += 1
    runtime.container = executed
    if outputs:
        await _export(runtime, executed, outputs, before)
    return stdout


async def _export(
    runtime: StageRuntime, container: dagger.Container, outputs: tuple[str, ...], before: WorkspaceSnapshot
) -> None:
    import dagger
    from anyio import to_thread

    from rondel.files.hashes import HashCache

    folder = runtime.results_folder(f"sh-{len(runtime.pending)}")
    for name in outputs:
        target = folder / name.rstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        place = f"{WORK}/{name.rstrip('/')}"
        try:
            if name.endswith("/"):
                await container.directory(place).export(str(target))
            else:
                await container.file(place).export(str(target))
        except dagger.QueryError as error:
            raise StageFailed(f"the command did not make {name}", why=str(error)) from error
    hashes = HashCache(folder)
    made = {name.rstrip("/"): hashes.of(name.rstrip("/")) for name in outputs}
    runtime.recorder.outputs({name: digest for name, digest in made.items() if digest})
    run_only = bool(runtime.given and not runtime.settings.apply) or await to_thread.run_sync(
        runtime.sees_run_only
    )
    runtime.pending.append(PendingResults(files=folder, before=before, run_only=run_only))
