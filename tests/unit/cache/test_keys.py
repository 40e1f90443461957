from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import pytest

from rondel.cache import (
    StageCacheEntry,
    code_parts,
    compare,
    describe,
    digest,
    load_entries,
    load_entry,
    make_key,
    save_entry,
)
from rondel.cache.entries import MAX_ENTRIES, cached_runs
from rondel.record import CallRecord, Image, VerdictRecord

if TYPE_CHECKING:
    from pathlib import Path


def test_canonical_digests_do_not_depend_on_order() -> None:
    assert digest({"a": 1, "b": [1, 2]}) == digest({"b": [1, 2], "a": 1})
    assert digest([1, 2]) != digest([2, 1])


def test_the_digest_of_a_known_key_stays_as_it_is() -> None:
    # A change here makes every stage of every user run again: raise KEY_VERSION on purpose, or not at all.
    key = make_key({"image": {"containerfile": "abc"}, "parameters": {"n": 1, "x": 0.5}, "champion": {}})
    assert key.digest == "sha256:76d7cb880916d2e0c3482f0ff7f8a880997af14d58dec103b6223731bc864a9b"


def test_an_empty_part_counts_like_a_missing_one() -> None:
    assert make_key({"code": {}, "image": {"a": "1"}}) == make_key({"image": {"a": "1"}})


def test_yaml_values_that_json_does_not_have_are_taken_as_text() -> None:
    import datetime as dt

    parts: dict[str, dict[str, Any]] = {
        "parameters": {"day": dt.date(2013, 1, 1), "inf": float("inf"), "t": (1, 2)}
    }
    assert make_key(parts).parts == {"parameters": {"day": "2013-01-01", "inf": "inf", "t": [1, 2]}}


def test_the_first_change_is_told_in_the_order_of_the_parts() -> None:
    before = make_key({"inputs": {"a.csv": "md5:1"}, "parameters": {"n": 1}, "image": {"containerfile": "x"}})
    after = make_key({"inputs": {"a.csv": "md5:2"}, "parameters": {"n": 2}, "image": {"containerfile": "x"}})
    changes = compare(before, after)
    assert [(change.part, change.entry) for change in changes] == [("parameters", "n"), ("inputs", "a.csv")]
    assert describe(changes) == "parameter n changed from 1 to 2, and 1 more"
    assert describe(compare(before, before)) == "nothing changed"


def test_added_and_removed_entries_are_told() -> None:
    before, after = make_key({"inputs": {"old": "1"}}), make_key({"inputs": {"new": "1"}})
    assert [(change.entry, change.kind) for change in compare(before, after)] == [
        ("new", "added"),
        ("old", "removed"),
    ]
    assert describe(compare(before, after)) == "input new was added, and 1 more"


def cache_entry(number: int = 1, *, stage: str = "train") -> StageCacheEntry:
    key = make_key({"parameters": {"n": [number, None, "x"]}})
    return StageCacheEntry(
        key=key,
        run=f"20261123-000000-{number:06}",
        stage=stage,
        number=1,
        uses=(CallRecord(kind="dvc", name="train", details={"params": {"a.b": 1}}),),
        image=Image(reference="Containerfile:stage", digest="sha256:1", source="registry"),
        outputs={"m.json": "md5:1"},
        metrics={"z": 1.0, "auc": 0.7},
        verdicts=(VerdictRecord(passed=True, rules=[{"rule": "auc > 0.5", "metric": "auc"}]),),
        mlflow="abc",
    )


def test_a_memory_comes_back_as_it_was(tmp_path: Path) -> None:
    kept = cache_entry(stage="fit[a=1/2]")
    save_entry(tmp_path, kept)
    assert load_entries(tmp_path, "fit[a=1/2]") == (kept,)
    assert load_entries(tmp_path, "fit") == ()
    assert load_entry(tmp_path, "fit[a=1/2]", kept.key.digest) == kept
    assert load_entry(tmp_path, "fit[a=1/2]", "sha256:other") is None


def test_several_successes_are_kept_and_the_newest_comes_first(tmp_path: Path) -> None:
    for number in range(MAX_ENTRIES + 3):
        save_entry(tmp_path, cache_entry(number))
    save_entry(tmp_path, cache_entry(7))  # made again: the newest now
    kept = load_entries(tmp_path, "train")
    assert [each.run[-2:] for each in kept] == ["07", *(f"{n:02}" for n in range(14, 2, -1) if n != 7)][
        :MAX_ENTRIES
    ]
    assert cached_runs(tmp_path) == {cache_entry(7).run}


def test_names_that_lie_in_one_folder_are_told_apart(tmp_path: Path) -> None:
    for name in ("a/b", "a b"):
        save_entry(tmp_path, cache_entry(1 if name == "a/b" else 2, stage=name))
    assert [each.stage for each in load_entries(tmp_path, "a/b")] == ["a/b"]
    assert [each.stage for each in load_entries(tmp_path, "a b")] == ["a b"]


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"format": 1}', '{"format": 99}', "\x00"])
def test_a_damaged_memory_is_no_memory(tmp_path: Path, text: str) -> None:
    save_entry(tmp_path, cache_entry())
    (file,) = (tmp_path / ".rondel" / "stages").rglob("*.json")
    file.write_text(text)
    assert load_entries(tmp_path, "train") == ()
    assert cached_runs(tmp_path) == frozenset()


def test_a_memory_with_a_field_of_another_type_is_no_memory(tmp_path: Path) -> None:
    save_entry(tmp_path, cache_entry())
    (file,) = (tmp_path / ".rondel" / "stages").rglob("*.json")
    document = json.loads(file.read_text())
    for field in ("key", "uses", "outputs", "metrics", "verdicts"):
        file.write_text(json.dumps({**document, field: 7}))
        assert load_entries(tmp_path, "train") == ()


def load(root: Path, source: str) -> Any:
    import importlib.util
    import linecache

    file = root / "main.py"
    file.write_text(source)
    linecache.clearcache()
    spec = importlib.util.spec_from_file_location("probe_main", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[spec.name]
        raise
    return module


SOURCE = """
LIMIT = 3
TABLE = {"a": [1, 2]}
UNUSED = 1

def helper():
    return inner()

def inner():
    return LIMIT

class Thing:
    def go(self):
        return TABLE

async def stage(ctx):
    helper()
    return [Thing() for _ in range(2)]
"""


def parts(root: Path, source: str) -> dict[str, str]:
    return code_parts(load(root, source).stage, root)


def test_code_is_followed_through_what_it_names(tmp_path: Path) -> None:
    assert set(parts(tmp_path, SOURCE)) == {"stage", "helper", "inner", "LIMIT", "Thing", "TABLE"}


@pytest.mark.parametrize(
    ("old", "new", "entry"),
    [
        ("LIMIT = 3", "LIMIT = 4", "LIMIT"),
        ("[1, 2]", "[1, 3]", "TABLE"),
        ("return inner()", "return inner() + 1", "helper"),
        ("return TABLE", "return dict(TABLE)", "Thing"),
        ("range(2)", "range(3)", "stage"),
    ],
)
def test_a_change_of_code_shows_where_it_is(tmp_path: Path, old: str, new: str, entry: str) -> None:
    before, after = parts(tmp_path, SOURCE), parts(tmp_path, SOURCE.replace(old, new))
    assert {name for name in before if before[name] != after[name]} == {entry}


def test_what_a_stage_does_not_name_does_not_count(tmp_path: Path) -> None:
    assert parts(tmp_path, SOURCE) == parts(tmp_path, "\n\n" + SOURCE.replace("UNUSED = 1", "UNUSED = 2"))


def test_rondels_own_bodies_have_no_code(tmp_path: Path) -> None:
    from rondel.pipeline import Pipeline

    assert code_parts(Pipeline().dvc("train").body, tmp_path) == {}
