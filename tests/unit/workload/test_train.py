"""The command line of training, which MLproject relies on."""

from pathlib import Path

import pytest
import yaml

from workload import params, train

TOP = Path(__file__).resolve().parents[3]


def test_flags_override_and_the_file_is_the_default():
    given = train.overrides(["--max-iter", "300", "--learning-rate", "params.yaml"])
    assert given == {"max_iter": 300}


def test_a_flag_that_is_no_number_is_refused(capsys):
    with pytest.raises(SystemExit):
        train.overrides(["--max-iter", "many"])
    assert "invalid int value: 'many'" in capsys.readouterr().err


def test_mlproject_offers_every_model_parameter():
    project = yaml.safe_load((TOP / "MLproject").read_text())
    entry = project["entry_points"]["train"]
    assert set(entry["parameters"]) == set(params.Train.__annotations__)
    for name, parameter in entry["parameters"].items():
        assert f"--{name.replace('_', '-')} {{{name}}}" in entry["command"]
        assert parameter["default"] == train.FROM_FILE


def test_dvc_stages_run_the_modules_they_depend_on():
    stages = yaml.safe_load((TOP / "dvc.yaml").read_text())["stages"]
    assert stages
    for name, stage in stages.items():
        assert stage["cmd"] == f"python -m workload.{name}"
        assert f"workload/{name}.py" in stage["deps"]


def test_a_file_is_stored_whole_without_leftovers(tmp_path):
    train.store(b"model", tmp_path / "deep" / "model.skops")
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["model.skops"]
