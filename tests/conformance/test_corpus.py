"""Every recorded case gets the recorded answer, and every case of our own the one beside it."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest
from replaying import DEPARTURES, SINGLE_ID, Case, Door, is_embedded, load_beyond, load_cases, replay

CASES = [case for case in [*load_cases(), *load_beyond()] if case.quirk is None]


@pytest.mark.container
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_engine_answers_as_recorded(
    case: Case, doors: list[Door], base: str, registry: str | None, departures: dict[str, str]
) -> None:
    if len(doors) < case.sessions:
        pytest.skip("one session only: SECOND_SESSION_PORT and SECOND_SESSION_TOKEN name another")
    if case.better and not is_embedded():
        pytest.skip(f"not the Dagger engine's answer: {case.better}")
    if case.needs_registry and registry is None:
        pytest.skip("no registry: REGISTRY names one, or install docker-registry")
    parent = Path.cwd() if case.setup.get("in_cwd") else None
    folder = Path(tempfile.mkdtemp(prefix="replay-", dir=parent)).resolve()
    folder.chmod(0o755)
    try:
        problems = replay(case, doors, base, registry or "", folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if case.id in departures:
        assert problems, f"{case.id} is listed as a departure, and passes: remove it from the list"
    else:
        assert not problems, f"{case.title}\n" + "\n".join(problems)


def test_departures_name_cases_that_exist() -> None:
    listed = DEPARTURES | SINGLE_ID
    assert set(listed) <= {case.id for case in CASES}
    assert all(isinstance(reason, str) and len(reason) > 20 for reason in listed.values())
