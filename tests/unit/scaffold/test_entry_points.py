"""Which entry points of MLproject become stages."""

from __future__ import annotations

import pytest

from rondel.data.mlproject import read_mlproject
from rondel.errors import ConfigurationError
from rondel.scaffold.entry_points import choose_entry_points

HEAD = "name: x\nentry_points:\n"
MAIN = "  main:\n    parameters: {n: {type: int, default: 3}}\n    command: python main.py {n}\n"
ETL = "  etl:\n    parameters: {ratings: path, rows: {type: int, default: 9}}\n    command: python etl.py {ratings}\n"
LOAD = "  load:\n    command: python load.py\n"


def chosen(root, *values, dvc=False):
    return choose_entry_points(read_mlproject(root), values, dvc=dvc)


def test_main_is_the_pipeline_if_it_exists(folder):
    points, notes = chosen(folder({"MLproject": HEAD + LOAD + ETL + MAIN}))
    assert points == {"main": {}}
    assert notes == ["main is the pipeline; to add MLproject's load, etl, use pipeline.mlflow(…)"]


def test_without_main_all_entry_points_that_can_run_are_stages(folder):
    points, notes = chosen(folder({"MLproject": HEAD + LOAD + ETL}))
    assert points == {"load": {}}
    assert notes == [
        'entry point etl is left out because ratings has no default; to add it, use pipeline.mlflow("etl", ratings=…)'
    ]


def test_an_entry_point_with_a_value_can_run(folder):
    root = folder({"MLproject": HEAD + ETL})
    assert chosen(root, "etl.ratings=data/r.csv", "etl.rows=5") == (
        {"etl": {"ratings": "data/r.csv", "rows": 5}},
        [],
    )


def test_an_entry_point_with_a_value_is_added_to_main(folder):
    points, _ = chosen(folder({"MLproject": HEAD + ETL + MAIN}), "etl.ratings=r.csv")
    assert points == {"main": {}, "etl": {"ratings": "r.csv"}}


@pytest.mark.parametrize("text", [ETL, ETL.replace("etl", "main") + LOAD])
def test_a_project_that_needs_a_value_is_refused_with_the_command(folder, text):
    with pytest.raises(ConfigurationError) as caught:
        chosen(folder({"MLproject": HEAD + text}))
    assert "needs ratings, which has no default" in caught.value.what
    assert "rondel init -P" in (caught.value.hint or "")
    assert ".ratings=VALUE" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("value", "said"), [("etl.rating=1", "no parameter 'etl.rating'"), ("x", "not POINT.PARAMETER=VALUE")]
)
def test_a_value_for_an_unknown_parameter_is_reported(folder, value, said):
    with pytest.raises(ConfigurationError) as caught:
        chosen(folder({"MLproject": HEAD + ETL}), value)
    assert said in caught.value.what


def test_with_dvc_stages_no_entry_points_are_chosen(folder):
    points, notes = chosen(folder({"MLproject": HEAD + LOAD}), dvc=True)
    assert points == {}
    assert "DVC's stages are the pipeline" in notes[0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- a\n", "not an MLproject file"),
        ("entry_points: [a]\n", "`entry_points` has to be a mapping"),
        ("entry_points: {a: b}\n", "entry point 'a' has to be a mapping"),
        ("entry_points: {a: {parameters: [b]}}\n", "`parameters` of entry point 'a'"),
        ("entry_points: {a: {parameters: {b: 0.1}}}\n", "parameter 'b' of entry point 'a'"),
        ("docker_env: {}\nconda_env: x\npython_env: y\n", "can have only one environment"),
        ("docker_env: {volumes: [a]}\n", "names no `image`"),
        ("docker_env: {image: a, volumes: a}\n", "`volumes` of `docker_env`"),
        ("docker_env: image\n", "`docker_env` has to be a mapping"),
        ("conda_env: nowhere.yaml\n", "does not exist"),
        ("conda_env: ../up.yaml\n", "has to be a file of the project"),
        ("conda_env: [a]\n", "has to be a file of the project"),
        ("<<<<<<< HEAD\nname: a\n=======\n>>>>>>> b\n", "merge conflict"),
    ],
)  # fmt: skip
def test_a_key_that_mlflow_would_refuse_is_an_error(folder, text, said):
    with pytest.raises(ConfigurationError) as caught:
        read_mlproject(folder({"MLproject": text}))
    assert said in caught.value.what
    assert (caught.value.place or "").startswith("MLproject")


def test_all_keys_are_read(folder):
    text = (
        "name: x\ndocker_env:\n  image: team/train:1\n  volumes: ['/a:/b']\n  environment: [[A, 1], B]\n"
        "entry_points:\n  main:\n    parameters:\n      a: path\n      b: {type: uri, default: s3://x}\n      c: {default: 1}\n"
    )
    found = read_mlproject(folder({"MLproject": text}))
    assert found is not None
    assert (found.image, found.volumes, found.variables) == ("team/train:1", ("/a:/b",), ("A", "B"))
    main = found.points["main"]
    assert [(each.type, each.required) for each in main.parameters.values()] == [
        ("path", True),
        ("uri", False),
        ("string", False),
    ]
    assert main.required == ("a",)


def test_default_environment_files_are_found_as_in_mlflow(folder):
    root = folder({"MLproject": "name: x\n", "conda.yaml": "a: b\n"})
    assert read_mlproject(root).conda_env == "conda.yaml"
    (root / "python_env.yaml").touch()
    found = read_mlproject(root)
    assert (found.python_env, found.conda_env) == ("python_env.yaml", None)
