"""What a YAML file may be, and how it is told where it is not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rondel.data.params import parse_params, read_params
from rondel.data.project import load_project
from rondel.errors import ConfigurationError
from rondel.files.yaml_file import MAX_DEPTH, parse_yaml, read_yaml
from rondel.gates.metrics import parse_metrics

if TYPE_CHECKING:
    from pathlib import Path

LAUGHS = "a: &a [x, x]\n" + "".join(
    f"{chr(98 + level)}: &{chr(98 + level)} [{', '.join([f'*{chr(97 + level)}'] * 8)}]\n"
    for level in range(9)
)


@pytest.mark.parametrize(
    ("text", "place", "why"),
    [
        ("a: 1\nb: 2024-99-99\n", "params.yaml:2", "2024-99-99: month must be in 1..12"),
        ("a: " + "9" * 6000, "params.yaml:1", "Exceeds the limit"),
        ("a:\n  - !!float x\n", "params.yaml:2", "could not convert string to float"),
        ("a: !!timestamp x", "params.yaml:1", "x: "),
        ("a: !foo b", "params.yaml:1", "could not determine a constructor"),
        ("x: 1\na: 1\na: 2\n", "params.yaml:3", "the key 'a' appears twice"),
        ("x: 1\na: '\x1b[31m'\n", "params.yaml:2", "U+001B is not allowed"),
        ("a: &a [*a]", "params.yaml", "such a value has no end"),
        ("&a\nb: {c: *a}", "params.yaml", "such a value has no end"),
        (LAUGHS, "params.yaml", "its aliases repeat one another"),
        ("[" * 100_000 + "]" * 100_000, "params.yaml:1", "more than 200 levels deep"),
        ("- " * 50_000 + "a", "params.yaml:1", "more than 200 levels deep"),
        ("".join(f"{' ' * level}a:\n" for level in range(300)), "params.yaml:201", "levels deep"),
    ],
)
def test_what_cannot_be_worked_with_is_told_by_line(text: str, place: str, why: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_yaml(text, "params.yaml")
    assert caught.value.place == place
    assert why in (caught.value.why or "")


def test_anchors_merge_keys_dates_and_deep_but_real_files_are_read() -> None:
    deep = "[" * (MAX_DEPTH - 1) + "]" * (MAX_DEPTH - 1)
    value = parse_yaml(f"base: &b {{x: 1}}\nc: {{<<: *b, x: 2}}\nd: *b\nday: 2024-02-29\ne: {deep}\n", "f")
    assert value["c"] == {"x": 2}
    assert value["d"] == {"x": 1}
    assert value["day"].day == 29


def test_a_file_that_is_no_text_is_told(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes("a: ü".encode("latin-1"))
    with pytest.raises(ConfigurationError, match=r"byte 3 is not UTF-8") as caught:
        read_yaml(tmp_path / "f", "f")
    assert caught.value.hint == "save it as UTF-8"
    (tmp_path / "f").write_bytes("a: ü".encode("utf-8-sig"))
    assert read_yaml(tmp_path / "f", "f") == {"a": "ü"}


def test_parameters_in_json_may_not_nest_without_end(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="it nests too deep"):
        parse_params("params.json", "[" * 100_000)
    (tmp_path / "params.yaml").write_text("- 1\n")
    with pytest.raises(ConfigurationError, match="has to be a mapping of names to values"):
        read_params(tmp_path, "params.yaml")


@pytest.mark.parametrize("is_json", [True, False])
def test_metrics_may_not_nest_without_end(is_json: bool) -> None:
    text = '{"a":' * 50_000 + "1" + "}" * 50_000
    assert "deep" in (parse_metrics(text, source="m", is_json=is_json).problem or "")


def test_metrics_that_contain_themselves_are_a_problem() -> None:
    assert "aliases" in (parse_metrics("a: &x\n  b: *x\n", source="m", is_json=False).problem or "")


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("{cmd: x, deps: abc}", "`deps` has to be a list, not 'abc'"),
        ("{cmd: x, deps: 3}", "`deps` has to be a list, not 3"),
        ("{cmd: x, deps: [{a: b}]}", "`deps` has to be a list of paths, not a mapping"),
        ('{cmd: x, deps: ["a\\0b"]}', "which is not a valid path"),
        (f"{{cmd: x, outs: [d/{'a' * 256}]}}", "which is not a valid path"),
        ("{cmd: x, outs: [{m: 3}]}", "options of 'm' in `outs` have to be a mapping, not 3"),
        ("{cmd: x, params: [{p.yaml: rate}]}", "`params` of 'p.yaml' has to be a list of names"),
        ("{cmd: {a: b}}", "`cmd` has to be a command"),
        ("{cmd: [[a]]}", "`cmd` has to be a command"),
    ],
)
def test_a_stage_that_dvc_would_not_take_is_told_by_line(tmp_path: Path, body: str, why: str) -> None:
    (tmp_path / "dvc.yaml").write_text(f"stages:\n  train: {body}\n")
    with pytest.raises(ConfigurationError, match="DVC would not accept stage 'train'") as caught:
        load_project(tmp_path)
    assert caught.value.place == "dvc.yaml:2"
    assert why in (caught.value.why or "")


@pytest.mark.parametrize(
    "entry",
    ["3", "{deps: 3}", "{deps: [3]}", "{outs: [{path: 3}]}", "{outs: [{md5: a}]}", "{params: [3]}"],
)
def test_an_entry_that_dvc_never_wrote_is_told(tmp_path: Path, entry: str) -> None:
    (tmp_path / "dvc.yaml").write_text("stages: {train: {cmd: x}}\n")
    (tmp_path / "dvc.lock").write_text(f"schema: '2.0'\nstages: {{train: {entry}}}\n")
    with pytest.raises(ConfigurationError, match="entry of 'train' is not one that DVC writes"):
        load_project(tmp_path)


@pytest.mark.parametrize("text", ["outs: 3", "[1]", "a"])
def test_a_dvc_file_that_is_none_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / "data.csv.dvc").write_text(text)
    with pytest.raises(ConfigurationError, match=r"not a `\.dvc` file"):
        load_project(tmp_path)
