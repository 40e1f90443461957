from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rondel.cli.arguments import parse
from rondel.errors import ConfigurationError
from rondel.settings import CI_OPTIONS, OPTIONS, Settings, find_root, load_ci_options, load_settings

if TYPE_CHECKING:
    from pathlib import Path


def write(root: Path, text: str) -> None:
    (root / "pyproject.toml").write_text(text)


def test_defaults_need_no_file(tmp_path: Path) -> None:
    settings = load_settings(tmp_path)
    assert settings.engine == "auto"
    assert settings.cache is True
    assert settings.sources == {}
    assert settings.name == tmp_path.name


def test_the_projects_name_is_the_default_name(tmp_path: Path) -> None:
    write(tmp_path, '[project]\nname = "delays"\n')
    assert load_settings(tmp_path).name == "delays"


def test_the_command_line_overrides_the_environment_and_that_the_file(tmp_path: Path) -> None:
    write(tmp_path, '[tool.rondel]\njobs = 1\n[tool.rondel.engine]\nkind = "dagger"\n')
    assert load_settings(tmp_path).jobs == 1
    environ = {"RONDEL_JOBS": "2", "RONDEL_ENGINE": "embedded"}
    settings = load_settings(tmp_path, {"jobs": 3}, environ)
    assert (settings.jobs, settings.engine) == (3, "embedded")
    assert settings.sources == {"jobs": "the command line", "engine": "RONDEL_ENGINE"}


def test_a_key_of_the_file_is_its_source(tmp_path: Path) -> None:
    write(tmp_path, "[tool.rondel]\njobs = 1\n")
    assert load_settings(tmp_path).sources == {"jobs": "pyproject.toml [tool.rondel] jobs"}


def test_all_mistakes_are_reported_with_their_places(tmp_path: Path) -> None:
    write(tmp_path, '[tool.rondel]\njobz = 1\ncache = "perhaps"\n')
    with pytest.raises(ConfigurationError) as caught:
        load_settings(tmp_path, {}, {"RONDEL_JOBS": "many", "RONDEL_ENGINE": "docker"})
    text = caught.value.render()
    assert "4 settings are wrong" in text
    assert "[tool.rondel] jobz: there is no such option (did you mean 'jobs'?)" in text
    assert "[tool.rondel] cache: 'perhaps' is neither true nor false" in text
    assert "RONDEL_JOBS: 'many' is not a whole number" in text
    assert "RONDEL_ENGINE: 'docker' is none of auto, dagger, embedded" in text


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("tool = 3", "tool"),
        ("project = 'x'", "project"),
        ("[tool]\nrondel = 4", "tool.rondel"),
    ],
)
def test_a_value_instead_of_a_table_is_reported(tmp_path: Path, text: str, place: str) -> None:
    write(tmp_path, text)
    with pytest.raises(ConfigurationError, match="is not a table") as caught:
        load_ci_options(tmp_path)
    assert caught.value.place == f"pyproject.toml: {place}"


@pytest.mark.parametrize("text", ["[tool.rondel\n", "[tool.rondel]\njobs = " + "[" * 5000])
def test_invalid_toml_is_reported_with_the_file(tmp_path: Path, text: str) -> None:
    write(tmp_path, text)
    with pytest.raises(ConfigurationError, match="not valid TOML"):
        load_settings(tmp_path)


def test_an_empty_variable_counts_as_unset(tmp_path: Path) -> None:
    assert load_settings(tmp_path, {}, {"MLFLOW_TRACKING_URI": ""}).tracking_uri is None


def test_settings_detect_no_ci_system(tmp_path: Path) -> None:
    assert load_settings(tmp_path, {}, {"CI": "true", "GITLAB_CI": "true"}).ci is False


def test_options_of_ci_are_read_like_all_others(tmp_path: Path) -> None:
    write(tmp_path, '[tool.rondel.ci]\nimage = "runner:1"\nlayout = "single"\nkeep-days = 7\n')
    environ = {"RONDEL_CI_IMAGE": "runner:2", "RONDEL_CI_LAYOUT": "single", "RONDEL_CI_WORKFLOW": "no"}
    options = load_ci_options(tmp_path, {"layout": "stages"}, environ)
    assert (options.image, options.layout, options.keep_days, options.workflow) == (
        "runner:2",
        "stages",
        7,
        False,
    )
    assert options.sources == {
        "image": "RONDEL_CI_IMAGE",
        "layout": "the command line",
        "keep_days": "pyproject.toml [tool.rondel] ci.keep-days",
        "workflow": "RONDEL_CI_WORKFLOW",
    }


@pytest.mark.parametrize("load", [load_settings, load_ci_options])
def test_mistakes_of_all_tables_are_told_together(tmp_path: Path, load: Any) -> None:
    write(
        tmp_path, '[tool.rondel]\njobs = "many"\nengine = 3\n[tool.rondel.ci]\nlayout = "both"\nimagee = ""\n'
    )
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path, {}, {"RONDEL_CI_AGENT": "label ml"})
    assert (caught.value.why or "").splitlines() == [
        "pyproject.toml [tool.rondel] jobs: 'many' is not a whole number",
        "pyproject.toml [tool.rondel] engine: 3 is not a table",
        "pyproject.toml [tool.rondel] ci.layout: 'both' is none of single, stages",
        "pyproject.toml [tool.rondel] ci.imagee: there is no such option (did you mean 'ci.image'?)",
        "RONDEL_CI_AGENT: 'label ml' is not an agent of Jenkins (any, none, or a block: { label 'ml' })",
    ]


def test_lists_are_read_from_text_and_toml(tmp_path: Path) -> None:
    write(tmp_path, '[tool.rondel]\nsecrets = ["A", "B"]\n[tool.rondel.build-args]\nPYTHON = "3.12"\n')
    settings = load_settings(tmp_path)
    assert settings.secrets == ("A", "B")
    assert settings.build_args == (("PYTHON", "3.12"),)
    assert load_settings(tmp_path, {}, {"RONDEL_SECRETS": "X, Y Z"}).secrets == ("X", "Y", "Z")


def test_the_root_is_the_nearest_project_above(tmp_path: Path) -> None:
    write(tmp_path, "")
    (tmp_path / "a" / "b").mkdir(parents=True)
    assert find_root(tmp_path / "a" / "b") == tmp_path


def test_flags_are_read_between_and_after_targets() -> None:
    arguments = parse(
        ["train", "--only", "-P", "a.b=1", "evaluate", "-P", "c=x=y", "--no-cache"], program="p"
    )
    assert arguments.targets == ("train", "evaluate")
    assert arguments.flags == {"only": True, "params": (("a.b", "1"), ("c", "x=y")), "cache": False}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--nocache"], "there is no flag --nocache\n  → did you mean '--no-cache'?"),
        (["--jobs", "x"], "'x' is not a whole number"),
        (["--nojobs="], "there is no flag --nojobs"),
        (["-P", "max_iter"], "does not have the form NAME=VALUE"),
        (["--engine", "docker"], "'docker' is none of"),
        (["--from"], "expected one argument"),
    ],
)
def test_a_wrong_flag_is_explained(words: list[str], message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse(words, program="p")
    assert message in caught.value.render()


def test_every_option_is_declared_once() -> None:
    for each in ("flags", "env", "key"):
        options = (*OPTIONS, *CI_OPTIONS)
        values: list[Any] = [getattr(option, each) for option in options if getattr(option, each)]
        flat = [word for value in values for word in (value if isinstance(value, tuple) else (value,))]
        assert len(flat) == len(set(flat)), each


def test_every_field_but_three_is_an_option() -> None:
    assert {each.name for each in fields(Settings)} - {option.name for option in OPTIONS} == {
        "root",
        "sources",
        "resumed",
    }


names = st.from_regex(r"[a-z][a-z_.]{0,10}", fullmatch=True)


@given(
    only=st.booleans(),
    from_=st.none() | names,
    params=st.lists(
        st.tuples(names, st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=8)), max_size=3
    ),
    cache=st.booleans(),
    keep_going=st.booleans(),
    approve_by=st.none() | names | names.map("-{}".format),
    commit=st.booleans(),
    push=st.none() | st.booleans(),
)
def test_arguments_give_the_same_settings_again(
    tmp_path_factory: pytest.TempPathFactory, **values: Any
) -> None:
    values["params"] = tuple(values["params"])
    root = tmp_path_factory.getbasetemp()
    settings = replace(Settings(root=root), **values)
    flags = parse(settings.arguments(), program="p").flags
    assert replace(load_settings(root, flags), sources={}, name="") == settings


def test_machine_settings_are_not_repeated_elsewhere(tmp_path: Path) -> None:
    settings = load_settings(tmp_path, {"engine": "embedded", "keep_going": True}, {"RONDEL_JOBS": "3"})
    assert settings.arguments() == ["--keep-going"]
    # Nor are those of its environment words on a command line here: they are there already.
    assert settings.machine_arguments() == ["--engine", "embedded"]


def test_a_flag_with_the_default_value_is_repeated_if_the_project_differs(
    tmp_path: Path,
) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.rondel]\ncache = false\n")
    assert load_settings(tmp_path, {"cache": True}).arguments() == ["--cache"]
    assert load_settings(tmp_path, {}).arguments() == ["--no-cache"]


def test_an_unset_option_is_no_argument(tmp_path: Path) -> None:
    settings = replace(load_settings(tmp_path, {"approve_by": "bob"}), approve_by=None)
    assert settings.arguments() == []
