"""Parameters are checked as a whole before anything is computed."""

import copy
from pathlib import Path

import pytest
import yaml

from workload import params
from workload.errors import ParameterInvalid


@pytest.fixture
def document():
    return yaml.safe_load((Path(__file__).resolve().parents[3] / "params.yaml").read_text())


def test_the_projects_own_file_is_valid(settings):
    assert settings.prepare.train_months == (1, 2, 3, 4, 5, 6, 7, 8)
    assert settings.train.max_iter == 200


def test_an_unknown_name_gets_the_nearest_match(document):
    document["train"]["max_itr"] = document["train"].pop("max_iter")
    with pytest.raises(ParameterInvalid) as caught:
        params.parse(document, "params.yaml")
    assert "train.max_itr is unknown (did you mean 'max_iter'?)" in str(caught.value)
    assert "train.max_iter is missing" in str(caught.value)


def test_types_are_checked(document):
    document["train"]["max_iter"] = "many"
    document["prepare"]["test_months"] = 9
    with pytest.raises(ParameterInvalid) as caught:
        params.parse(document, "params.yaml")
    assert "train.max_iter: expected int, found 'many'" in str(caught.value)
    assert "prepare.test_months: expected a list, found 9" in str(caught.value)


@pytest.mark.parametrize(
    ("section", "key", "value", "message"),
    [
        ("prepare", "test_months", [8], "month 8 is already in train_months"),
        ("prepare", "later_months", [13], "13 is not a month"),
        ("prepare", "train_months", [], "prepare.train_months is empty"),
        ("train", "max_iter", 0, "train.max_iter: 0 is too small"),
        ("train", "max_leaf_nodes", 1, "train.max_leaf_nodes: 1 is too small"),
        ("evaluate", "threshold", 1.5, "evaluate.threshold: 1.5 is not between 0 and 1"),
    ],
)
def test_values_that_make_no_sense_are_refused(document, section, key, value, message):
    changed = copy.deepcopy(document)
    changed[section][key] = value
    with pytest.raises(ParameterInvalid, match=message):
        params.parse(changed, "params.yaml")


def test_an_override_is_checked_like_the_file(settings):
    assert settings.with_train(max_iter=7).train.max_iter == 7
    with pytest.raises(ParameterInvalid, match=r"command line: train\.max_iter: -1"):
        settings.with_train(max_iter=-1)


def test_a_missing_file_says_where_to_run(tmp_path):
    with pytest.raises(ParameterInvalid, match="run this from the project's top folder"):
        params.load(tmp_path / "params.yaml")
