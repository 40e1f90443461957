from __future__ import annotations

import os

import pytest

from rondel.engine import namespace
from rondel.engine.sandbox import ExecRefused, ExecSpec, Sandbox, SecretFileMount, user_switch
from rondel.engine.store import Snapshot, Store

pytestmark = [pytest.mark.anyio, pytest.mark.container]


def sh(script: str) -> tuple[str, str, str]:
    return ("sh", "-c", script)


async def test_output_is_untrimmed_and_apart(run):
    done = await run(*sh('printf "out \\n\\n"; printf " err" >&2'))
    assert (done.exit_code, done.stdout.data, done.stderr.data) == (0, b"out \n\n", b" err")


async def test_combined_output_keeps_the_order(run):
    done = await run(*sh("echo 1; sleep 0.2; echo 2 >&2; sleep 0.2; echo 3"))
    assert done.combined.data == b"1\n2\n3\n"


@pytest.mark.parametrize(("script", "code"), [("exit 7", 7), ("kill -9 $$", 137), ("kill -15 $$", 143)])
async def test_exit_codes_and_signals(run, script, code):
    assert (await run(*sh(script))).exit_code == code


async def test_arguments_are_not_touched(run):
    args = ["a b", "*", "$HOME", "q\"uo'te", "", "üñï", "new\nline"]
    done = await run("printf", "[%s]", *args)
    assert done.stdout.data.decode() == "".join(f"[{arg}]" for arg in args)


async def test_environment_is_exactly_what_was_given(run):
    done = await run("env", env={"PATH": "/usr/bin:/bin", "A": "two words", "EMPTY": ""})
    assert sorted(done.stdout.data.decode().split("\n")) == sorted(
        ["", "A=two words", "EMPTY=", "HOME=/root", "PATH=/usr/bin:/bin", "PWD=/"]
    )


async def test_variables_with_impossible_names_are_left_out(run):
    done = await run("env", env={"": "x", "A=B": "y"})
    assert done.exit_code == 0
    assert b"=x" not in done.stdout.data
    assert b"=y" not in done.stdout.data


@pytest.mark.parametrize("where", ["env", "args", "cwd"])
async def test_a_nul_byte_cannot_smuggle_options(run, store, where):
    value = "x\0--bind\0/\0/mnt"
    args = ("true", value) if where == "args" else ("true",)
    env = {"X": value} if where == "env" else {}
    scratch = os.listdir(store.scratch)
    with pytest.raises((ExecRefused, ValueError), match=r"NUL|null"):
        await run(*args, env=env, cwd=f"/{value}" if where == "cwd" else "/")
    assert os.listdir(store.scratch) == scratch


@pytest.mark.parametrize("where", ["one argument", "all arguments", "a variable"])
async def test_what_is_too_long_for_the_kernel_is_refused_with_what_to_do(run, store, where):
    scratch = os.listdir(store.scratch)
    args = {"one argument": ["x" * 200_000], "all arguments": ["y" * 100_000] * 40}.get(where, [])
    env = {"X": "z" * 200_000} if where == "a variable" else {}
    with pytest.raises(ExecRefused, match="fork/exec true: argument list too long") as caught:
        await run("true", *args, env=env)
    assert "in a file" in (caught.value.hint or "")
    assert os.listdir(store.scratch) == scratch


async def test_what_is_not_started_leaves_nothing(run, store):
    mounts = (SecretFileMount(path="/s", value=b"hush"),)
    await run("true", mounts=mounts)
    scratch = sorted(str(path) for path in store.scratch.rglob("*"))
    assert (await run("nope", mounts=mounts)).exit_code == 1
    with pytest.raises(ExecRefused):
        await run("true", mounts=mounts, user="ghost")
    with pytest.raises(ExecRefused):
        await run("true", mounts=mounts, redirect_stdout="/no/o")
    assert sorted(str(path) for path in store.scratch.rglob("*")) == scratch


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (("no-such-command",), 'exec: "no-such-command": executable file not found in $PATH'),
        (("/no/such",), "fork/exec /no/such: no such file or directory"),
        (("/tmp",), "fork/exec /tmp: permission denied"),
        (("/etc/passwd",), "fork/exec /etc/passwd: permission denied"),
    ],
)
async def test_commands_that_cannot_start_say_so_as_go_does(run, base, args, text):
    done = await run(*args)
    assert (done.exit_code, done.stderr.data.decode(), done.snapshot) == (1, f"{text}\n", base)


@pytest.mark.parametrize(
    ("content", "text"),
    [("echo hi\n", "exec format error"), ("#!/no/interp\n", "no such file or directory")],
)
async def test_files_that_are_no_programs_say_so_as_go_does(run, store, base, content, text):
    async with store.draft(base) as draft:
        draft.write("/x.sh", content.encode(), mode=0o755)
        root = await draft.commit()
    done = await run("/x.sh", root=root)
    assert (done.exit_code, done.stderr.data.decode()) == (1, f"fork/exec /x.sh: {text}\n")


async def test_without_init_the_command_is_process_one_and_errors_name_runc(run):
    done = await run(*sh("echo $$"), init=False)
    assert done.stdout.data == b"1\n"
    done = await run("nope", init=False)
    assert done.stderr.data.startswith(b"runc run failed: unable to start container process: exec:")


async def test_relative_commands_are_found_from_the_working_directory(run, store, base):
    async with store.draft(base) as draft:
        draft.write("/w/run", b"#!/bin/sh\necho ran $0\n", mode=0o755)
        root = await draft.commit()
    assert (await run("./run", root=root, cwd="/w")).stdout.data == b"ran ./run\n"
    assert (await run("run", root=root, cwd="/w")).exit_code == 1
    assert (await run("run", root=root, env={"PATH": "/w:/bin"})).stdout.data == b"ran /w/run\n"


async def test_a_missing_working_directory_is_made_and_kept(run, store):
    done = await run("pwd", cwd="/new/dir")
    assert done.stdout.data == b"/new/dir\n"
    entry = store.view(done.snapshot).resolve("/new/dir")
    assert entry.is_dir
    assert entry.mode & 0o777 == 0o755


async def test_standard_input_is_given_or_empty(run):
    assert (await run("cat", stdin=b"line\nlast")).stdout.data == b"line\nlast"
    assert (await run("cat")).stdout.data == b""


async def test_changes_become_a_layer_and_no_change_none(run, store, base):
    done = await run(*sh("mkdir /d && echo 1 > /d/f && ln -s f /d/l && rm /etc/hostname"))
    view = store.view(done.snapshot)
    assert view.read("/d/l") == b"1\n"
    assert view.lookup("/etc/hostname") is None
    assert len(done.snapshot.layers) == len(base.layers) + 1
    assert (await run("true")).snapshot == base
    assert (await run("cat", "/d/f", root=done.snapshot)).stdout.data == b"1\n"


async def test_changes_below_grafted_directories_are_kept(run, store):
    done = await run(*sh("mkdir /usr/local/x && echo 1 > /usr/local/x/f && rm /usr/bin/env"))
    again = await run(*sh("cat /usr/local/x/f; ls /usr/bin/env"), root=done.snapshot)
    assert again.stdout.data == b"1\n"
    assert again.exit_code != 0
    assert store.view(done.snapshot).lookup("/usr/bin/env") is None


async def test_mount_points_of_the_sandbox_leave_no_trace(run, store):
    async with store.draft(Snapshot()) as draft:
        draft.write("/bin/marker", b"")
        root = await draft.commit()
    del root
    done = await run(*sh("echo x > /only"))
    top = store.layers.path(done.snapshot.layers[-1])
    assert sorted(path.name for path in top.iterdir()) == ["only"]


async def test_redirects_tee_into_private_files_of_the_user(run, store):
    done = await run(*sh("echo out; echo err >&2"), redirect_stdout="/tmp/o", redirect_stderr="/tmp/e")
    view = store.view(done.snapshot)
    assert (done.stdout.data, done.stderr.data) == (b"out\n", b"err\n")
    assert (view.read("/tmp/o"), view.read("/tmp/e")) == (b"out\n", b"err\n")
    assert view.resolve("/tmp/o").mode & 0o7777 == 0o600


async def test_redirects_to_one_file_cover_each_other_from_the_start(run, store):
    done = await run(*sh("echo output; echo err >&2"), redirect_stdout="/o", redirect_stderr="/o")
    assert store.view(done.snapshot).read("/o") == b"err\nut\n"


async def test_a_redirect_replaces_what_was_there(run, store, base):
    async with store.draft(base) as draft:
        draft.write("/o", b"old content is long\n")
        root = await draft.commit()
    done = await run("echo", "new", root=root, redirect_stdout="/o")
    assert store.view(done.snapshot).read("/o") == b"new\n"


async def test_a_redirect_never_follows_a_link_the_command_made(run, store, tmp_path):
    tmp_path.chmod(0o777)
    script = f"mv /srv /srv2 2>/dev/null; rmdir /srv; ln -s {tmp_path} /srv; echo x"
    done = await run(*sh(script), redirect_stdout="/srv/stolen")
    assert done.exit_code == 0
    assert list(tmp_path.iterdir()) == []


async def test_redirects_that_cannot_be_are_refused_before_the_start(run):
    with pytest.raises(ExecRefused, match="no such file or directory"):
        await run("true", redirect_stdout="/missing/o")
    with pytest.raises(ExecRefused, match=r"open redirect stdin file: .*: no such file or directory"):
        await run("cat", redirect_stdin="/missing")


async def test_standard_input_from_a_file(run, store, base):
    async with store.draft(base) as draft:
        draft.write("/in", b"from file")
        root = await draft.commit()
    assert (await run("cat", root=root, redirect_stdin="/in")).stdout.data == b"from file"


async def test_users_by_name_number_and_group(run):
    script = "id -u; id -g; echo $HOME"
    assert (await run(*sh(script), user="nobody")).stdout.data == b"65534\n65534\n/nonexistent\n"
    assert (await run(*sh(script), user="1234")).stdout.data == b"1234\n0\n/\n"
    assert (await run(*sh(script), user="1234:5678")).stdout.data == b"1234\n5678\n/\n"


async def test_without_setpriv_python_changes_the_user(run, base, identity, monkeypatch):
    if identity.mode is namespace.Mode.SINGLE:
        pytest.skip("with one ID, the user's namespace changes the user, and no program is needed")
    monkeypatch.setattr(user_switch.shutil, "which", lambda *_, **__: None)
    script = "id -u; id -g; id -G; grep -E 'Cap(Prm|Eff|Amb)' /proc/self/status | grep -c '[1-9a-f]$'; echo $0 $1 $LANG"
    done = await run(
        "sh", "-c", script, "zero", "one", user="1234:5678", env={"LANG": "C", "PYTHONHOME": "/x"}
    )
    assert done.stdout.data == b"1234\n5678\n5678\n0\nzero one C\n"
    done = await run("id", "-G", user="nobody")
    assert done.stdout.data == b"65534\n"
    again = await run("sh", "-c", "printf '#!/nowhere\\n' > /tmp/p; chmod 755 /tmp/p", user="nobody")
    failed = await run("/tmp/p", user="nobody", root=again.snapshot)
    assert failed.stderr.data == b"fork/exec /tmp/p: no such file or directory\n"


async def test_a_user_has_no_capabilities_and_owns_what_he_makes(run, store, identity):
    done = await run(*sh("grep CapEff /proc/self/status; echo x > /tmp/mine"), user="1234:5678")
    assert done.stdout.data.split() == [b"CapEff:", b"0000000000000000"]
    entry = store.view(done.snapshot).resolve("/tmp/mine")
    if identity.mode is not namespace.Mode.SINGLE:
        assert (entry.uid, entry.gid) == (1234, 5678)


@pytest.mark.parametrize(
    ("user", "text"),
    [
        ("ghost", "get user: unable to find user ghost: no matching entries in passwd file"),
        ("nobody:ghosts", "get user: unable to find group ghosts: no matching entries in group file"),
    ],
)
async def test_unknown_users_are_refused(run, user, text):
    with pytest.raises(ExecRefused) as caught:
        await run("id", user=user)
    assert caught.value.what == text
    assert caught.value.exit_code_seen == -1


async def test_a_background_process_does_not_hold_the_command(run):
    done = await run(*sh("sleep 60 & echo done"))
    assert done.stdout.data == b"done\n"


async def test_large_output_goes_to_a_blob(run, store):
    done = await run(*sh("seq 1 300000"))
    assert done.stdout.blob is not None
    assert store.read(done.stdout) == b"".join(b"%d\n" % n for n in range(1, 300001))
    assert store.tail(done.stdout, 7) == b"300000\n"


async def test_secrets_are_scrubbed_from_all_outputs_and_redirects(run, store):
    secret = b"tops3cret-value"
    script = "echo a${T}b; echo $T >&2; printf %s $T | base64; printf %s ${T%?}; sleep 0.1; printf e"
    done = await run(*sh(script), env={"T": secret.decode()}, secrets=(secret,), redirect_stdout="/o")
    assert done.stdout.data == b"a***b\n***\n***"
    assert done.stderr.data == b"***\n"
    assert store.view(done.snapshot).read("/o") == b"a***b\n***\n***"


async def test_bound_names_resolve(run):
    done = await run("getent", "hosts", "db", hosts=(("127.66.1.2", "db"),))
    assert done.stdout.data.split()[0] == b"127.66.1.2"


async def test_a_command_is_called_by_its_own_name(run):
    assert (await run("sh", "-c", "cat /proc/$$/cmdline | tr '\\0' ' '")).stdout.data.startswith(b"sh -c")


async def test_an_empty_container_answers_in_go_words(sandbox: Sandbox, store: Store):
    done = await sandbox.run(ExecSpec(root=Snapshot(), args=("true",)))
    assert done.stderr.data == b'exec: "true": executable file not found in $PATH\n'
    assert done.snapshot == Snapshot()
