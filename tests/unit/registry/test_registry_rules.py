"""Lineage, conditions, earlier versions of an alias, approval: the decisions, without a server."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rondel.errors import ConfigurationError, DataError, WaitingForApproval
from rondel.registry.alias_log import AliasLogEntry
from rondel.registry.aliases import (
    champion_at,
    check_alias,
    parse_time,
    rollback_stack,
    rollback_target,
    split_reference,
)
from rondel.registry.approval import decide
from rondel.registry.lineage import Lineage, model_card, unmet_conditions
from rondel.registry.project_lineage import commit_problem, data_lineage, whoami
from rondel.registry.register import ModelSource, registration_key
from rondel.registry.remote_data import missing_in_remote

if TYPE_CHECKING:
    from pathlib import Path

texts = st.dictionaries(st.text(min_size=1, max_size=20), st.text(max_size=2000), max_size=20)


@given(
    st.builds(
        Lineage,
        run=st.text(max_size=9),
        git_commit=st.text(max_size=9),
        git_dirty=st.booleans(),
        inputs=texts,
        outputs=texts,
        params=st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5), max_size=5),
        metrics=st.dictionaries(st.text(max_size=9), st.floats(allow_nan=False), max_size=9),
        gate=st.sampled_from(["passed", "failed", "none"]),
        gate_rules=st.lists(st.text(max_size=50), max_size=12).map(tuple),
    )
)
def test_lineage_survives_tags_of_limited_length(lineage: Lineage) -> None:
    tags = lineage.tags()
    assert all(len(value) <= 5000 for value in tags.values())
    assert Lineage.from_tags(tags) == lineage
    assert len(model_card("m", lineage)) <= 5000


def test_a_version_that_rondel_did_not_register_meets_no_condition() -> None:
    found = unmet_conditions(Lineage.from_tags({}), missing=(), commit_problem="")
    assert len(found) == 6
    assert "it never went through a gate" in found


def entries(*moves: tuple[str, str]) -> list[AliasLogEntry]:
    return [
        AliasLogEntry(number=number, at=f"2026-11-{number:02d}T00:00:00.000Z", who="ann", action=action,
              alias="champion", old="", new=new)
        for number, (action, new) in enumerate(moves, start=1)
    ]  # fmt: skip


def test_rollback_goes_back_step_by_step_not_back_and_forth() -> None:
    log = entries(("promote", "1"), ("promote", "2"), ("promote", "3"), ("rollback", "2"))
    assert rollback_stack(log, "champion") == ["1", "2"]
    assert rollback_target(log, "champion", "2", 1, "m") == "1"
    log = entries(("promote", "1"), ("promote", "2"), ("rollback", "1"), ("promote", "3"))
    assert rollback_stack(log, "champion") == ["1", "3"]
    assert rollback_target(log, "champion", "3", 1, "m") == "1"
    with pytest.raises(ConfigurationError, match="2 steps"):
        rollback_target(log, "champion", "3", 2, "m")
    with pytest.raises(ConfigurationError):
        rollback_target([], "champion", "", 1, "m")
    with pytest.raises(ConfigurationError):
        rollback_target(log, "champion", "3", 0, "m")


def test_the_log_says_which_version_was_champion_at_a_time() -> None:
    log = entries(("promote", "1"), ("promote", "2"))
    assert champion_at(log, "champion", "2026-10-31T00:00:00.000Z") is None
    assert champion_at(log, "champion", "2026-11-01T12:00:00.000Z") == "1"
    assert champion_at(log, "champion", "2027") == "2"
    assert champion_at(log, "other", "2027") is None


def test_times_are_read_in_utc() -> None:
    assert parse_time("2026-11-23T20:30:00+01:00") == "2026-11-23T19:30:00.000Z"
    assert parse_time("2026-11-23T19:30") == "2026-11-23T19:30:00.000Z"
    assert parse_time("2026-11-23") == "2026-11-23T23:59:59.999Z"
    with pytest.raises(ConfigurationError, match="not a time"):
        parse_time("yesterday")


def test_an_alias_that_servers_refuse_is_refused_before_it_is_logged() -> None:
    for good in ("champion", "Blue-2", "v1a"):
        check_alias(good)
    for wrong in ("", "a b", "a@b", "v1", "V12", "7", "latest", "x" * 256):
        with pytest.raises(ConfigurationError, match="cannot be an alias"):
            check_alias(wrong)


def test_references_are_split() -> None:
    assert split_reference("m") == ("m", "", "")
    assert split_reference("m@challenger") == ("m", "challenger", "")
    assert split_reference("m/3") == ("m", "", "3")
    for wrong in ("@a", "m@", "m/", ""):
        with pytest.raises(ConfigurationError):
            split_reference(wrong)


def test_approval_comes_from_a_flag_or_a_terminal_or_is_missing() -> None:
    given = decide("deploy", "production", approve_by=" bob ", who="ann")
    assert (given.by, given.how) == ("bob", "flag")
    asked: list[str] = []

    def answer(text: str) -> Any:
        def ask(question: str) -> str:
            asked.append(question)
            return text

        return ask

    found = decide(
        "deploy", "production", approve_by=None, who="ann", changes=["champion 3 → 4"], ask=answer("Yes\n")
    )
    assert (found.by, found.how) == ("ann", "terminal")
    assert "champion 3 → 4" in asked[0]
    for ask in (answer("\n"), answer("n"), answer(""), None):
        with pytest.raises(WaitingForApproval) as caught:
            decide("deploy", "production", approve_by=None, who="ann", ask=ask)
        assert caught.value.exit_code == 12


def stored(folder: Path, content: bytes, *, suffix: str = "") -> str:
    name = hashlib.md5(content, usedforsecurity=False).hexdigest() + suffix
    path = folder / "files" / "md5" / name[:2] / name[2:]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return f"md5:{name}"


def test_the_remote_is_checked_for_each_file(tmp_path: Path) -> None:
    folder = tmp_path / ".rondel" / "remote"
    one = stored(folder, b"one")
    parts = [{"md5": one[4:], "relpath": "a.csv"}, {"md5": "0" * 32, "relpath": "b.csv"}]
    whole = stored(folder, json.dumps(parts).encode(), suffix=".dir")
    hashes = {"one": one, "lost": "md5:" + "1" * 32, "folder": whole, "code.py": "sha256:1"}
    assert missing_in_remote(tmp_path, hashes, {}) == ["lost", "folder/b.csv"]
    assert missing_in_remote(tmp_path, {"one": one}, {}) == []
    broken = stored(folder, b"{", suffix=".dir")
    with pytest.raises(DataError, match="damaged"):
        missing_in_remote(tmp_path, {"folder": broken}, {})


def test_the_data_of_a_model_comes_from_dvcs_own_files(tmp_path: Path) -> None:
    (tmp_path / "dvc.yaml").write_text(
        "stages:\n  train:\n    cmd: python train.py\n    deps: [train.py, raw.csv]\n"
        "    params: [train]\n    outs: [model.skops]\n    metrics:\n    - metrics.json:\n        cache: false\n"
    )
    (tmp_path / "params.yaml").write_text("train:\n  max_iter: 3\n")
    (tmp_path / "raw.csv.dvc").write_text(f"outs:\n- md5: {'a' * 32}\n  path: raw.csv\n  hash: md5\n")
    (tmp_path / "dvc.lock").write_text(
        "schema: '2.0'\nstages:\n  train:\n    cmd: python train.py\n    deps:\n"
        f"    - {{path: train.py, hash: md5, md5: {'b' * 32}, size: 1}}\n"
        "    params:\n      params.yaml:\n        train: {max_iter: 3}\n    outs:\n"
        f"    - {{path: model.skops, hash: md5, md5: {'c' * 32}, size: 1}}\n"
        f"    - {{path: metrics.json, hash: md5, md5: {'d' * 32}, size: 1}}\n"
    )
    inputs, outputs, params = data_lineage(tmp_path)
    assert inputs == {"raw.csv": "md5:" + "a" * 32}
    assert outputs == {"model.skops": "md5:" + "c" * 32}
    assert params == {"train.max_iter": 3}


def test_the_model_card_lists_data_slices_and_overrides() -> None:
    lineage = Lineage(
        run="r1",
        inputs={"data/raw.csv": "md5:1"},
        outputs={"data/train.csv": "md5:2"},
        params={"train.rate": 0.1, "train.seed": 1},
        overrides={"train.rate": "0.1"},
        metrics={"auc": 0.7, "auc[origin=JFK]": 0.6, "rows[origin=JFK]": 10.0},
        evaluation={"data data/test.csv": "md5:3"},
        gate="passed",
    )
    card = model_card("flights", lineage)
    assert "- `data/raw.csv` md5:1 (given)" in card
    assert "- `data/train.csv` md5:2 (made by the run's stages)" in card
    assert "| slice | auc | rows |" in card
    assert "| origin=JFK | 0.6 | 10 |" in card
    assert "- `train.rate` = 0.1 (given with -P)" in card
    assert "- `train.seed` = 1\n" in card
    assert Lineage.from_tags(lineage.tags()) == lineage


def test_the_registration_key_does_not_depend_on_run_and_tree() -> None:
    source = ModelSource(uri="models:/m-1", run_id="a", model_id="m-1")
    one = Lineage(run="r1", git_commit="c", gate="passed")
    again = Lineage(run="r2", git_commit="c", gate="passed", git_dirty=True, ci_job="https://ci/2")
    other = Lineage(run="r1", git_commit="d", gate="passed")
    assert registration_key(source, one) == registration_key(source, again)
    assert registration_key(source, one) != registration_key(source, other)


def test_without_git_the_login_acts_and_a_commit_cannot_be_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("LOGNAME", "ann")
    assert whoami(tmp_path) == "ann"
    assert whoami(tmp_path, "mira") == "mira"
    assert (
        commit_problem(tmp_path, "a" * 40)
        == "its commit aaaaaaaaaaaa can't be checked: git is not installed here"
    )
