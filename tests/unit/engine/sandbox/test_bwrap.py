from __future__ import annotations

from pathlib import Path

import pytest

from rondel.engine.namespace import Range, granted
from rondel.engine.sandbox import ExecRefused, Limits
from rondel.engine.sandbox.bwrap import (
    TOOLS,
    Bind,
    ContainerPlan,
    Kernel,
    Memory,
    Overlay,
    command_line,
    options,
    packed,
)
from rondel.engine.sandbox.cgroups import Setting, own_groups, settings
from rondel.engine.sandbox.seccomp import program
from rondel.engine.sandbox.users import User


def plan(**more) -> ContainerPlan:
    values = {
        "mounts": (),
        "command": "/bin/sh",
        "args": ("sh", "-c", "true"),
        "env": (("A", "1"),),
        "cwd": "/w",
        "hostname": "dagger",
    }
    return ContainerPlan(**(values | more))


def test_mounts_in_their_order():
    mounts = (
        Overlay("/", ("/l/1", "/l/2"), "/t/u", "/t/w"),
        Overlay("/ro", ("/l/3",)),
        Overlay("/ro2", ("/l/3", "/l/4")),
        Kernel("/proc", "proc"),
        Bind("/proc/sys", "/proc/sys"),
        Bind("/c", "/v/1", readonly=False),
        Memory("/t", 1024),
        Memory("/sys/firmware", readonly=True),
    )
    text = " ".join(options(plan(mounts=mounts)))
    assert (
        "--overlay-src /l/1 --overlay-src /l/2 --overlay /t/u /t/w / --ro-bind /l/3 /ro "
        "--overlay-src /l/3 --overlay-src /l/4 --ro-overlay /ro2 --proc /proc --ro-bind /proc/sys /proc/sys "
        "--bind /v/1 /c --size 1024 --tmpfs /t --tmpfs /sys/firmware --remount-ro /sys/firmware "
        "--clearenv --setenv A 1 --chdir /w"
    ) in text


def test_every_container_dies_with_the_engine_and_has_few_capabilities():
    text = " ".join(options(plan()))
    assert "--die-with-parent --cap-drop ALL" in text
    for capability in ("SYS_ADMIN", "MKNOD", "NET_RAW", "NET_ADMIN", "SYS_PTRACE", "DAC_READ_SEARCH"):
        assert f"CAP_{capability}" not in text
    for kind in ("pid", "ipc", "uts"):
        assert f"--unshare-{kind}" in text
    assert "--unshare-net" not in text
    assert "--unshare-net" in options(plan(private_network=True))


def test_root_is_started_directly_by_its_own_name():
    assert command_line(plan()) == ["--argv0", "sh", "--", "/bin/sh", "-c", "true"]


def test_users_are_switched_to_by_the_tool():
    found = command_line(plan(user=User(1000, 50, (29, 44))))
    assert found[:5] == ["--", f"{TOOLS}/loader", "--library-path", TOOLS, f"{TOOLS}/setpriv"]
    assert found[5:] == ["--reuid=1000", "--regid=50", "--groups=29,44", "--", "sh", "-c", "true"]
    assert "--clear-groups" in command_line(plan(user=User(1000, 50)))


def test_with_a_single_id_a_user_gets_a_namespace_and_no_capability():
    found = options(plan(user=User(1000, 50), nested_user=True))
    assert "--unshare-user --uid 1000 --gid 50" in " ".join(found)
    assert "--cap-add" not in found


def test_a_nul_byte_never_becomes_an_option():
    assert packed(["a", "ü"]) == "a\0ü\0".encode()
    with pytest.raises(ExecRefused, match="NUL"):
        packed(["--setenv", "A", "x\0--bind"])


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_filter_fits_the_machine_and_the_kernel(machine):
    code = program(machine)
    assert code is not None
    assert len(code) % 8 == 0
    assert len(code) // 8 < 4096
    assert program("riscv64") is None


def test_subordinate_ranges_are_found_by_name_and_number():
    text = "dev:100000:65536\n# x\nother:1:2\n1000:300000:70000\nbad:line\n"
    assert granted(text, "dev", 1000) == Range(300000, 70000)
    assert granted(text, "dev", 5) == Range(100000, 65536)
    assert granted(text, "nobody", 65534) is None


def test_limits_in_both_versions_of_cgroups():
    limits = Limits(memory_bytes=1 << 20, cpus=1.5, pids=9)
    assert settings(limits, unified=True) == (
        Setting("memory", "memory.max", "1048576"),
        Setting("cpu", "cpu.max", "150000 100000"),
        Setting("pids", "pids.max", "9"),
    )
    assert [part.file for part in settings(limits, unified=False)] == [
        "memory.limit_in_bytes", "cpu.cfs_period_us", "cpu.cfs_quota_us", "pids.max",
    ]  # fmt: skip
    assert settings(Limits(), unified=True) == ()


def test_own_groups_in_both_versions_of_cgroups():
    root = Path("/g")
    assert own_groups("0::/user/me\n", root) == (
        True,
        dict.fromkeys(("memory", "cpu", "pids"), root / "user/me"),
    )
    unified, groups = own_groups("4:memory:/a\n3:cpu,cpuacct:/b\n9:name=systemd:/\n0::/\n", root)
    assert not unified
    assert (groups["memory"], groups["cpu"]) == (root / "memory/a", root / "cpu/b")
