"""A run as one file: the same bytes for the same run, and nothing of one that is not right."""

from __future__ import annotations

import io
import json
import os
import tarfile
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from rondel.errors import RecordError
from rondel.record import Capsule, Git, RunFolder, StageRecord
from rondel.record.archive import MANIFEST, export, secret_results, unpack, unpack_members
from rondel.record.codec import encode
from rondel.secrets.masker import Masker

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

ID = "20261123-200000-aaaaaa"


def capsule(**fields: Any) -> Capsule:
    made = Capsule(
        schema_version=1,
        id=ID,
        state="failed",
        pipeline="p",
        file="ci/main.py",
        created="2026-11-23T20:00:00Z",
        targets=["train"],
        git=Git(commit="a" * 40, untracked={"notes/plan.txt": "b" * 64}),
        stages=[StageRecord(name="train", kind="pure", state="failed", log="logs/train.log")],
    )
    return replace(made, **fields)


def folder(root: Path, made: Capsule | None = None) -> RunFolder:
    run = RunFolder.of(root, ID)
    run.save(made or capsule())
    run.log("train").parent.mkdir()
    run.log("train").write_text("it failed\n")
    (run.path / "untracked").mkdir()
    (run.path / "untracked" / ("b" * 64)).write_text("content")
    return run


def contents(path: Path) -> dict[str, bytes]:
    return {str(each.relative_to(path)): each.read_bytes() for each in path.rglob("*") if each.is_file()}


def test_a_run_comes_back_as_it_was(tmp_path: Path) -> None:
    run = folder(tmp_path)
    (run.path / "lock").touch()
    digest = export(run, tmp_path / "run.capsule")
    assert digest.startswith("sha256:")
    back = unpack(tmp_path / "run.capsule", tmp_path / "elsewhere")
    expected = contents(run.path)
    del expected["lock"]
    assert contents(back.path) == expected
    assert unpack(tmp_path / "run.capsule", tmp_path / "elsewhere") == back


def test_results_that_hold_a_secret_stay_out(tmp_path: Path) -> None:
    run = folder(tmp_path)
    results = run.path / "results/train/sh-0-1"
    results.mkdir(parents=True)
    (results / "metrics.json").write_text('{"auc": 0.7}')
    (results / "out.txt").write_text("x" * 300_000 + "hunter2-hunter2\n")
    (results / "out.b64").write_text("aHVudGVyMi1odW50ZXIy\n")
    (results / ".env").write_text("A=1\n")
    omitted = secret_results(run, Masker(["hunter2-hunter2"]))
    assert set(omitted) == {f"results/train/sh-0-1/{name}" for name in ("out.txt", "out.b64", ".env")}
    export(run, tmp_path / "run.capsule", omitted=omitted)
    back = unpack(tmp_path / "run.capsule", tmp_path / "elsewhere")
    assert set(contents(run.path)) - set(contents(back.path)) == set(omitted)
    assert (back.path / "results/train/sh-0-1/metrics.json").is_file()
    assert (results / "out.txt").is_file()


def test_the_same_run_gives_the_same_bytes_whatever_times_and_owners(tmp_path: Path) -> None:
    digests = []
    for number in (1, 2):
        run = folder(tmp_path / str(number))
        os.utime(run.log("train"), (number * 1000, number * 1000))
        run.log("train").chmod(0o600 if number == 1 else 0o664)
        digests.append(export(run, tmp_path / f"{number}.capsule"))
    assert digests[0] == digests[1]
    assert (tmp_path / "1.capsule").read_bytes() == (tmp_path / "2.capsule").read_bytes()


def archive(
    path: Path, members: Mapping[str, bytes], *, edit: Callable[[tarfile.TarInfo], None] | None = None
) -> Path:
    """An archive with these members and a list that fits them."""
    import hashlib

    hashes = {name: hashlib.sha256(data).hexdigest() for name, data in members.items() if name != MANIFEST}
    listed = {MANIFEST: json.dumps({"format": 1, "files": hashes}).encode(), **members}
    with tarfile.open(path, "w") as out:
        for name, data in listed.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            if edit is not None:
                edit(member)
            out.addfile(member, io.BytesIO(data))
    return path


def refused(tmp_path: Path, file: Path, text: str) -> None:
    """The archive is refused with a sentence, and nothing of it is anywhere."""
    before = contents(tmp_path)
    with pytest.raises(RecordError, match=text):
        unpack(file, tmp_path / "into")
    assert contents(tmp_path) == before
    assert list((tmp_path / "into").iterdir()) == []


@pytest.mark.parametrize(
    "name",
    [
        "../evil",
        "logs/../../evil",
        "/tmp/evil",
        ".git/hooks/post-checkout",
        "logs/.GIT/config",
        "-rf",
        "a\\..\\b",
        "a\nb",
    ],
)
def test_names_that_leave_the_folder_are_refused(tmp_path: Path, name: str) -> None:
    file = archive(tmp_path / "x", {"capsule.json": encode(capsule()), name: b"evil"})
    refused(tmp_path, file, "rejected|not a capsule")


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE]
)
def test_what_is_no_plain_file_is_refused(tmp_path: Path, kind: bytes) -> None:
    def edit(member: tarfile.TarInfo) -> None:
        if member.name == "logs/x":
            member.type, member.linkname, member.size = kind, "/etc/passwd", 0

    file = archive(tmp_path / "x", {"capsule.json": encode(capsule()), "logs/x": b""}, edit=edit)
    refused(tmp_path, file, "not a plain file")


def test_damaged_archives_are_refused(tmp_path: Path) -> None:
    run = folder(tmp_path / "project")
    export(run, tmp_path / "whole")
    whole = (tmp_path / "whole").read_bytes()
    place = whole.index(b"it failed")
    for number, data in enumerate(
        [
            b"",
            b"no archive at all",
            whole[:700],
            whole[: place + 3],
            whole[:place] + b"it passed" + whole[place + 9 :],
        ]
    ):
        file = tmp_path / f"damaged{number}"
        file.write_bytes(data)
        with pytest.raises(RecordError, match=r"not a capsule|damaged|can.t be read"):
            unpack(file, tmp_path / "into")
        assert list((tmp_path / "into").iterdir()) == []


def test_what_the_list_does_not_have_is_refused(tmp_path: Path) -> None:
    import hashlib

    data = encode(capsule())
    listed = {"format": 1, "files": {"capsule.json": hashlib.sha256(data).hexdigest()}}
    file = archive(
        tmp_path / "x", {MANIFEST: json.dumps(listed).encode(), "capsule.json": data, "more": b"smuggled"}
    )
    refused(tmp_path, file, "damaged")


def test_a_compressed_bomb_is_not_even_opened(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x", "w:gz") as out:
        member = tarfile.TarInfo("capsule.json")
        member.size = 50 << 20
        out.addfile(member, io.BytesIO(b"\0" * member.size))
    refused(tmp_path, tmp_path / "x", "not a capsule")


@pytest.mark.parametrize("version", [2, 99, "1", None])
def test_other_formats_and_versions_are_refused_with_a_sentence(tmp_path: Path, version: object) -> None:
    other = json.dumps({"format": version, "files": {}}).encode()
    refused(tmp_path, archive(tmp_path / "x", {MANIFEST: other, "capsule.json": b"{}"}), "reads format 1")
    data = json.dumps({**json.loads(encode(capsule())), "schema_version": version}).encode()
    refused(tmp_path, archive(tmp_path / "y", {"capsule.json": data}), "reads version 1")


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"id": "../../x"}, "not a run ID"),
        ({"file": "../../etc/evil.py"}, "not a Python file"),
        ({"file": "/etc/evil.py"}, "not a Python file"),
        ({"git": Git(commit="--upload-pack=evil")}, "not a commit hash"),
        ({"git": Git(diff="../../../etc/passwd")}, "git.diff"),
        ({"git": Git(prefix="../elsewhere")}, "leaves the repository"),
        ({"git": Git(untracked={"../../.bashrc": "b" * 64})}, "leaves the project"),
        ({"git": Git(untracked={".git/hooks/pre-commit": "b" * 64})}, "leaves the project"),
        ({"git": Git(untracked={"fine": "../../secret"})}, "not a SHA-256"),
        ({"environment": {"LD_PRELOAD=x": "evil"}}, "not a variable name"),
        ({"environment": {"TZ": "a\0b"}}, "NUL"),
        ({"targets": ["--no-cache"]}, "not a stage name"),
        ({"overrides": {"--engine": "dagger"}}, "not a parameter name"),
        ({"stages": [StageRecord(name="a", kind="pure", log="../../etc/passwd")]}, "leaves the run's folder"),
        ({"stages": [StageRecord(name="a", kind="pure"), StageRecord(name="a", kind="pure")]}, "same name"),
        ({"seconds": 1e300}, "not a valid number"),
        ({"seconds": -1.0}, "not a valid number"),
        ({"stages": [StageRecord(name="a", kind="pure", attempts=10**15)]}, "not a valid number"),
    ],
)
def test_what_a_capsule_must_not_say_is_refused(tmp_path: Path, fields: dict[str, Any], text: str) -> None:
    refused(tmp_path, archive(tmp_path / "x", {"capsule.json": encode(capsule(**fields))}), text)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"seconds": 0.0', b'"seconds": 1e999'),
        (b'"seconds": 0.0', b'"seconds": ' + b"9" * 5000),
        (b'"seconds": 0.0', b'"seconds": NaN'),
        (b'"seconds": 0.0', b'"seconds": "soon"'),
        (b'"stages": [', b'"stages": [[[[[{}]]]],'),
        (b'"id": "' + ID.encode() + b'"', b'"id": 5'),
        (b'"targets": [', b'"targets": ' + b"[" * 100_000),
    ],
)
def test_wrong_types_and_huge_numbers_are_refused(tmp_path: Path, old: bytes, new: bytes) -> None:
    data = encode(capsule())
    assert old in data
    file = archive(tmp_path / "x", {"capsule.json": data.replace(old, new, 1)})
    refused(tmp_path, file, "damaged|not a capsule|not a valid number")


def test_artifacts_of_a_ci_job_are_held_to_the_same_rules(tmp_path: Path) -> None:
    run = unpack_members(
        [("capsule.json", encode(capsule())), ("lock", b""), ("logs/train.log", b"x")], tmp_path, "job 1"
    )
    assert set(contents(run.path)) == {"capsule.json", "logs/train.log"}
    for members in (
        [("capsule.json", encode(capsule())), ("../evil", b"x")],
        [("capsule.json", b"{}")],
        [("logs/train.log", b"x")],
    ):
        before = contents(tmp_path)
        with pytest.raises(RecordError):
            unpack_members(members, tmp_path, "job 1")
        assert contents(tmp_path) == before
