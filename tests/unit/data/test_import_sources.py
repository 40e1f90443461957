"""Where data comes from, and what is said when it can't be fetched."""

from __future__ import annotations

import pytest

from rondel.data import load_project
from rondel.data.import_sources import hint_for_missing

FILES = {
    "data/added.txt.dvc": "outs:\n- {md5: aa, hash: md5, path: added.txt}\n",
    "data/kept.txt.dvc": "outs:\n- {md5: aa, hash: md5, path: kept.txt, push: false}\n",
    "data/own.txt.dvc": "outs:\n- {md5: aa, hash: md5, path: own.txt, remote: vault}\n",
    "data/git.xml.dvc": (
        "frozen: true\ndeps:\n- path: start/data.xml\n  repo:\n"
        "    url: https://ann:secret@example.org/registry.git\n    rev_lock: 0123456789abcdef0123\n"
        "outs:\n- {md5: aa, hash: md5, path: git.xml}\n"
    ),
    "data/branch.xml.dvc": (
        "deps:\n- path: start/data.xml\n  repo: {url: ../registry, rev: v2, rev_lock: 0123456789abcdef0123}\n"
        "outs:\n- {md5: aa, hash: md5, path: branch.xml}\n"
    ),
    "data/url.csv.dvc": (
        "deps:\n- {path: 'https://ann:secret@example.org/d.csv?X-Signature=secret', etag: x}\n"
        "outs:\n- {md5: aa, hash: md5, path: url.csv}\n"
    ),
    "data/table.csv.dvc": (
        "deps:\n- db: {connection: warehouse, query: select 1}\nouts:\n- {md5: aa, hash: md5, path: table.csv}\n"
    ),
}


@pytest.fixture
def project(project_root, write_files):
    write_files(project_root, FILES)
    return load_project(project_root)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("data/added.txt", "`dvc push data/added.txt` where the data is"),
        ("data/git.xml", "imported from start/data.xml of https://example.org/registry.git at 0123456789ab,"),
        ("data/branch.xml", "imported from start/data.xml of ../registry at v2,"),
        ("data/branch.xml", "with `dvc update data/branch.xml.dvc`"),
        ("data/url.csv", "imported from https://example.org/d.csv: `dvc update"),
        ("data/url.csv", "`dvc push data/url.csv` where the data is"),
        ("data/table.csv", "imported from the database warehouse"),
        ("data/kept.txt", "data/kept.txt.dvc has `push: false`"),
    ],
)
def test_the_hint_fits_what_the_dvc_file_says(project, path, said):
    hint = hint_for_missing(project, [path], remote_defined=True)
    assert said in hint
    assert "secret" not in hint


@pytest.mark.parametrize("path", ["data/git.xml", "data/kept.txt"])
def test_no_push_is_advised_where_it_moves_nothing(project, path):
    assert "`dvc push data" not in hint_for_missing(project, [path], remote_defined=True)


def test_without_a_remote_it_is_defined_first(project):
    hint = hint_for_missing(project, ["data/added.txt"], remote_defined=False)
    assert hint == (
        "no remote is defined: `dvc remote add --default NAME URL`, then `dvc push data/added.txt` where the data is"
    )
    assert "no remote" not in hint_for_missing(project, ["data/own.txt"], remote_defined=False)


def test_what_a_stage_makes_and_what_git_keeps_has_no_hint(project):
    assert hint_for_missing(project, ["models/model.bin", "src/train.py"], remote_defined=True) is None


def test_a_folder_has_the_hints_of_all_that_lies_in_it(project):
    hint = hint_for_missing(project, ["data"], remote_defined=True)
    assert len(hint.splitlines()) == 6
    assert "`dvc push data/added.txt data/own.txt data/raw.csv data/table.csv data/url.csv`" in hint


def test_a_source_of_no_known_kind_is_taken_for_none(project_root, write_files):
    write_files(project_root, {"data/odd.dvc": "deps: [3]\nouts:\n- {md5: aa, path: odd}\n"})
    assert load_project(project_root).tracked["data/odd"].source is None


def test_a_folder_that_each_clone_has_for_itself_is_said_to_be_that(project) -> None:
    hint = hint_for_missing(project, ["data/added.txt"], remote_defined=True, own_folder=True)
    assert hint == (
        "`dvc push data/added.txt` if this clone has the data; "
        "if another clone has it, both need a shared remote: `dvc remote add --default NAME URL`"
    )
