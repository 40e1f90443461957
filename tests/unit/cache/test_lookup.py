"""Which result of a DVC stage holds under today's key: decided on files, without a container."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest

from rondel.cache import DvcCacheEntry, SharedParts, load_dvc_entries
from rondel.cache.entries import save_result
from rondel.cache.lookup import StageLookup, key_of, look_up_stage, look_up_stages
from rondel.cache.objects import is_intact, remove_unused, restore_files, store_files
from rondel.cache.provenance import Provenance, read_provenance, write_provenance
from rondel.data import load_project, stage_inputs
from rondel.data.dvc_lock import stage_blocks
from rondel.files.hashes import HashCache
from rondel.record import Image

DVC = """\
stages:
  load:
    cmd: load
    outs: [raw.csv]
  train:
    cmd: fit
    deps: [train.py, raw.csv]
    params: [rate]
    outs: [model.bin]
    metrics: [metrics.json: {cache: false}, scores.json]
"""
SHARED = SharedParts(image={"containerfile": "1"}, host={"packages": "1"}, environment={"SEED": "1"})
REGISTRY = Image(reference="Containerfile:stage", digest="sha256:1", source="registry")


def md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def lock(root: Path) -> None:
    """What DVC would write of both stages as the files are."""

    def item(path: str, text: str) -> dict[str, Any]:
        return {"path": path, "hash": "md5", "md5": md5(text), "size": len(text)}

    train = {
        "cmd": "fit",
        "deps": [item("raw.csv", "raw"), item("train.py", (root / "train.py").read_text())],
        "params": {"params.yaml": {"rate": 1}},
        "outs": [
            item("metrics.json", '{"auc": 1}'),
            item("model.bin", "model"),
            item("scores.json", '{"f1": 1}'),
        ],
    }
    entries = {"load": {"cmd": "load", "outs": [item("raw.csv", "raw")]}, "train": train}
    lines = ["schema: '2.0'", "stages:"]
    for name, entry in entries.items():
        lines += [f"  {name}:", *(f"    {key}: {json.dumps(value)}" for key, value in entry.items())]
    (root / "dvc.lock").write_text("\n".join([*lines, ""]))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    tmp_path = tmp_path / "project"
    tmp_path.mkdir()
    files = {
        "dvc.yaml": DVC,
        "params.yaml": "rate: 1\n",
        "train.py": "train",
        "helper.py": "help",
        "metrics.json": '{"auc": 1}',
        "scores.json": '{"f1": 1}',
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    (tmp_path / ".dvc").mkdir()
    lock(tmp_path)
    return tmp_path


def keep(
    root: Path,
    address: str = "train",
    *,
    shared_parts: SharedParts = SHARED,
    image: Image = REGISTRY,
    undeclared: tuple[str, ...] | None = ("helper.py",),
) -> DvcCacheEntry:
    """Keep the result that lies in the tree, as a run does."""
    project, hashes = load_project(root), HashCache(root)
    stage = project.stages[address]
    key = key_of(
        stage,
        stage_inputs(project, address),
        shared_parts,
        on_host=image.source == "host",
        undeclared={path: hashes.of(path) or "missing" for path in undeclared or ()},
    )
    entry = stage_blocks((root / "dvc.lock").read_text())[address]
    made = Path(mkdtemp(dir=root.parent))
    for name in ("metrics.json", "scores.json"):
        shutil.copy(root / name, made / name)
    cache_entry = save_result(
        root,
        stage,
        made,
        key=key,
        entry=entry,
        run="r1",
        image=image,
        undeclared=undeclared,
        pushed=True,
        metrics={"auc": 1.0},
    )
    write_provenance(root, {address: Provenance.of(cache_entry, project.lock[address])})
    return cache_entry


def found(
    root: Path, shared_parts: SharedParts = SHARED, overrides: dict[str, Any] | None = None
) -> StageLookup:
    return look_up_stage(load_project(root), "train", overrides or {}, shared_parts, HashCache(root))


def test_a_result_in_place_holds(root: Path) -> None:
    cache_entry = keep(root)
    lookup = found(root)
    assert lookup.result is not None
    assert lookup.result.location == "working tree"
    assert lookup.result.cache_entry.run == cache_entry.run
    assert lookup.result.cache_entry.image == REGISTRY


def test_without_any_success_nothing_holds_though_dvc_would_be_content(root: Path) -> None:
    lookup = found(root)
    assert lookup.result is None
    assert lookup.reason == "dvc.lock has a result, but rondel.lock does not record what made it"


@pytest.mark.parametrize(
    ("shared_parts", "reason"),
    [
        (replace(SHARED, image={"containerfile": "2"}), "the image's containerfile changed"),
        (replace(SHARED, environment={"SEED": "2"}), "variable SEED changed"),
        (replace(SHARED, environment={}), "variable SEED was removed"),
        (replace(SHARED, environment={"SEED": "1", "secret T": "set"}), "variable secret T was added"),
        (SHARED.with_commit("abc"), "variable git commit was added"),
    ],
)
def test_other_shared_parts_are_another_key(root: Path, shared_parts: SharedParts, reason: str) -> None:
    keep(root)
    lookup = found(root, shared_parts)
    assert (lookup.result, lookup.reason) == (None, reason)


def test_the_machine_counts_only_where_it_stands_for_the_image(root: Path) -> None:
    other = replace(SHARED, host={"packages": "2"})
    keep(root)
    assert found(root, other).result is not None
    keep(root, image=replace(REGISTRY, source="host"))
    assert found(root, other).result is not None, "the one from the registry still holds"
    (root / ".rondel/stages").rename(root / ".rondel/gone")
    keep(root, image=replace(REGISTRY, source="host"))
    assert found(root, other).reason == "the machine's packages changed"


@pytest.mark.parametrize(
    ("file", "text", "reason"),
    [
        ("train.py", "other", "input train.py changed"),
        ("params.yaml", "rate: 2\n", "parameter rate changed from 1 to 2"),
        ("helper.py", "other", "undeclared input helper.py changed"),
        ("dvc.yaml", DVC.replace("cmd: fit", "cmd: fit2"), "command of dvc train changed"),
        ("dvc.yaml", DVC.replace("[model.bin]", "[model.bin, more.bin]"), "it has different outputs now"),
        (
            "dvc.yaml",
            DVC.replace("cmd: fit", "always_changed: true\n    cmd: fit"),
            "always_changed in dvc.yaml",
        ),
    ],
)
def test_a_change_of_what_it_depends_on_is_named(root: Path, file: str, text: str, reason: str) -> None:
    keep(root)
    (root / file).write_text(text)
    lookup = found(root)
    assert (lookup.result, lookup.reason) == (None, reason)


def test_an_undeclared_file_that_is_gone_is_a_change(root: Path) -> None:
    keep(root)
    (root / "helper.py").unlink()
    assert found(root).reason == "undeclared input helper.py changed"


def test_an_override_is_another_key(root: Path) -> None:
    keep(root)
    assert found(root, overrides={"rate": 2}).reason == "parameter rate changed from 1 to 2"
    assert found(root, overrides={"rate": 1}).result is not None


def test_what_is_not_in_place_any_more_is_put_back_from_what_is_kept(root: Path, tmp_path: Path) -> None:
    cache_entry = keep(root)
    (root / "metrics.json").write_text("edited")
    (root / "scores.json").unlink()
    (root / "dvc.lock").unlink()
    lookup = found(root)
    assert lookup.reason == "raw.csv does not exist yet", "what it depends on is no longer known"
    lock(root)
    lookup = found(root)
    assert lookup.result is not None
    assert lookup.result.location == "stage cache"
    target = tmp_path / "made"
    restore_files(root, cache_entry.files, target)
    assert (target / "metrics.json").read_text() == '{"auc": 1}'
    assert (target / "scores.json").read_text() == '{"f1": 1}'


def test_an_object_that_is_damaged_counts_as_gone(root: Path) -> None:
    cache_entry = keep(root)
    for digest in cache_entry.files.values():
        file = root / ".rondel/stages/objects" / digest.partition(":")[2]
        file.unlink()
        file.write_text("other")
        assert not is_intact(root, digest)
    (root / "metrics.json").write_text("edited")
    lookup = found(root)
    assert (lookup.result, lookup.reason) == (None, "output metrics.json was changed")
    (root / "metrics.json").write_text('{"auc": 1}')
    keep(root)
    assert all(is_intact(root, digest) for digest in cache_entry.files.values()), "made again, it is healed"


def test_what_only_dvc_keeps_has_to_be_brought(root: Path) -> None:
    keep(root)
    (root / ".rondel/stages").rename(root / ".rondel/gone")  # as in a fresh clone
    (root / "scores.json").unlink()
    lookup = found(root)
    assert lookup.result is not None
    assert lookup.result.location == "dvc"
    (root / "metrics.json").unlink()
    assert found(root).reason == "output metrics.json is gone"


def test_a_clone_trusts_rondel_lock_only_for_the_entry_that_it_is_of(root: Path) -> None:
    keep(root)
    (root / ".rondel/stages").rename(root / ".rondel/gone")
    assert found(root).result is not None
    image = replace(SHARED, image={"containerfile": "2"})
    assert found(root, image).reason == "the image's recipe changed since run r1"
    (root / "dvc.lock").write_text((root / "dvc.lock").read_text().replace(md5("model"), md5("other")))
    assert found(root).reason == "something other than Rondel has changed dvc.lock since"


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"stages": []}', '{"stages": {"train": {}}}', "<<<<<<< HEAD\n"]
)
def test_a_damaged_rondel_lock_says_nothing(root: Path, text: str) -> None:
    keep(root)
    (root / ".rondel/stages").rename(root / ".rondel/gone")
    (root / "rondel.lock").write_text(text)
    assert found(root).result is None
    keep(root, undeclared=None)
    assert read_provenance(root)["train"].undeclared is None


def test_data_that_the_local_remote_lost_makes_the_stage_run(root: Path) -> None:
    (root / ".rondel/remote/files/md5").mkdir(parents=True)
    keep(root)
    assert found(root).reason == "the data of run r1 is not in the DVC remote"


def test_a_frozen_stage_holds_whatever_changes_and_says_so(root: Path) -> None:
    keep(root)
    (root / "train.py").write_text("other")
    (root / "dvc.yaml").write_text(DVC.replace("cmd: fit", "frozen: true\n    cmd: fit"))
    lookup = found(root)
    assert lookup.result is not None
    assert (lookup.result.why, lookup.result.cache_entry.run) == ("frozen in dvc.yaml", "r1")
    (root / "rondel.lock").unlink()
    lookup = found(root)
    assert lookup.result is not None
    assert lookup.result.cache_entry.run == "", "who made it is not known"
    assert lookup.result.cache_entry.image is None


def test_a_dependency_outside_of_the_project_is_for_dvc_to_look_at(root: Path) -> None:
    text = DVC.replace("[train.py, raw.csv]", "[train.py, raw.csv, s3://bucket/far.csv]")
    (root / "dvc.yaml").write_text(text)
    (root / "dvc.lock").write_text(
        (root / "dvc.lock").read_text().replace('"deps": [', '"deps": [').replace(
            "    deps: [", '    deps: [{"path": "s3://bucket/far.csv", "etag": "1"}, '
        )
    )  # fmt: skip
    keep(root)
    lookup = found(root)
    assert lookup.result is None
    assert lookup.unconfirmed is not None
    assert lookup.reason == "only DVC can tell whether s3://bucket/far.csv changed"


def test_a_stage_sees_the_results_that_serve_those_before_it(root: Path) -> None:
    keep(root, "load", undeclared=())
    keep(root)
    text = (root / "dvc.lock").read_text()
    (root / "dvc.lock").write_text(text.replace(md5("raw"), md5("another branch's")))
    first, second = look_up_stages(load_project(root), ("load", "train"), {}, SHARED, HashCache(root))
    assert first.result is not None
    assert first.result.location == "stage cache"
    assert second.result is not None, second.reason
    assert second.inputs.paths["raw.csv"] == f"md5:{md5('raw')}"


def test_objects_that_nothing_needs_go_unless_they_are_young(root: Path, tmp_path: Path) -> None:
    made = tmp_path / "made"
    (made / "folder/sub").mkdir(parents=True)
    (made / "folder/sub/a.txt").write_text("a")
    (made / "b.txt").write_text("b")
    files = store_files(root, made, ["folder", "b.txt"])
    assert set(files) == {"folder/sub/a.txt", "b.txt"}
    remove_unused(root, [files["b.txt"]], before=0)
    assert is_intact(root, files["folder/sub/a.txt"])
    remove_unused(root, [files["b.txt"]], before=float("inf"))
    assert not is_intact(root, files["folder/sub/a.txt"])
    assert is_intact(root, files["b.txt"])


def test_several_results_are_kept_and_each_is_found(root: Path) -> None:
    keep(root)
    (root / "params.yaml").write_text("rate: 2\n")
    text = (root / "dvc.lock").read_text()
    (root / "dvc.lock").write_text(text.replace('{"rate": 1}', '{"rate": 2}'))
    keep(root)
    assert len(load_dvc_entries(root, "train")) == 2
    (root / "params.yaml").write_text("rate: 1\n")
    lookup = found(root)
    assert lookup.result is not None
    assert lookup.result.location == "stage cache"


def test_the_success_that_is_least_apart_explains(root: Path) -> None:
    keep(root)
    text = (root / "dvc.lock").read_text()
    (root / "params.yaml").write_text("rate: 2\n")
    (root / "helper.py").write_text("other")
    (root / "dvc.lock").write_text(text.replace('{"rate": 1}', '{"rate": 2}'))
    keep(root)
    (root / "helper.py").write_text("help")
    (root / "params.yaml").write_text("rate: 3\n")
    assert found(root).reason == "parameter rate changed from 1 to 3", "and not the newest, with two changes"
