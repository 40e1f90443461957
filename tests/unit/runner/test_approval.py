"""Stages that need approval: by flag, at a terminal, or waiting."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from rondel.context.registry import operations_of
from rondel.pipeline import Pipeline
from rondel.registry import approval
from rondel.settings import Settings
from rondel.testing import run_with_fakes

if TYPE_CHECKING:
    from rondel.testing import FakeProject

DEPLOYED: list[str] = []


async def deploy_body(ctx: Any) -> None:
    DEPLOYED.append("flight-delay")
    if ctx is None:
        await ctx.register("flight-delay")
        await ctx.promote("flight-delay", reason=str(object()))


def pipeline() -> Pipeline:
    made = Pipeline("approved")
    train = made.dvc("train")
    made.effect(needs=[train], name="deploy", approval="production")(deploy_body)
    made.effect(needs=["deploy"], name="announce")(deploy_body)
    return made


@pytest.fixture(autouse=True)
def nothing_deployed() -> None:
    DEPLOYED.clear()


def test_a_stage_without_an_approval_waits(project: FakeProject, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(approval, "terminal_prompt", lambda: None)
    result = run_with_fakes(pipeline(), "announce", project=project)
    assert result.exit_code == 12
    states = {record.name: (record.state, record.reason) for record in result.capsule.stages}
    assert states["train"][0] == "ran"
    assert states["deploy"] == ("skipped", "waiting for approval for production")
    assert states["announce"][0] == "skipped"
    assert not DEPLOYED
    assert result.error is not None
    assert (
        f"approve with: python {project.root}/ci/main.py announce --approve-by NAME" in result.error.render()
    )
    assert "promote flight-delay (no champion yet, no challenger yet)" in result.error.render()


def test_versions_that_cannot_be_looked_up_are_shown_as_unknown(
    project: FakeProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(approval, "terminal_prompt", lambda: None)
    settings = Settings(root=project.root, tracking_uri="http://127.0.0.1:9")
    result = run_with_fakes(pipeline(), "deploy", project=project, settings=settings)
    assert result.error is not None
    assert "http://127.0.0.1:9 does not answer" in result.error.render()
    assert "no champion" not in result.error.render()


def test_a_name_on_the_command_line_approves(project: FakeProject) -> None:
    settings = Settings(root=project.root, approve_by="bob")
    result = run_with_fakes(pipeline(), "deploy", project=project, settings=settings)
    assert result.exit_code == 0
    assert DEPLOYED == ["flight-delay"]
    log = result.folder.log("deploy").read_text()
    assert "approved for production by bob (flag)" in log


@pytest.mark.parametrize(("answer", "code"), [("y\n", 0), ("\n", 12)])
def test_a_person_at_the_terminal_decides(
    project: FakeProject, monkeypatch: pytest.MonkeyPatch, answer: str, code: int
) -> None:
    questions: list[str] = []

    def ask(question: str) -> str:
        questions.append(question)
        return answer

    monkeypatch.setattr(approval, "terminal_prompt", lambda: ask)
    result = run_with_fakes(pipeline(), "deploy", project=project)
    assert result.exit_code == code
    assert bool(DEPLOYED) == (code == 0)
    assert "Stage deploy acts on production" in questions[0]


def test_ci_shows_no_prompt(project: FakeProject, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(approval, "terminal_prompt", lambda: pytest.fail("somebody was asked"))
    result = run_with_fakes(
        pipeline(), "deploy", project=project, settings=Settings(root=project.root, ci=True)
    )
    assert result.exit_code == 12


def test_what_a_stage_would_do_is_read_from_its_source() -> None:
    stage = pipeline().stages()[1]
    changes = [change for operation in operations_of(stage.calls) for change in operation.affects()]
    assert [(change.action, change.reference) for change in changes] == [
        ("register", "flight-delay"),
        ("promote", "flight-delay"),
    ]
