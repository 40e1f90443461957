from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from rondel.pipeline import Pipeline, Plan, Selection, make_plan


async def nothing(ctx: Any) -> None: ...


@st.composite
def pipelines(draw: st.DrawFn) -> Pipeline:
    """Any acyclic pipeline of up to nine stages, declared in any order."""
    count = draw(st.integers(1, 9))
    declared = draw(st.permutations(range(count)))
    needs = {
        number: draw(st.sets(st.integers(0, number - 1), max_size=3)) if number else set()
        for number in range(count)
    }
    pipeline = Pipeline()
    for number in declared:
        pipeline.stage(name=f"s{number}", needs=[f"s{need}" for need in sorted(needs[number])])(nothing)
    return pipeline


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    stages = draw(pipelines()).stages()
    names = st.sampled_from([stage.name for stage in stages])
    targets = draw(st.lists(names, min_size=1, max_size=3, unique=True))
    return make_plan(stages, Selection(targets=tuple(targets), only=draw(st.booleans())))


@given(plans())
def test_each_stage_stands_after_what_it_waits_for(plan: Plan) -> None:
    for planned in plan.stages:
        for need in planned.waits_for:
            assert plan.names.index(need) < plan.names.index(planned.name)


@given(plans())
def test_a_plan_holds_each_stage_once_and_all_targets(plan: Plan) -> None:
    assert len(set(plan.names)) == len(plan.names)
    assert set(plan.selection.targets) <= set(plan.names)
    if plan.selection.only:
        assert set(plan.selection.targets) == set(plan.names)


@given(plans())
def test_without_only_every_need_is_part_of_the_plan(plan: Plan) -> None:
    if not plan.selection.only:
        for planned in plan.stages:
            assert planned.waits_for == planned.stage.needs


@given(plans())
def test_waves_hold_all_stages_and_nobody_waits_within_one(plan: Plan) -> None:
    waves = plan.waves()
    assert sorted(name for wave in waves for name in wave) == sorted(plan.names)
    for wave in waves:
        for name in wave:
            assert not set(plan.get(name).waits_for) & set(wave)


@given(pipelines())
def test_the_order_is_the_declared_one_as_far_as_needs_allow(pipeline: Pipeline) -> None:
    stages = pipeline.stages()
    waiting = list(pipeline.declared)
    placed: set[str] = set()
    for stage in stages:
        ready = [each.name for each in waiting if set(each.needs) <= placed]
        assert stage.name == ready[0]
        placed.add(stage.name)
        waiting = [each for each in waiting if each.name != stage.name]
    assert not waiting
    assert pipeline.stages() == stages
    assert Path(pipeline.place.file) == Path(__file__)
