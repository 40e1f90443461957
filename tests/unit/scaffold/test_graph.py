"""Dependencies between stages, from overlapping paths."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rondel.data.model import DvcProject, DvcStage, Out, ParamSource
from rondel.scaffold.graph import stage_name, stage_needs, variable_names


def project(**stages: dict[str, list[str]]) -> DvcProject:
    made = {
        name: DvcStage(
            name=name,
            file="dvc.yaml",
            cmd=("x",),
            deps=tuple(body.get("deps", ())),
            params=tuple(ParamSource(path=path) for path in body.get("params", ())),
            outs=tuple(Out(path=path) for path in body.get("outs", ()))
            + tuple(Out(path=path, kind="metric", cached=False) for path in body.get("metrics", ())),
        )
        for name, body in stages.items()
    }
    return DvcProject(root=None, stages=made)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("dep", "out"),
    [
        ("parts", "parts/one.txt"),
        ("parts/one.txt", "parts"),
        ("a/b/c", "a"),
        ("a", "a/b/c"),
        ("x.txt", "x.txt"),
    ],
)
def test_stages_depend_on_each_other_if_one_path_contains_the_other(dep, out):
    found = stage_needs(project(join={"deps": [dep]}, one={"outs": [out]}))
    assert found == {"one": (), "join": ("one",)}


def test_a_common_prefix_of_names_is_no_dependency():
    found = stage_needs(project(a={"outs": ["parts.txt"]}, b={"deps": ["parts"]}))
    assert found == {"a": (), "b": ()}


def test_a_folder_that_several_stages_write_to_needs_each_of_them_once():
    found = stage_needs(
        project(
            one={"outs": ["parts/1.txt", "parts/1.log"]},
            two={"outs": ["parts/2.txt"]},
            join={"deps": ["parts", "parts/1.txt", "parts/2.txt"]},
        )
    )
    assert found["join"] == ("one", "two")


def test_metrics_and_parameter_files_of_a_stage_are_dependencies():
    found = stage_needs(
        project(
            report={"deps": ["metrics.json"]},
            train={"params": ["tuned.yaml"], "metrics": ["metrics.json"]},
            tune={"outs": ["tuned.yaml"]},
        )
    )
    assert found == {"tune": (), "train": ("tune",), "report": ("train",)}


def test_stages_that_share_a_folder_make_no_cycle():
    found = stage_needs(
        project(
            first={"deps": ["data"], "outs": ["data/a"]},
            second={"deps": ["data/a"], "outs": ["data/b"]},
        )
    )
    assert found == {"first": (), "second": ("first",)}


paths = st.sampled_from(["a", "b", "a/b", "a/c", "b/a", "a/b/c"])
bodies = st.fixed_dictionaries({"deps": st.lists(paths, max_size=3), "outs": st.lists(paths, max_size=3)})


@given(st.lists(bodies, max_size=6))
def test_paths_never_make_a_cycle_and_needs_come_first(stages):
    found = stage_needs(project(**{f"s{number}": body for number, body in enumerate(stages)}))
    assert len(found) == len(stages)
    seen: set[str] = set()
    for name, needs in found.items():
        assert set(needs) <= seen
        assert len(set(needs)) == len(needs)
        seen.add(name)


def test_a_long_chain_works():
    chain = {f"s{n}": {"deps": [f"f{n + 1}"], "outs": [f"f{n}"]} for n in range(1100)}
    assert next(iter(stage_needs(project(**chain)))) == "s1099"


def test_upstream_knows_parameter_files_that_a_stage_makes():
    found = project(train={"params": ["tuned.yaml"]}, tune={"outs": ["tuned.yaml"]})
    assert found.upstream("train") == ("tune",)


def test_every_stage_gets_a_unique_name():
    names = variable_names(
        ["train-a", "train@a", "train_a", "nlp/dvc.yaml:train", "Pipeline", "pipeline", "class", "2nd"]
    )
    assert len(set(names.values())) == len(names)
    assert names["nlp/dvc.yaml:train"] == "nlp_train"
    assert all(word.isidentifier() for word in names.values())


def test_a_stage_of_a_subfolder_has_the_folder_in_its_name():
    assert stage_name("nlp/dvc.yaml:train@1") == "nlp/train@1"
    assert stage_name("train") == "train"
