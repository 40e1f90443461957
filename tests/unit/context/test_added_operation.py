"""A new operation is one module and one registration: everything else knows it by then."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from made_up.notify import Notify

from rondel.cli import ci
from rondel.cli import pipeline as command_line
from rondel.context.registry import OPERATIONS
from rondel.context.stage import StageContext, add_operation
from rondel.errors import ConfigurationError
from rondel.pipeline import Pipeline
from rondel.reports.run_page import render_run_page
from rondel.testing import FakeContexts, FakeProject, FakeServices, run_with_fakes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rondel.testing import RecordingContext


@pytest.fixture(autouse=True)
def notify() -> Iterator[None]:
    add_operation(Notify)
    yield
    del OPERATIONS["notify"]
    delattr(StageContext, "notify")


@pytest.fixture
def project(tmp_path: Path) -> FakeProject:
    return FakeProject(tmp_path)


def announcing(channel: str = "#models", *, pure: bool = False) -> Pipeline:
    pipeline = Pipeline("announcing")

    async def announce(ctx: Any) -> None:
        await ctx.notify("#models", text="trained")

    async def misspelt(ctx: Any) -> None:
        await ctx.notify("models", text="trained")

    declare = pipeline.stage if pure else pipeline.effect
    declare(name="announce")(announce if channel == "#models" else misspelt)
    return pipeline


def test_the_run_does_it_and_records_it(project: FakeProject) -> None:
    asked: list[str] = []

    async def answer(ctx: RecordingContext) -> None:
        asked.append(ctx.stage.name)

    services = FakeServices(FakeContexts(answers={"notify #models": answer}))
    result = run_with_fakes(announcing(), "announce", project=project, services=services)
    record = result.capsule.stage("announce")
    assert (record.state, asked) == ("ran", ["announce"])
    assert [(use.kind, use.name, use.details) for use in record.uses] == [
        ("notify", "#models", {"text": "trained"})
    ]


def test_its_arguments_are_part_of_the_key(project: FakeProject) -> None:
    result = run_with_fakes(announcing(), "announce", project=project)
    key = result.capsule.stage("announce").key
    assert key is not None
    assert key.parts["command"] == {"notify 0": ["#models", {"text": "trained"}]}


def test_its_mistakes_are_found_before_anything_starts(project: FakeProject) -> None:
    services = FakeServices()
    with pytest.raises(ConfigurationError, match="which is not a channel") as caught:
        run_with_fakes(announcing("models"), "announce", project=project, services=services)
    assert caught.value.hint == "#models"
    assert "test_added_operation.py:" in (caught.value.place or "")
    assert services.opened == 0


def test_a_pure_stage_may_not_call_it(project: FakeProject) -> None:
    with pytest.raises(ConfigurationError, match=r"calls ctx\.notify, but it is a pure stage"):
        run_with_fakes(announcing(pure=True), "announce", project=project)


def test_without_the_registration_the_call_is_a_mistake(project: FakeProject) -> None:
    del OPERATIONS["notify"]
    try:
        with pytest.raises(ConfigurationError, match=r"ctx\.notify"):
            run_with_fakes(announcing(), "announce", project=project)
    finally:
        OPERATIONS["notify"] = Notify


@pytest.mark.parametrize(
    ("flags", "shown"),
    [(["announce", "--dry-run"], "notify #models: trained"), (["--list"], "notify #models")],
)
def test_a_dry_run_and_the_list_of_stages_show_it(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    flags: list[str],
    shown: str,
) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.rondel]\nname = 'p'\n")
    (tmp_path / "Containerfile").write_text("FROM python:3.11-slim AS stage\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command_line, "_root", lambda _pipeline: tmp_path)
    assert command_line.main(announcing(), flags) == 0
    assert shown in capsys.readouterr().out


def test_the_report_shows_it(project: FakeProject) -> None:
    result = run_with_fakes(announcing(), "announce", project=project)
    assert "<code>notify #models</code>" in render_run_page(result.capsule, result.folder.path)


PIPELINE = """
from made_up.notify import Notify

from rondel import Pipeline, StageContext
from rondel.context.stage import add_operation

add_operation(Notify)
pipeline = Pipeline()


@pipeline.effect
async def announce(ctx: StageContext) -> None:
    await ctx.notify("#models", text="trained")
"""


def test_the_wrapper_of_a_ci_system_has_its_stage_and_its_mistakes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ci").mkdir()
    (tmp_path / "pyproject.toml").write_text(
        "[tool.rondel]\nname = 'p'\n[tool.rondel.ci]\nlayout = 'stages'\n"
    )
    (tmp_path / "Containerfile").write_text("FROM python:3.11-slim AS stage\n")
    (tmp_path / "ci/main.py").write_text(PIPELINE)
    monkeypatch.chdir(tmp_path)
    assert ci.main(["generate", "gitlab"]) == 0
    assert "dagger run python ci/main.py announce" in (tmp_path / ".gitlab-ci.yml").read_text()
    (tmp_path / "ci/main.py").write_text(PIPELINE.replace("#models", "models"))
    with pytest.raises(ConfigurationError, match="which is not a channel"):
        ci.main(["generate", "gitlab"])
