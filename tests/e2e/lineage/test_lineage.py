"""The cases in ``cases.yaml``: each changes something, and says what must happen to each stage.

For each case, the plan, the outcome, the record and ``rondel why`` must agree, and the files in the working tree
must be those that the project makes now.

    pytest tests/e2e/lineage

runs on the embedded engine, or on a given Dagger engine (see CONTRIBUTING.md).
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from lineage.changes import CHANGES
from lineage.project import STAGES, Project, plan, states
from rondel.record import Capsule, list_runs, load

pytestmark = pytest.mark.container

CASES: list[dict[str, Any]] = yaml.safe_load(Path(__file__).with_name("cases.yaml").read_text())
OTHER_METRICS = {
    "a stage is frozen and its input changed",  # DVC ignores the change
    "-P gave another value",  # those results stay in the run's own tree
    "--only",
}
"""Cases after which the working tree's metrics differ from those that the project makes now."""


def test_every_case_has_its_change() -> None:
    names = [case["case"] for case in CASES]
    assert len(names) == len(set(names)) >= 40
    assert set(names) == set(CHANGES)


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=case["case"], marks=[pytest.mark.embedded] if case.get("embedded") else [])
        for case in CASES
    ],
)
def test_plan_outcome_record_and_why_say_what_must_be(case: dict[str, Any], project: Project) -> None:
    CHANGES[case["case"]](project)
    expected = {name: state for name, state in zip(STAGES, case["becomes"], strict=True) if state}

    planned = plan(project)
    project.run()
    _, capsule = load(project.root)
    became = {record.name: record.state for record in capsule.stages}
    reasons = {record.name: record.reason for record in capsule.stages}

    assert became == expected, reasons
    assert case["because"] in " ".join(reasons.values())
    assert case["because"] in " ".join(reason for _, reason in planned.values())
    for name, state in became.items():
        word, reason = planned[name]
        if not re.match(r"after \w+, if that changes its inputs", reason):
            assert word == {"ran": "runs"}.get(state, state), f"{name} was planned as {word}"
            assert reasons[name].partition(",")[0] == reason.partition(",")[0]
        said = project.done("rondel", "why", name, "--run", capsule.id).stdout
        assert reasons[name] in said
    if case["case"] not in OTHER_METRICS:
        assert project.metrics() == project.truth()
    check_image(project, capsule)
    assert capsule.stage(next(reversed(expected))).metrics or "evaluate" not in expected


def check_image(project: Project, capsule: Capsule) -> None:
    """A reused result is recorded with the image that made it."""
    for record in capsule.stages:
        if record.state == "cached" and record.name != "evaluate":
            known = [
                run
                for _, run in list_runs(project.root)
                if isinstance(run, Capsule) and run.id == record.reused_from
            ]
            for run in known:
                first = run.stage(record.name).image
                assert first is not None
                assert record.image is not None
                assert record.image.digest == first.digest


def test_going_on_takes_over_what_succeeded_and_nothing_else(project: Project) -> None:
    project.edit("src/prepare.sh", "cat", "echo more >> data/ingested.txt; cat")
    project.edit("src/train.py", "VERSION = 1", "raise SystemExit(3)")
    project.run(code=10)
    assert states(project) == {"prepare": "ran", "train": "failed", "evaluate": "skipped"}
    broken = load(project.root)[1].id
    project.edit("src/train.py", "raise SystemExit(3)", "VERSION = 2")
    project.target = "--resume"
    project.run()
    assert states(project) == {"prepare": "cached", "train": "ran", "evaluate": "ran"}
    assert broken in load(project.root)[1].stage("prepare").reason
    assert project.metrics()["version"] == 2


def test_a_record_of_an_earlier_time_of_day_is_no_newer(project: Project) -> None:
    """The order of successes does not depend on the clock."""
    project.edit("params.yaml", "0.1", "0.2")
    project.run()
    stages = project.root / ".rondel/stages"
    for file in stages.rglob("*.json"):
        os.utime(file, (10**9, 10**9))
    project.edit("params.yaml", "0.2", "0.3")
    assert plan(project)["train"] == ("runs", "parameter train.rate changed from 0.2 to 0.3")


def test_the_table_in_the_docs_is_that_of_the_cases() -> None:
    page = (Path(__file__).parents[3] / "docs/reference/lineage.md").read_text()
    rows = [line.split("|")[1].strip().rstrip("*") for line in page.splitlines() if line.startswith("| ")]
    assert rows[1:] == [case["case"] for case in CASES]
    assert json.dumps(len(CASES)) in page
