from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from rondel.cache import make_key
from rondel.errors import RecordError
from rondel.parity import compare_runs, explain
from rondel.record import Capsule, Engine, Git, Host, Image, StageRecord
from rondel.reports.parity import parity_json, parity_table, why_lines


def stage(name: str = "train", **fields: Any) -> StageRecord:
    made = StageRecord(
        name=name,
        kind="pure",
        state="ran",
        parameters={"train": {"rate": 0.1}},
        inputs={"data.csv": "md5:1", "train.py": "md5:2"},
        outputs={"model.bin": "md5:3"},
        metrics={"auc": 0.7},
    )
    return replace(made, **fields)


def capsule(*stages: StageRecord, run: str = "20261123-200000-aaaaaa", **fields: Any) -> Capsule:
    made = Capsule(
        schema_version=1,
        id=run,
        state="succeeded",
        pipeline="p",
        file="ci/main.py",
        created="2026-11-23T20:00:00Z",
        git=Git(commit="a" * 40, changed={"src/x.py": "1", "dvc.lock": "9", "rondel.lock": "8"}),
        image=Image(
            reference="Containerfile:stage",
            digest="sha256:1",
            source="registry",
            recipe={"containerfile": "1", "file uv.lock": "1"},
            packages={"numpy": "2.0", "scikit-learn": "1.6"},
        ),
        engine=Engine(kind="embedded", version="v0.21.8"),
        host=Host(machine="x86_64", cpus=2),
        environment={"TZ": "UTC", "CI": "1"},
        stages=list(stages or (stage(),)),
    )
    return replace(made, **fields)


B = "20261123-210000-bbbbbb"


def test_equal_runs_are_the_same() -> None:
    parity = compare_runs(capsule(), capsule(run=B))
    assert (parity.verdict, parity.first, parity.compared) == ("same", None, ("train",))
    assert parity_table(parity)[-1] == "the same: train"


IMAGE = capsule().image
assert IMAGE is not None


@pytest.mark.parametrize(
    ("other", "part", "entry"),
    [
        (capsule(run=B, git=Git(commit="b" * 40, changed={"src/x.py": "1"})), "code", "commit"),
        (capsule(run=B, git=Git(commit="a" * 40, changed={"src/x.py": "2"})), "code", "src/x.py"),
        (
            capsule(run=B, git=Git(commit="a" * 40, changed={"src/x.py": "1"}, untracked={"new.py": "1"})),
            "code",
            "new.py",
        ),
        (capsule(stage(parameters={"train": {"rate": 0.2}}), run=B), "parameters", "train.rate"),
        (
            capsule(
                run=B,
                image=replace(IMAGE, digest="sha256:2", recipe={"containerfile": "2", "file uv.lock": "1"}),
            ),
            "image",
            "containerfile",
        ),
        (capsule(run=B, image=replace(IMAGE, digest="sha256:2", source="host")), "image", "source"),
        (
            capsule(
                run=B, image=replace(IMAGE, digest="sha256:2", recipe={**IMAGE.recipe, "host packages": "1"})
            ),
            "host",
            "packages",
        ),
        (
            capsule(
                run=B,
                image=replace(IMAGE, digest="sha256:2", packages={"numpy": "2.1", "scikit-learn": "1.6"}),
            ),
            "packages",
            "numpy",
        ),
        (capsule(stage(inputs={"data.csv": "md5:9", "train.py": "md5:2"}), run=B), "inputs", "data.csv"),
        (capsule(run=B, environment={"TZ": "CET"}), "environment", "TZ"),
        (capsule(run=B, secrets=["TOKEN"]), "environment", "secret TOKEN"),
    ],
)
def test_the_first_input_that_differs_is_named(other: Capsule, part: str, entry: str) -> None:
    parity = compare_runs(capsule(), other)
    assert parity.verdict == "inputs differ"
    assert parity.first is not None
    assert (parity.first.part, parity.first.entry) == (part, entry)
    assert parity_json(parity)["first"]["entry"] == entry
    assert any(entry in line for line in parity_table(parity))


def test_parts_are_in_order() -> None:
    other = capsule(
        stage(inputs={"data.csv": "md5:9"}, parameters={"train": {"rate": 0.2}}),
        run=B,
        git=Git(commit="b" * 40, changed={"src/x.py": "1"}),
        environment={},
    )
    parts = [each.part for each in compare_runs(capsule(), other).inputs]
    assert parts == ["code", "parameters", "inputs", "inputs", "environment"]


def test_engine_and_hardware_are_blamed_only_when_results_differ_or_when_asked() -> None:
    elsewhere = capsule(
        run=B, engine=Engine(kind="dagger", version="v0.21.8"), host=Host(machine="x86_64", cpus=64)
    )
    assert compare_runs(capsule(), elsewhere).verdict == "same"
    assert "on another engine and hardware" in parity_table(compare_runs(capsule(), elsewhere))[-1]
    assert compare_runs(capsule(), elsewhere, strict=True).verdict == "inputs differ"
    odd = replace(elsewhere, stages=[stage(outputs={"model.bin": "md5:4"})])
    parity = compare_runs(capsule(), odd)
    assert parity.verdict == "inputs differ"
    assert parity.first is not None
    assert parity.first.part == "engine"


def test_equal_inputs_with_other_results_are_told_apart() -> None:
    odd = capsule(stage(outputs={"model.bin": "md5:4"}, metrics={"auc": 0.8}), run=B)
    parity = compare_runs(capsule(), odd)
    assert parity.verdict == "results differ"
    assert [(each.part, each.entry) for each in parity.results] == [
        ("output", "model.bin"),
        ("metric", "auc"),
    ]
    assert "the inputs are the same, but 2 results differ" in parity_table(parity)[-1]


def test_another_state_or_exit_code_is_a_result() -> None:
    failed = capsule(stage(state="failed", exit_code=7, outputs={}, metrics={}), run=B)
    assert [each.part for each in compare_runs(capsule(), failed).results] == ["state"]
    other = capsule(stage(state="failed", exit_code=9, outputs={}, metrics={}), run=B)
    assert [each.part for each in compare_runs(failed, other).results] == ["exit code"]


def test_what_a_stage_that_failed_early_did_not_come_to_use_is_no_difference() -> None:
    parts = {
        "command": {"dvc a": "1", "gate 1": "2"},
        "inputs": {"x": "1", "y": "2"},
        "parameters": {"p": 1, "q": 2},
    }
    early = {"command": {"dvc a": "1"}, "inputs": {"x": "1"}, "parameters": {"p": 1}}
    whole = capsule(stage(key=make_key(parts)))
    failed = capsule(stage(state="failed", exit_code=7, outputs={}, metrics={}, key=make_key(early)), run=B)
    parity = compare_runs(whole, failed)
    assert parity.inputs == ()
    assert parity.verdict == "results differ"


def test_of_a_gate_the_rules_that_differ_are_shown() -> None:
    rules = ["log_loss <= 0.45", "roc_auc >= 0.68"]
    first = make_key({"command": {"gate 0 rules": rules}})
    second = make_key({"command": {"gate 0 rules": [rules[0], "roc_auc >= 0.7", "model_mb <= 5"]}})
    before, after = capsule(stage(key=first)), capsule(stage(key=second), run=B)
    row = why_lines(explain("train", [after, before]))[-1]
    assert [cell.strip() for cell in row.split("  roc_auc ")[1:]] == [">= 0.68", ">= 0.7; model_mb <= 5"]


def test_a_cached_stage_is_compared_by_its_key() -> None:
    parts = {"inputs": {"data.csv": "md5:1"}, "parameters": {"train.rate": 0.1}, "code": {"f": "1"}}
    ran = capsule(stage(key=make_key(parts)))
    cached = capsule(stage(state="cached", key=make_key(parts), inputs={}, parameters={}), run=B, image=None)
    parity = compare_runs(ran, cached)
    assert parity.verdict == "same"
    assert parity.unknown == ("packages",)
    other = make_key({**parts, "parameters": {"train.rate": 0.3}})
    changed = compare_runs(
        ran, replace(cached, stages=[stage(state="cached", key=other, inputs={}, parameters={})])
    )
    assert changed.first is not None
    assert (changed.first.part, changed.first.entry, changed.first.b) == ("parameters", "train.rate", 0.3)


def test_stages_that_only_one_has_are_named_and_not_compared() -> None:
    parity = compare_runs(capsule(stage(), stage("evaluate")), capsule(run=B))
    assert parity.only_in_one == ("evaluate",)
    assert parity.verdict == "same"
    assert (
        compare_runs(capsule(stage(), stage("evaluate")), capsule(run=B), stages=["train"]).only_in_one == ()
    )


# -- why


def keyed(run: str, state: str = "ran", reason: str = "", **parts: Any) -> Capsule:
    packages = parts.pop("packages", {})
    record = stage(
        state=state,
        reason=reason,
        key=make_key({"inputs": {"data.csv": "md5:1"}, **parts}),
        image=Image(reference="x", packages=packages),
    )
    return capsule(record, run=run)


def test_why_names_what_changed_since_which_run() -> None:
    runs = [
        keyed(B, parameters={"rate": 2}, image={"file uv.lock": "2"}, packages={"numpy": "2.1"}),
        capsule(stage(state="failed", key=None), run="20261123-203000-cccccc"),
        keyed(
            "20261123-200000-aaaaaa",
            parameters={"rate": 1},
            image={"file uv.lock": "1"},
            packages={"numpy": "2.0"},
        ),
    ]
    why = explain("train", runs)
    assert why.since == "20261123-200000-aaaaaa"
    assert [(change.part, change.entry) for change in why.changes] == [
        ("image", "file uv.lock"),
        ("parameters", "rate"),
    ]
    assert [(change.entry, change.before, change.after) for change in why.packages] == [
        ("numpy", "2.0", "2.1")
    ]
    text = "\n".join(why_lines(why))
    assert "in 20261123-200000-aaaaaa" in text
    assert "numpy" in text
    assert why.as_json()["changes"][0]["entry"] == "file uv.lock"


def test_why_names_the_run_whose_result_was_reused() -> None:
    earlier = "20261123-200000-aaaaaa"
    run = keyed(B, state="cached", reason=f"unchanged since run {earlier}")
    run = replace(run, stages=[replace(run.stages[0], reused_from=earlier)])
    why = explain("train", [run, keyed(earlier)])
    assert why.reused_from == why.as_json()["served"] == earlier
    assert why_lines(why) == [f"train cached in run {B}: unchanged since run {earlier}"]


def test_why_without_a_change_says_so() -> None:
    why = explain("train", [keyed(B, reason="--no-cache"), keyed("20261123-200000-aaaaaa")])
    assert why_lines(why) == [
        f"train ran in run {B}: --no-cache",
        "its key is the same as in run 20261123-200000-aaaaaa",
    ]


def test_why_of_a_stage_that_no_run_has() -> None:
    with pytest.raises(RecordError, match="no run here has a stage 'trian'"):
        explain("trian", [keyed(B)])
