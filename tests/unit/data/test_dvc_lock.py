from __future__ import annotations

import pytest
import yaml

from rondel.data.dvc_lock import merge_lock, stage_blocks
from rondel.errors import ConfigurationError, DataError


def test_only_the_named_entry_is_replaced_and_the_rest_kept_to_the_byte(lock_text):
    made = lock_text(rate="0.7").replace("python src/prepare.py", "python other.py")
    merged = merge_lock(lock_text(), made, ["train"])
    assert merged == lock_text(rate="0.7")


def test_a_new_entry_goes_to_the_end(lock_text):
    first = lock_text().partition("  train:\n")[0]
    assert merge_lock(first, lock_text(), ["train"]) == lock_text()


@pytest.mark.parametrize("text", [None, "", "schema: '2.0'\n", "schema: '2.0'\nstages: {}\n"])
def test_an_empty_file_gets_the_entries(text, lock_text):
    merged = merge_lock(text, lock_text(), ["prepare", "train"])
    assert yaml.safe_load(merged)["stages"] == yaml.safe_load(lock_text())["stages"]


def test_an_entry_that_was_not_made_stays(lock_text):
    assert merge_lock(lock_text(), "schema: '2.0'\nstages:\n", ["train"]) == lock_text()


def test_keys_after_the_stages_stay(lock_text):
    text = lock_text() + "datasets:\n- name: x\n"
    merged = merge_lock(text, lock_text(rate="0.9"), ["train"])
    assert merged == lock_text(rate="0.9") + "datasets:\n- name: x\n"


def test_blocks_are_the_files_lines(lock_text):
    blocks = stage_blocks(lock_text())
    assert "schema: '2.0'\nstages:\n" + "".join(blocks.values()) == lock_text()


def test_commands_of_several_lines_survive():
    text = "schema: '2.0'\nstages:\n  a:\n    cmd: |-\n      one\n\n      two\n  b:\n    cmd: x\n"
    made = text.replace("cmd: x", "cmd: y")
    assert merge_lock(text, made, ["b"]) == made
    assert merge_lock(made, text.replace("one", "three"), ["a"]) == made.replace("one", "three")


def test_a_file_that_is_no_lock_is_refused(lock_text):
    with pytest.raises(DataError):
        merge_lock("[1, 2]", lock_text(), ["train"])
    with pytest.raises(ConfigurationError):
        merge_lock("stages: [", lock_text(), ["train"])
    with pytest.raises(DataError):
        merge_lock("stages: {a: {cmd: x}}", lock_text(), ["train"])
