from __future__ import annotations

import inspect
from typing import Any

import pytest

from rondel.errors import ConfigurationError
from rondel.pipeline import Pipeline, Selection, make_plan
from rondel.testing import plan_of


async def nothing(ctx: Any) -> None:
    """Does nothing."""


def diamond() -> Pipeline:
    pipeline = Pipeline("diamond")
    top = pipeline.stage(name="top")(nothing)
    left = pipeline.stage(name="left", needs=[top])(nothing)
    right = pipeline.stage(name="right", needs=[top])(nothing)
    pipeline.stage(name="bottom", needs=[left, right])(nothing)
    pipeline.stage(name="apart")(nothing)
    return pipeline


def test_a_decorator_works_bare_and_with_arguments() -> None:
    pipeline = Pipeline()

    @pipeline.stage
    async def load_data(ctx: Any) -> None:
        """Loads."""

    @pipeline.effect(needs=[load_data], timeout=5)
    async def publish(ctx: Any) -> None: ...

    first, second = pipeline.stages()
    assert (first.name, first.kind, first.doc, first.needs) == ("load-data", "pure", "Loads.", ())
    assert (second.name, second.kind, second.needs, second.timeout) == (
        "publish",
        "effect",
        ("load-data",),
        5,
    )


def test_a_declaration_knows_its_line() -> None:
    pipeline = Pipeline()
    here = inspect.currentframe()
    assert here is not None
    stage = pipeline.dvc("train")
    assert stage.place.file == __file__
    assert stage.place.line == here.f_lineno - 2


def test_a_target_brings_what_it_needs_in_order() -> None:
    assert plan_of(diamond(), "bottom").names == ("top", "left", "right", "bottom")
    assert plan_of(diamond(), "left").names == ("top", "left")


def test_independent_stages_share_a_wave() -> None:
    assert plan_of(diamond(), "bottom", "apart").waves() == (("top", "apart"), ("left", "right"), ("bottom",))


def test_only_runs_the_targets_alone_and_waits_through_what_is_left_out() -> None:
    plan = plan_of(diamond(), "top", "bottom", only=True)
    assert plan.names == ("top", "bottom")
    assert plan.get("bottom").waits_for == ("top",)


def test_from_runs_the_stage_and_what_depends_on_it() -> None:
    assert plan_of(diamond(), from_="left").names == ("left", "bottom")
    assert plan_of(diamond(), "bottom", from_="right").names == ("right", "bottom")


def test_only_and_from_contradict_each_other() -> None:
    with pytest.raises(ConfigurationError, match="--only and --from can't be combined"):
        plan_of(diamond(), "bottom", only=True, from_="right")


def test_from_a_stage_that_the_target_does_not_need_is_an_error() -> None:
    with pytest.raises(ConfigurationError, match="left does not depend on 'apart'"):
        plan_of(diamond(), "left", from_="apart")


def test_an_unknown_stage_gets_the_nearest_match() -> None:
    with pytest.raises(ConfigurationError, match="did you mean 'bottom'"):
        plan_of(diamond(), "botom")


def test_no_target_names_the_stages() -> None:
    with pytest.raises(ConfigurationError, match="top, left, right, bottom, apart"):
        make_plan(diamond().stages(), Selection())


def test_dependants_are_those_that_wait() -> None:
    plan = plan_of(diamond(), "bottom", "apart")
    assert plan.dependants("left") == {"bottom"}
    assert plan.dependants("top") == {"left", "right", "bottom"}


def test_all_mistakes_are_told_at_once_with_their_lines() -> None:
    pipeline = Pipeline()
    pipeline.dvc("train", needs=["prepair"])
    pipeline.dvc("prepare")
    pipeline.dvc("prepare")
    with pytest.raises(ConfigurationError) as caught:
        pipeline.stages()
    text = caught.value.render()
    lines = [stage.place.line for stage in pipeline.declared]
    assert "2 mistakes" in text
    assert (
        f":{lines[0]}: stage 'train' needs 'prepair', which does not exist (did you mean 'prepare'?)" in text
    )
    assert f":{lines[2]}: stage 'prepare' is declared twice; the first is at" in text


def test_a_cycle_is_shown_as_a_path() -> None:
    pipeline = Pipeline()
    pipeline.dvc("a", needs=["c"])
    pipeline.dvc("b", needs=["a"])
    pipeline.dvc("c", needs=["b"])
    with pytest.raises(ConfigurationError, match="in a cycle: a → c → b → a"):
        pipeline.stages()


def test_a_stage_that_needs_itself_is_a_cycle() -> None:
    pipeline = Pipeline()
    pipeline.dvc("a", needs=["a"])
    with pytest.raises(ConfigurationError, match="in a cycle: a → a"):
        pipeline.stages()


def test_a_matrix_makes_one_stage_a_combination() -> None:
    pipeline = Pipeline()
    fit = pipeline.stage(name="fit", matrix={"alpha": [0.1, 1], "depth": [3]})(nothing)
    pipeline.stage(name="compare", needs=[fit])(nothing)
    stages = {stage.name: stage for stage in pipeline.stages()}
    assert set(stages) == {"fit[alpha=0.1,depth=3]", "fit[alpha=1,depth=3]", "compare"}
    assert stages["fit[alpha=1,depth=3]"].variant == {"alpha": 1, "depth": 3}
    assert stages["compare"].needs == ("fit[alpha=0.1,depth=3]", "fit[alpha=1,depth=3]")
    assert plan_of(pipeline, "fit").names == ("fit[alpha=0.1,depth=3]", "fit[alpha=1,depth=3]")


def test_an_empty_matrix_is_a_mistake() -> None:
    pipeline = Pipeline()
    pipeline.stage(name="fit", matrix={"alpha": []})(nothing)
    with pytest.raises(ConfigurationError, match="no value for 'alpha'"):
        pipeline.stages()


@pytest.mark.parametrize(("field", "value"), [("timeout", 0), ("timeout", -1), ("retries", -1)])
def test_limits_have_to_make_sense(field: str, value: int) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Pipeline().dvc("train", **{field: value})
    assert caught.value.place is not None
    assert caught.value.place.rpartition(":")[0].endswith("test_pipeline.py")


def test_context_calls_are_found_in_the_source() -> None:
    pipeline = Pipeline()

    @pipeline.stage
    async def evaluate(ctx: Any) -> None:
        await ctx.dvc("evaluate", threshold=0.5)
        name = "x"
        await ctx.sh(name)
        if ctx.params:
            await ctx.gate("a > 1", "b < 2", metrics="metrics.json", model="m")
        await ctx.container().with_exec(["true"])

    calls = evaluate.calls
    assert [(call.kind, call.args, call.literal) for call in calls] == [
        ("dvc", ("evaluate",), True),
        ("sh", (), False),
        ("gate", ("a > 1", "b < 2"), True),
        ("container", (), True),
    ]
    assert calls[0].details == {"threshold": 0.5}
    assert calls[2].details == {"metrics": "metrics.json", "model": "m"}
    line = inspect.getsourcelines(evaluate.body)[1]
    assert calls[0].place is not None
    assert calls[0].place.line == line + 2


def test_one_liners_say_what_they_use() -> None:
    pipeline = Pipeline()
    fit = pipeline.mlflow("train", alpha=0.5)
    assert [(use.kind, use.name, dict(use.details)) for use in fit.calls] == [
        ("mlflow", "train", {"alpha": 0.5})
    ]
