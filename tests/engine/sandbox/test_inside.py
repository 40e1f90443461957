"""Commands beside the one that a container was started for."""

from __future__ import annotations

import pytest

from rondel.engine.sandbox import ExecSpec, Sandbox, SecretFileMount

pytestmark = [pytest.mark.anyio, pytest.mark.container]


@pytest.mark.parametrize("init", [True, False])
async def test_a_second_command_sees_the_container_and_never_the_machine(
    sandbox: Sandbox, base, tmp_path, init: bool
):
    (tmp_path / "of-the-machine").touch()
    # Started and entered at once: its mounts may not be made yet.
    for _ in range(5):
        process = await sandbox.start(ExecSpec(root=base, args=("sleep", "30"), init=init))
        try:
            done = await process.run_inside(("ls", "-d", str(tmp_path), "/etc/passwd"))
        finally:
            await process.kill()
        assert (done.stdout, done.exit_code) == (b"/etc/passwd\n", 2)


async def test_it_has_the_environment_and_its_output_is_scrubbed(sandbox: Sandbox, base):
    spec = ExecSpec(
        root=base,
        args=("sleep", "30"),
        env={"WORD": "it is hush-4711"},
        cwd="/etc",
        secrets=(b"hush-4711",),
        mounts=(SecretFileMount(path="/run/word", value=b"hush-4711"),),
    )
    process = await sandbox.start(spec)
    try:
        done = await process.run_inside(("sh", "-c", "pwd; echo $WORD; cat /run/word >&2; exit 7"))
    finally:
        await process.kill()
    assert done.exit_code == 7
    assert (done.stdout, done.stderr) == (b"/etc\nit is ***\n", b"***")


async def test_a_command_that_is_missing_says_so(sandbox: Sandbox, base):
    process = await sandbox.start(ExecSpec(root=base, args=("sleep", "30")))
    try:
        missing = await process.run_inside(("no-such-program",))
        closed = await process.run_inside(("/etc/passwd",))
    finally:
        await process.kill()
    assert missing.stderr == b'exec: "no-such-program": executable file not found in $PATH'
    assert closed.stderr == b"fork/exec /etc/passwd: permission denied"
    assert (missing.exit_code, closed.exit_code) == (1, 1)


async def test_nothing_runs_in_a_container_that_has_ended(sandbox: Sandbox, base):
    process = await sandbox.start(ExecSpec(root=base, args=("true",)))
    await process.wait()
    done = await process.run_inside(("echo", "late"))
    assert (done.exit_code, done.stdout) == (1, b"")
