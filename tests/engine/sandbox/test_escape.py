"""What a reviewer would try from inside, as the container's root. Each answers from within a container."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rondel.engine.sandbox import ExecRefused, ExecSpec, Sandbox, VolumeMount
from rondel.engine.store.files import make_beneath

pytestmark = [pytest.mark.anyio, pytest.mark.container]


def sh(script: str) -> tuple[str, str, str]:
    return ("sh", "-c", script)


def python(script: str) -> tuple[str, str, str]:
    return ("python3", "-c", script)


@pytest.mark.parametrize(
    "prelude",
    [
        "",
        "umount /proc/sys; umount -l /proc/sys; ",
        "mount -o remount,rw /proc/sys; mount -o remount,rw,bind /proc/sys; ",
        "mount -t proc proc /proc; mount -t proc proc /mnt; ",
        "exec 2>/dev/null; unshare -Ur true && echo nested; ",
        "unshare -m true && echo unshared; ",
    ],
)
async def test_kernel_settings_stay_read_only(run, prelude):
    before = Path("/proc/sys/kernel/core_pattern").read_text()
    done = await run(*sh(f"{prelude}echo core > /proc/sys/kernel/core_pattern && echo wrote"))
    assert done.stdout.data == b""
    assert Path("/proc/sys/kernel/core_pattern").read_text() == before


async def test_kernel_settings_stay_read_only_in_a_nested_namespace(run):
    script = "echo h > /proc/sys/kernel/hostname && echo wrote"
    done = await run("unshare", "-Urmp", "--fork", "--mount-proc", "sh", "-c", script)
    assert b"wrote" not in done.stdout.data
    assert done.exit_code != 0


@pytest.mark.parametrize("flags", ["-U", "-Ur", "-m", "-n", "-p", "-C", "-T"])
async def test_no_further_namespaces(run, flags):
    assert (await run("unshare", flags, "true")).exit_code != 0


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="calls by the numbers of x86_64")
async def test_clone_with_a_user_namespace_is_refused(run):
    script = """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
for number, arguments in ((56, (0x10000000 | 17, 0, 0, 0, 0)), (435, (0, 0))):
    print(libc.syscall(number, *arguments), ctypes.get_errno())
"""
    done = await run(*python(script))
    assert done.stdout.data == b"-1 1\n-1 38\n"


@pytest.mark.parametrize(
    "node",
    ["/dev/fuse c 10 229", "/dev/kvm c 10 232", "/dev/mem c 1 1", "/tmp/disk b 254 0", "/tmp/null c 1 3"],
)
async def test_no_devices_can_be_made(run, node):
    done = await run("mknod", *node.split())
    assert done.exit_code != 0
    assert b"Operation not permitted" in done.stderr.data or b"File exists" in done.stderr.data


async def test_only_harmless_devices_are_there(run):
    done = await run("ls", "-A", "/dev")
    assert set(done.stdout.data.decode().split()) <= {
        "console", "core", "fd", "full", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin", "stdout",
        "tty", "urandom", "zero",
    }  # fmt: skip


@pytest.mark.parametrize(
    "path", ["/dev/fuse", "/dev/kvm", "/dev/vda", "/dev/sda", "/dev/mem", "/dev/net/tun"]
)
async def test_devices_of_the_host_do_not_open(run, path):
    assert (await run("head", "-c1", path)).exit_code != 0


@pytest.mark.parametrize(
    "path",
    ["/proc/keys", "/proc/kcore", "/proc/timer_list", "/proc/kallsyms", "/proc/kmsg", "/proc/sched_debug",
     "/proc/vmallocinfo", "/proc/kpagecgroup"],
)  # fmt: skip
async def test_kernel_secrets_are_empty(run, path):
    done = await run("head", "-c64", path)
    assert done.stdout.data == b""


@pytest.mark.parametrize(
    "path", ["/sys/firmware", "/sys/kernel/debug", "/sys/kernel/security", "/sys/fs/bpf"]
)
async def test_kernel_folders_are_empty(run, path):
    done = await run("ls", "-A", path)
    assert done.stdout.data == b""


@pytest.mark.parametrize(
    "path", ["/proc/sysrq-trigger", "/proc/irq/default_smp_affinity", "/sys/power/state"]
)
async def test_kernel_triggers_are_not_writable(run, path):
    done = await run(*sh(f"printf x > {path} && echo wrote"))
    assert b"wrote" not in done.stdout.data


async def test_sys_is_not_writable_even_after_remount(run):
    script = "mount -o remount,rw /sys; mkdir /sys/fs/cgroup/x /sys/fs/cgroup/*/x; touch /sys/kernel/x && echo wrote"
    done = await run(*sh(script))
    assert b"wrote" not in done.stdout.data
    found = await run(*sh("find /sys/fs/cgroup -maxdepth 2 -name x"))
    assert found.stdout.data == b""


async def test_process_one_shows_the_container_only(run, store):
    done = await run(*sh("ls /proc/1/root/; ls /proc/1/cwd/; ls -d /proc/1/root/oldroot /oldroot /newroot"))
    assert b"oldroot" not in done.stdout.data
    assert b"newroot" not in done.stdout.data
    escape = await run(*sh(f"ls /proc/1/root{store.root} /proc/1/root/../../../..{store.root}"))
    assert escape.exit_code != 0


async def test_no_process_of_the_host_is_seen_or_traced(run):
    script = f"""
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
print(sorted(int(name) for name in os.listdir("/proc") if name.isdecimal())[0])
print(libc.ptrace(16, {os.getpid()}, 0, 0), ctypes.get_errno())
print(os.path.exists("/proc/{os.getpid()}/environ") and os.getpid() > 50)
"""
    done = await run(*python(script))
    lines = done.stdout.data.decode().split("\n")
    assert lines[0] == "1"
    assert lines[1] == "-1 3"
    assert lines[2] == "False"


async def test_no_descriptor_of_the_engine_is_inherited(run, tmp_path):
    with (tmp_path / "private").open("w") as private:
        os.set_inheritable(private.fileno(), False)
        done = await run(*python("import os; print(sorted(os.listdir('/proc/self/fd')))"))
    assert done.stdout.data == b"['0', '1', '2', '3']\n"  # 3 is the listing itself


async def test_capabilities_are_an_ordinary_containers(run):
    done = await run(*sh("grep -E 'CapEff|NoNewPrivs|Seccomp:' /proc/self/status"))
    values = dict(line.split(":\t") for line in done.stdout.data.decode().splitlines())
    granted = int(values["CapEff"], 16)
    forbidden = {"NET_ADMIN": 12, "NET_RAW": 13, "SYS_MODULE": 16, "SYS_RAWIO": 17, "SYS_PTRACE": 19,
                 "SYS_ADMIN": 21, "SYS_BOOT": 22, "SYS_TIME": 25, "MKNOD": 27, "DAC_READ_SEARCH": 2,
                 "BPF": 39, "PERFMON": 38, "SYSLOG": 34}  # fmt: skip
    assert [name for name, bit in forbidden.items() if granted >> bit & 1] == []
    assert values["NoNewPrivs"] == "1"
    assert values["Seccomp"] == "2"


async def test_setuid_programs_gain_nothing(run):
    script = "cp /usr/bin/id /tmp/id; chmod 4755 /tmp/id; chmod 755 /tmp; /tmp/id -u"
    made = await run(*sh(script))
    done = await run("/tmp/id", "-u", root=made.snapshot, user="1234:1234")
    assert done.stdout.data in (b"1234\n", b"")


@pytest.mark.parametrize(
    "call",
    ["keyctl", "add_key", "bpf", "mount", "open_by_handle_at", "open_tree_attr", "perf_event_open", "setns"],
)
async def test_dangerous_system_calls_are_refused(run, call):
    from rondel.engine.sandbox.seccomp import _REFUSED

    number = _REFUSED[os.uname().machine][call]
    script = f"import ctypes; l = ctypes.CDLL(None, use_errno=True); print(l.syscall({number}, 0, 0, 0, 0, 0), ctypes.get_errno())"
    assert (await run(*python(script))).stdout.data == b"-1 1\n"


async def test_the_host_is_not_reached_through_links_in_a_volume(run, store, tmp_path):
    target = tmp_path / "target"
    target.mkdir()
    target.chmod(0o777)
    folder = await store.volumes.prepare("link-volume")
    volume = VolumeMount(path="/c", source=folder)
    await run("ln", "-s", str(target), "/c/out", mounts=(volume,))
    assert (await run("true", mounts=(volume,), cwd="/c/out/made")).exit_code == 0
    with pytest.raises(ExecRefused, match="no such file"):  # it leads to a folder the container lacks
        await run("echo", "x", mounts=(volume,), redirect_stdout="/c/out/deep/file")
    assert list(target.iterdir()) == []


async def test_the_command_line_shows_no_environment(sandbox: Sandbox, base):
    process = await sandbox.start(ExecSpec(root=base, args=("sleep", "30"), env={"TOKEN": "tok-4711"}))
    try:
        shown = b""
        for folder in Path("/proc").iterdir():
            if folder.name.isdecimal():
                try:
                    shown += (folder / "cmdline").read_bytes()
                except OSError:
                    continue
        assert b"sleep" in shown
        assert b"tok-4711" not in shown
    finally:
        await process.kill()


@pytest.mark.parametrize("path", ["/etc/shadow", "/etc/gshadow", "/etc/shadow-", "/etc/ssh", "/etc/sudoers",
                                  "/etc/ssl/private", "/etc/security/opasswd", "/etc/docker", "/etc/environment"])  # fmt: skip
async def test_the_host_image_has_no_secrets_in_etc(run, path):
    assert (await run("ls", path)).exit_code != 0


async def test_the_host_image_has_nobodys_home(run, image, store):
    done = await run(*sh("ls -A /home; find /root -mindepth 1 -maxdepth 1; cat /etc/passwd"))
    from rondel.engine.images.host_python import this_interpreter

    prefix = this_interpreter().prefix
    shown = done.stdout.data.decode().split("\n")
    allowed = {f"/root/{prefix.split('/')[2]}"} if prefix.startswith("/root/") else set()
    allowed |= {prefix.split("/")[2]} if prefix.startswith("/home/") else set()
    assert {line for line in shown if line and ":" not in line} <= allowed
    people = [line for line in shown if line.count(":") == 6 and 1000 <= int(line.split(":")[2]) < 65534]
    assert people == []


async def test_the_host_image_shows_nothing_beside_the_interpreter(image, store):
    from rondel.engine.images.host_python import this_interpreter

    view = store.view(image.snapshot)
    here = "/"
    for part in this_interpreter().prefix.strip("/").split("/"):
        names = [entry.name for entry in view.scandir(here)]
        if here.startswith(("/root", "/home")):
            assert names == [part]
        here = f"{here.rstrip('/')}/{part}"
    assert "bin" in [entry.name for entry in view.scandir(here)]


@pytest.mark.parametrize("name", ["id_rsa", "id_ed25519", "authorized_keys", ".netrc", "credentials", ".pypirc",
                                  "kubeconfig", ".dockercfg", ".git-credentials"])  # fmt: skip
async def test_the_host_image_has_no_credentials(run, name):
    done = await run(*sh(f"find / -xdev -name {name} -not -path '/usr/*' -not -path '/proc/*' 2>/dev/null"))
    assert done.stdout.data == b""


async def test_the_host_image_has_nothing_of_the_project_or_the_store(run, store):
    for path in (str(Path(__file__).parents[3]), str(store.root)):
        assert (await run("ls", path)).exit_code != 0


async def test_links_of_the_image_lead_nowhere_outside(run, store, base, tmp_path):
    (tmp_path / "secret").write_text("of the host")
    tmp_path.chmod(0o755)
    async with store.draft(base) as draft:
        draft.symlink(f"{tmp_path}/secret", "/etc/thing")
        draft.symlink("../../../../../../.." + str(tmp_path), "/up")
        root = await draft.commit()
    done = await run(*sh("cat /etc/thing /up/secret"), root=root)
    assert b"of the host" not in done.stdout.data
    assert store.view(root).lookup("/etc/thing") is None
    assert store.view(root).lookup("/up/secret") is None


async def test_the_programs_that_started_a_container_are_not_writable_from_it(run):
    script = "import os; print(bool(os.fstatvfs(os.open('/proc/1/exe', os.O_PATH)).f_flag & os.ST_RDONLY))"
    assert (await run(*python(script))).stdout.data == b"True\n"


@pytest.mark.parametrize("family", ["AF_VSOCK", "AF_ALG"])
async def test_sockets_that_lead_out_of_the_machine_or_into_the_kernel_are_refused(run, family):
    script = (
        f"import socket\nsocket.socket().close()\n"
        f"try: socket.socket(socket.{family}, socket.SOCK_STREAM)\n"
        "except OSError as error: print(error.errno)"
    )
    assert (await run(*python(script))).stdout.data == b"97\n"  # EAFNOSUPPORT


@pytest.mark.parametrize("where", ["", "inner"])
def test_a_link_put_into_a_volume_at_the_last_moment_leads_nowhere(tmp_path, where):
    outside, volume = tmp_path / "outside", tmp_path / "volume"
    outside.mkdir()
    (volume / "inner").mkdir(parents=True)
    link = volume / where / "swapped"
    link.symlink_to(outside)
    # The working directory was looked up before another container put the link there.
    with pytest.raises(OSError):
        make_beneath(str(volume), f"{where}/swapped", ["made"], (0, 0))
    with pytest.raises(OSError):
        make_beneath(str(volume), where, ["swapped", "made"], (0, 0))
    assert list(outside.iterdir()) == []
    make_beneath(str(volume), where, ["one", "two"], (0, 0))
    assert (volume / where / "one" / "two").is_dir()
