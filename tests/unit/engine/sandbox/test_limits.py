import pytest

from rondel.engine.sandbox import Limits, SandboxError
from rondel.engine.sandbox.cgroups import limits_of, settings


def test_variables_say_limits():
    assert limits_of({"PATH": "/bin", "RONDEL_ENGINE_MEMORY": ""}) is None
    found = limits_of(
        {"RONDEL_ENGINE_MEMORY": "1.5G", "RONDEL_ENGINE_CPUS": "0.5", "RONDEL_ENGINE_PIDS": "100"}
    )
    assert found == Limits(memory_bytes=3 << 29, cpus=0.5, pids=100)
    assert limits_of({"RONDEL_ENGINE_MEMORY": "512 MiB".replace(" ", "")}) == Limits(memory_bytes=512 << 20)


@pytest.mark.parametrize("name", ["RONDEL_ENGINE_MEMORY", "RONDEL_ENGINE_CPUS", "RONDEL_ENGINE_PIDS"])
@pytest.mark.parametrize("value", ["much", "-1", "0", "1X", "1 G 2"])
def test_what_is_no_limit_is_refused_by_name(name, value):
    with pytest.raises(SandboxError, match=name):
        limits_of({name: value})


def test_both_kinds_of_cgroups_are_spoken_to():
    limits = Limits(memory_bytes=1 << 20, cpus=1.5, pids=9)
    assert [(s.file, s.value) for s in settings(limits, unified=True)] == [
        ("memory.max", "1048576"), ("cpu.max", "150000 100000"), ("pids.max", "9"),
    ]  # fmt: skip
    assert [s.file for s in settings(limits, unified=False)] == [
        "memory.limit_in_bytes", "cpu.cfs_period_us", "cpu.cfs_quota_us", "pids.max",
    ]  # fmt: skip
