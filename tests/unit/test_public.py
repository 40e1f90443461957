"""What ``import rondel`` offers, and what it costs."""

import subprocess
import sys

import rondel


def test_every_public_name_is_there_and_listed():
    assert all(getattr(rondel, name) is not None for name in rondel.__all__)
    assert set(rondel.__all__) <= set(dir(rondel))


def test_an_unknown_name_is_an_attribute_error():
    assert not hasattr(rondel, "nothing_of_the_kind")


def test_the_engine_s_launcher_loads_nothing_of_the_pipelines():
    program = "import rondel.engine.server.launcher, sys; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = {name for name in done.stdout.split() if name.startswith("rondel.")}
    light = ("rondel.engine.server", "rondel.errors", "rondel.version")
    assert {name for name in loaded if not name.startswith(light)} == {"rondel.engine"}
    assert not loaded & {"rondel.engine.server.app", "rondel.engine.server.process"}
