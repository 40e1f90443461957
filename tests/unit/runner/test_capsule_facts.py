"""The options and variables that a capsule records."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rondel.runner.capsule_facts import allowed_environment, recorded_options
from rondel.settings import OPTIONS, load_settings
from rondel.settings.machine_variables import is_machine_variable

if TYPE_CHECKING:
    from pathlib import Path

MACHINE = {
    "RONDEL_ENGINE": "embedded",
    "RONDEL_ENGINE_HOST_IMAGE": "never",
    "RONDEL_ENGINE_CACHE_SIZE": "1G",
    "RONDEL_JOBS": "3",
    "RONDEL_TRACKING_LINGER": "0",
    "RONDEL_RUNS_MEGABYTES": "1",
    "RONDEL_DATA_IMAGE": "data:1",
}


def test_each_option_with_a_variable_declares_what_it_concerns() -> None:
    assert {each.concerns for each in OPTIONS} == {"result", "run", "machine", "command"}
    of_machine = {each.env for each in OPTIONS if each.concerns == "machine" and each.env}
    assert of_machine == set(MACHINE)


def test_machine_options_are_recorded_as_options_not_as_environment(tmp_path: Path) -> None:
    settings = load_settings(tmp_path, {}, MACHINE)
    assert allowed_environment({**MACHINE, "RONDEL_NAME": "n", "TZ": "CET"}, ()) == {
        "RONDEL_NAME": "n",
        "TZ": "CET",
    }
    recorded = recorded_options(settings)
    assert (recorded["engine"], recorded["jobs"], recorded["cache_size"]) == ("embedded", 3, "1G")


def test_options_of_one_command_are_not_recorded(tmp_path: Path) -> None:
    environ = {"RONDEL_VERBOSE": "2", "RONDEL_SHELL": "before", "RONDEL_BASE_IMAGE": "x"}
    settings = load_settings(tmp_path, {"resume": "x", "force": True, "dry_run": True}, environ)
    assert recorded_options(settings).keys() == {"name"}
    assert allowed_environment(environ, ()) == {}


@pytest.mark.parametrize(
    "name",
    [
        *MACHINE,
        "RONDEL_ENGINE_MIRRORS",
        "RONDEL_OF_A_LATER_VERSION",
        "https_proxy",
        "NO_PROXY",
        "SSL_CERT_FILE",
        "PIP_INDEX_URL",
        "CUDA_VISIBLE_DEVICES",
        "TMPDIR",
        "DOCKER_HOST",
        "PATH",
        "PYTHONPATH",
        "NO_COLOR",
        "CI",
    ],
)
def test_a_variable_of_the_machine_stays_there(name: str) -> None:
    assert is_machine_variable(name)


@pytest.mark.parametrize(
    "name",
    ["TZ", "LANG", "OMP_NUM_THREADS", "PYTHONHASHSEED", "MODE", "RONDEL_NAME", "MLFLOW_EXPERIMENT_NAME"],
)
def test_a_variable_that_results_depend_on_goes_with_the_run(name: str) -> None:
    assert not is_machine_variable(name)
