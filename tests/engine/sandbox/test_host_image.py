from __future__ import annotations

import sys

import pytest

from rondel.engine.images.host import host_image
from rondel.engine.images.host_python import python_version

pytestmark = [pytest.mark.anyio, pytest.mark.container]


def sh(script: str) -> tuple[str, str, str]:
    return ("sh", "-c", script)


@pytest.mark.parametrize("name", ["python", "python3", f"python3.{sys.version_info.minor}"])
@pytest.mark.parametrize("path", [None, "/usr/local/bin:/usr/bin:/bin"])
async def test_every_python_is_the_engines_own_version(run, name, path):
    script = "import platform, ssl, sqlite3; print(platform.python_version())"
    done = await run(name, "-c", script, env={"PATH": path} if path else {})
    assert done.stdout.data.decode().strip() == python_version()


async def test_python_is_not_the_projects_environment(run):
    done = await run("python3", "-c", "import sys; print(sys.prefix == sys.base_prefix, sys.prefix)")
    assert done.stdout.data.startswith(b"True ")
    assert sys.prefix.encode() not in done.stdout.data or sys.prefix == sys.base_prefix


async def test_pip_works_and_may_install(run):
    done = await run("pip", "--version", env={"PIP_DISABLE_PIP_VERSION_CHECK": "1"})
    assert done.stdout.data.startswith(b"pip ")
    done = await run(*sh("pip install --no-index --dry-run rondel-does-not-exist 2>&1"))
    assert b"externally-managed" not in done.stdout.data
    assert b"No matching distribution" in done.stdout.data


async def test_virtual_environments_work(run):
    script = "python -m venv --without-pip /v && /v/bin/python -c 'import sys; print(sys.prefix)'"
    done = await run(*sh(script))
    assert done.stdout.data == b"/v\n", done.stderr.data


async def test_a_second_call_makes_nothing(store, image):
    before = {path.name for path in (store.root / "l").iterdir()}
    assert await host_image(store) == image
    assert {path.name for path in (store.root / "l").iterdir()} == before


async def test_the_system_can_be_written_over(run):
    script = "mkdir /usr/lib/x && touch /usr/lib/x/f && rm /usr/bin/env && cp /usr/bin/id /n && mv /n /usr/bin/id && id -u"
    done = await run(*sh(script))
    assert done.stdout.data == b"0\n", done.stderr.data


async def test_the_package_database_is_there(run):
    done = await run(*sh("test ! -e /var/lib/dpkg || dpkg-query -W -f '${Version}' dpkg"))
    assert done.exit_code == 0
