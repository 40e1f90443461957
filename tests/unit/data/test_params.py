"""Parameters in YAML, JSON, TOML and Python files: read as DVC reads them, and changed in place."""

from __future__ import annotations

import datetime as dt
import json
import math

import pytest

from rondel.data import known_params, load_project, stage_inputs
from rondel.data.inputs import matches_lock
from rondel.data.params import apply_params, changed_text, check_overrides, comparable, parse_params
from rondel.errors import ConfigurationError
from rondel.files.yaml_file import parse_yaml

PYTHON = '''\
"""Parameters."""
RATE: float = 0.1  # the rate
NAMES = ("a", "b")
KINDS = {"x"}
SIZES = {"small": 1, "deep": {"er": [1, 2]}}
a = b = 2
COMPUTED = RATE * 2
DECLARED: int


class Train:
    depth = -3  # für alle

    def __init__(self):
        self.width = [4, 5]
        local = 1
        self.seen = open("x")


class Outer:
    class Inner:
        deep = "yes"
'''

FILES = {
    "params.yaml": "# top\ntrain: # of it\n  rate: 1e-3   # slow\n  depth: 3\n  name: 'é'\n",
    "params.json": '{\n    "train": {\n        "rate": 0.1,\n        "depth": 3\n    }\n}\n',
    "params.toml": '# top\n[train] # of it\nrate = 0.1   # slow\ndepth = 3\nname = "é"\n',
    "params.py": "class train:  # of it\n    rate = 0.1   # slow\n    depth = 3\n    name = 'é'\n",
}


def project_with(root, path, keys="train"):
    """The project, with a stage that uses a parameter file of another name."""
    (root / "dvc.yaml").write_text(
        f"stages:\n  train:\n    cmd: python src/train.py\n    params:\n      - {path}: [{keys}]\n"
    )
    if path in FILES:
        (root / path).write_text(FILES[path])
    project = load_project(root)
    return project, project.stages["train"]


@pytest.mark.parametrize("path", FILES)
def test_a_value_is_replaced_and_the_rest_stays(path):
    text = FILES[path]
    changed = changed_text(path, text, {"train.depth": 7})
    assert changed == text.replace("depth: 3", "depth: 7").replace("depth = 3", "depth = 7").replace(
        '"depth": 3', '"depth": 7'
    )
    assert changed != text


@pytest.mark.parametrize("path", FILES)
def test_overrides_count_in_the_inputs_and_their_values_are_named(project_root, path):
    project, stage = project_with(project_root, path)
    assert known_params(project_root, stage)["train.depth"] == 3
    found = stage_inputs(project, "train", {"train.depth": 5}).params
    assert found[f"{path}:train"]["depth"] == 5


@pytest.mark.parametrize("path", FILES)
def test_applied_values_are_what_the_next_run_reads(project_root, path):
    project, stage = project_with(project_root, path)
    assert apply_params(project_root, stage, {"train.depth": 5}) == (path,)
    assert stage_inputs(project, "train").params[f"{path}:train"]["depth"] == 5
    assert apply_params(project_root, stage, {"train.depth": 5}) == ()


@pytest.mark.parametrize("path", FILES)
@pytest.mark.parametrize(
    ("key", "value"),
    [("train.depth", "many"), ("train.depth", True), ("train.depth", [1]), ("train", 1), ("train.rate", "1")],
)
def test_a_value_of_another_kind_is_refused_with_what_the_file_has(project_root, path, key, value):
    _, stage = project_with(project_root, path)
    with pytest.raises(ConfigurationError, match=key) as caught:
        check_overrides(project_root, stage, {key: value})
    assert path in str(caught.value.why)
    assert caught.value.place.startswith(path)


def test_the_place_of_a_refused_value_is_its_line(project_root):
    for path, line in [("params.yaml", 4), ("params.json", 4), ("params.py", 3)]:
        _, stage = project_with(project_root, path)
        with pytest.raises(ConfigurationError) as caught:
            check_overrides(project_root, stage, {"train.depth": "many"})
        assert caught.value.place == f"{path}:{line}"


@pytest.mark.parametrize("value", [0, 2.5, -1, None])
def test_numbers_stand_for_numbers_and_null_for_anything(project_root, value):
    _, stage = project_with(project_root, "params.yaml")
    check_overrides(project_root, stage, {"train.depth": value})
    with pytest.raises(ConfigurationError):
        check_overrides(project_root, stage, {"train.depth": [value]})


@pytest.mark.parametrize("value", [1, "a", True, [1], {"a": 1}])
def test_where_the_file_has_null_every_value_fits(project_root, value):
    _, stage = project_with(project_root, "params.yaml")
    (project_root / "params.yaml").write_text("train: {depth: null}\n")
    check_overrides(project_root, stage, {"train.depth": value})
    with pytest.raises(ConfigurationError):
        check_overrides(project_root, stage, {"train.width": value})


def test_nothing_is_written_when_one_of_several_values_is_refused(project_root):
    (project_root / "dvc.yaml").write_text(
        "stages:\n  train:\n    cmd: x\n    params:\n      - params.yaml: [train]\n      - params.toml: [top]\n"
    )
    (project_root / "params.toml").write_text("top = 1\n")
    stage = load_project(project_root).stages["train"]
    before = (project_root / "params.yaml").read_text()
    with pytest.raises(ConfigurationError, match="TOML"):
        apply_params(project_root, stage, {"train.rate": 0.5, "top": None})
    assert (project_root / "params.yaml").read_text() == before


def test_line_ends_and_byte_order_mark_survive(project_root):
    _, stage = project_with(project_root, "params.yaml")
    (project_root / "params.yaml").write_bytes(b"\xef\xbb\xbftrain:\r\n  depth: 3\r\n")
    apply_params(project_root, stage, {"train.depth": 4})
    assert (project_root / "params.yaml").read_bytes() == b"\xef\xbb\xbftrain:\r\n  depth: 4\r\n"


def test_elements_of_lists_can_be_set(project_root):
    _, stage = project_with(project_root, "params.yaml")
    text = "train:\n  layers:\n  - units: 4  # first\n  - units: 5\n  sizes: [1, 2]\n"
    (project_root / "params.yaml").write_text(text)
    assert {"train.layers.1.units", "train.sizes.0"} <= known_params(project_root, stage).keys()
    apply_params(project_root, stage, {"train.layers.1.units": 9, "train.sizes.0": 7})
    changed = text.replace("units: 5", "units: 9").replace("[1, 2]", "[7, 2]")
    assert (project_root / "params.yaml").read_text() == changed


@pytest.mark.parametrize(
    ("before", "value", "after"),
    [
        ("a: &x 1\nb: *x\n", {"b": 2}, {"a": 1, "b": 2}),
        ("base: &b {x: 1}\nd:\n  <<: *b\n  y: 2\n", {"d.x": 7}, {"base": {"x": 1}, "d": {"x": 7, "y": 2}}),
        ("---\na: 1\n", {"a": 2}, {"a": 2}),
        ("a: .nan\nb: 1\n", {"b": 2}, {"a": "nan", "b": 2}),
        ("a: |\n  long\n  text\n", {"a": "other"}, {"a": "other"}),
        ("a: 2026-01-01\n", {"a": dt.date(2027, 1, 1)}, {"a": dt.date(2027, 1, 1)}),
    ],
)
def test_yaml_of_every_kind_is_changed_to_what_was_asked(before, value, after):
    assert comparable(parse_yaml(changed_text("p.yaml", before, value), "p.yaml")) == after


def test_programs_that_read_yaml_1_1_see_the_same_values():
    """Training scripts use PyYAML, to which `no` is false and `1e-05` a text."""
    import yaml

    given = {"country": "no", "rate": 1e-05, "large": 1e20, "code": "1e3", "time": "12:30"}
    text = "country: de\nrate: 0.1\nlarge: 1.0\ncode: x\ntime: x\n"
    assert yaml.safe_load(changed_text("p.yaml", text, given)) == given


def test_python_parameters_are_those_that_dvc_finds():
    from dvc.utils.serialize import parse_py

    found = parse_params("params.py", PYTHON)
    assert found == comparable(parse_py(PYTHON, "params.py"))
    assert found["Train"] == {"depth": -3, "width": [4, 5]}
    assert "COMPUTED" not in found


@pytest.mark.parametrize(
    ("key", "value", "line"),
    [
        ("RATE", 0.5, "RATE: float = 0.5  # the rate"),
        ("NAMES", ["c"], "NAMES = ('c',)"),
        ("NAMES.1", "c", "NAMES = (\"a\", 'c')"),
        ("KINDS", ["y"], "KINDS = {'y'}"),
        ("SIZES.deep.er.0", 9, 'SIZES = {"small": 1, "deep": {"er": [9, 2]}}'),
        ("Train.depth", 4, "    depth = 4  # für alle"),
        ("Train.width.1", 6, "        self.width = [4, 6]"),
        ("Outer.Inner.deep", "no", "        deep = 'no'"),
    ],
)
def test_a_python_value_is_replaced_where_it_stands(key, value, line):
    changed = changed_text("params.py", PYTHON, {key: value})
    differing = [
        new for old, new in zip(PYTHON.splitlines(), changed.splitlines(), strict=True) if old != new
    ]
    assert differing == [line]


@pytest.mark.parametrize(("key", "value"), [("RATE", math.inf), ("Train", {"depth": 1})])
def test_what_python_can_not_say_is_refused(key, value):
    with pytest.raises(ConfigurationError, match=key):
        changed_text("params.py", PYTHON, {key: value})


@pytest.mark.parametrize("text", ["RATE = = 1\n", "RATE = 1\x00\n", "x = " + "(" * 5000])
def test_python_that_is_none_is_told(text):
    with pytest.raises(ConfigurationError) as caught:
        parse_params("params.py", text)
    assert caught.value.place.startswith("params.py")


@pytest.mark.parametrize("path", ["params.py", "params.toml", "params.yaml"])
def test_a_lock_of_dvc_with_these_values_is_in_place(project_root, path):
    values = {"params.py": "RATE = 1e-3\nS = ('a', 'b')\n", "params.toml": "RATE = 1e-3\nS = ['a', 'b']\n"}
    project_with(project_root, path, "RATE, S")
    (project_root / path).write_text(values.get(path, "RATE: 1e-3\nS: [a, b]\n"))
    lock = "schema: '2.0'\nstages:\n  train:\n    cmd: python src/train.py\n    params:\n"
    (project_root / "dvc.lock").write_text(
        f"{lock}      {path}:\n        RATE: 0.001\n        S:\n        - a\n        - b\n"
    )
    project = load_project(project_root)
    train = project.stages["train"]
    assert matches_lock(project, train, stage_inputs(project, "train"))
    assert not matches_lock(project, train, stage_inputs(project, "train", {"RATE": 0.002}))


def test_another_change_of_a_python_file_is_no_change_of_its_values(project_root):
    project, _ = project_with(project_root, "params.py")
    before = stage_inputs(project, "train")
    (project_root / "params.py").write_text(FILES["params.py"] + "\n\ndef helper():\n    return 1\n")
    assert stage_inputs(project, "train") == before


@pytest.mark.parametrize(
    "scalar",
    [
        "1e-3",
        "yes",
        "on",
        "017",
        "0o17",
        "0x1F",
        "1_000",
        "12:30",
        "1.",
        "1.5e3",
        ".5",
        "+1",
        "~",
        "null",
        "True",
        "y",
        "0b11",
        ".inf",
        "-.5e-3",
        "1.e3",
        "09",
        ".5e3",
    ],
)
def test_plain_scalars_are_what_dvc_takes_them_for(scalar):
    from dvc.utils.serialize import parse_yaml as as_dvc

    mine = parse_yaml(f"a: {scalar}\n", "x")["a"]
    assert (mine, type(mine)) == ((other := as_dvc(f"a: {scalar}\n", "x")["a"]), type(other))


def test_json_keeps_its_indentation():
    text = json.dumps({"a": {"b": 1}, "c": "é"}, indent="\t", ensure_ascii=False)
    assert changed_text("p.json", text, {"a.b": 2}) == text.replace("1", "2")
    assert changed_text("p.json", '{"a": 1}', {"a": 2}) == '{"a": 2}'
