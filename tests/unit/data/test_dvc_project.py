from __future__ import annotations

import pytest

from rondel.data import find_stage, load_project
from rondel.errors import ConfigurationError


def test_stages_outs_and_tracked_files_are_read(project_root):
    project = load_project(project_root)
    assert list(project.stages) == ["prepare", "train"]
    assert project.data_paths() == ("data/prepared.csv", "data/raw.csv", "models/model.bin")
    assert project.stages["train"].params[0].keys == ("train",)
    assert [out.path for out in project.stages["train"].outs if out.in_working_tree] == ["metrics.json"]
    assert project.upstream("train") == ("prepare",)


def test_paths_are_relative_to_the_root_whatever_the_working_folder(project_root):
    (project_root / "sub").mkdir()
    (project_root / "sub" / "dvc.yaml").write_text(
        "stages:\n  s:\n    wdir: deep\n    cmd: x\n    deps: [../a.txt, s3://bucket/b]\n    outs: [o]\n"
    )
    stage = find_stage(load_project(project_root), "sub:s")
    assert stage.address == "sub/dvc.yaml:s"
    assert stage.deps == ("sub/a.txt", "s3://bucket/b")
    assert stage.outs[0].path == "sub/deep/o"
    assert stage.external == ("s3://bucket/b",)


def test_bad_yaml_is_told_with_its_line(project_root):
    (project_root / "dvc.yaml").write_text("stages:\n  a:\n    cmd: [x\n")
    with pytest.raises(ConfigurationError) as caught:
        load_project(project_root)
    assert caught.value.place == "dvc.yaml:4"


def test_a_stage_without_a_command_is_told_with_its_line(project_root):
    (project_root / "dvc.yaml").write_text("stages:\n  ok:\n    cmd: x\n  bad:\n    deps: [a]\n")
    with pytest.raises(ConfigurationError, match="bad") as caught:
        load_project(project_root)
    assert caught.value.place == "dvc.yaml:4"


def test_outs_that_are_no_list_are_a_clear_error(project_root):
    (project_root / "dvc.yaml").write_text("stages:\n  bad:\n    cmd: x\n    outs: 5\n")
    with pytest.raises(ConfigurationError) as caught:
        load_project(project_root)
    assert caught.value.place == "dvc.yaml:2"


def test_a_lock_file_that_is_none_is_a_clear_error(project_root):
    (project_root / "dvc.lock").write_text("- 1\n")
    with pytest.raises(ConfigurationError) as caught:
        load_project(project_root)
    assert caught.value.place == "dvc.lock"


def test_an_unknown_stage_gets_the_nearest_match(project_root):
    with pytest.raises(ConfigurationError) as caught:
        find_stage(load_project(project_root), "trian")
    assert "did you mean 'train'" in str(caught.value)


def test_a_project_without_dvc_has_no_stages(tmp_path):
    project = load_project(tmp_path)
    assert not project.stages
    with pytest.raises(ConfigurationError, match=r"no dvc\.yaml"):
        find_stage(project, "train")


def test_templates_are_resolved_by_dvc_and_remembered(project_root, monkeypatch):
    (project_root / "dvc.yaml").write_text(
        "vars:\n  - more.yaml\n"
        "stages:\n"
        "  each:\n"
        "    foreach: ${parts}\n"
        "    do:\n"
        "      cmd: make ${item} ${train.rate}\n"
        "      outs: ['${item}.txt']\n"
        "  grid:\n    matrix:\n      n: [1, 2]\n    cmd: run ${item.n}\n"
    )
    (project_root / "more.yaml").write_text("parts: [a, b]\n")
    project = load_project(project_root)
    assert set(project.stages) == {"each@a", "each@b", "grid@1", "grid@2"}
    assert project.stages["each@a"].cmd == ("make a 0.1",)
    assert project.stages["each@b"].outs[0].path == "b.txt"

    def refuse():
        raise AssertionError("DVC was asked again")

    monkeypatch.setattr("rondel.data.templates.dvc_python", refuse)
    assert load_project(project_root).stages == project.stages


def test_templates_of_a_file_without_stages_are_none(project_root):
    (project_root / "dvc.yaml").write_text("vars: [{a: 1}]\nartifacts:\n  m:\n    path: ${a}\n")
    assert load_project(project_root).stages == {}


def test_templates_see_overridden_parameters(project_root):
    (project_root / "dvc.yaml").write_text("stages:\n  a:\n    cmd: run ${train.rate}\n")
    assert load_project(project_root, {"train.rate": 0.5}).stages["a"].cmd == ("run 0.5",)


def test_a_template_mistake_is_told_with_dvcs_own_words(project_root):
    (project_root / "dvc.yaml").write_text("stages:\n  a:\n    cmd: run ${nowhere}\n")
    with pytest.raises(ConfigurationError) as caught:
        load_project(project_root)
    assert "nowhere" in str(caught.value)
    assert caught.value.place == "dvc.yaml"
