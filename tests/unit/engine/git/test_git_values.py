"""What a repository advertises, and what names mean in it."""

import pytest

from rondel.engine.values.git import Advertised, is_commit

A, B, C, D = ("a" * 40, "b" * 40, "c" * 40, "d" * 40)
LISTED = f"""\
ref: refs/heads/main\tHEAD
{A}\tHEAD
{A}\trefs/heads/main
{B}\trefs/heads/feature/x
{B}\trefs/heads/both
{C}\trefs/tags/both
{C}\trefs/tags/v1.0.0
{D}\trefs/tags/v1.1.0
{A}\trefs/tags/v1.1.0^{{}}
{D}\trefs/pull/7/head
"""


@pytest.fixture
def remote():
    return Advertised.parse(LISTED)


@pytest.mark.parametrize(
    ("name", "meaning"),
    [
        ("HEAD", ("refs/heads/main", A)),
        ("main", ("refs/heads/main", A)),
        ("heads/main", ("refs/heads/main", A)),
        ("refs/heads/feature/x", ("refs/heads/feature/x", B)),
        ("both", ("refs/heads/both", B)),
        ("refs/tags/both", ("refs/tags/both", C)),
        ("v1.1.0", ("refs/tags/v1.1.0", A)),
        ("refs/tags/v1.1.0", ("refs/tags/v1.1.0", A)),
        ("pull/7/head", ("refs/pull/7/head", D)),
        (C, (C, C)),
        ("nope", None),
        ("", None),
    ],
)
def test_names_mean_what_git_checkout_would_take(remote, name, meaning):
    assert remote.find(name) == meaning


def test_branches_and_tags_are_listed_without_peeled_entries(remote):
    assert remote.short_names("refs/heads/", ()) == ["main", "feature/x", "both"]
    assert remote.short_names("refs/tags/", ()) == ["both", "v1.0.0", "v1.1.0"]


@pytest.mark.parametrize(
    ("patterns", "names"),
    [
        (["v1.*"], ["v1.0.0", "v1.1.0"]),
        (["refs/tags/v1.0.0"], ["v1.0.0"]),
        (["v1.[!0].0"], ["v1.1.0"]),
        (["v1.[^0].0"], ["v1.1.0"]),
        (["1.0.0"], []),
        (["both", "v1.0.0"], ["both", "v1.0.0"]),
    ],
)
def test_patterns_match_from_the_end_at_a_slash(remote, patterns, names):
    assert remote.short_names("refs/tags/", patterns) == names


@pytest.mark.parametrize(
    ("tags", "latest"),
    [
        (["v1.2.0", "v1.10.0", "v1.9.9"], "v1.10.0"),
        (["v2.0.0-rc.1", "v1.0.0"], "v2.0.0-rc.1"),
        (["v2.0.0-rc.1", "v2.0.0"], "v2.0.0"),
        (["v1.0.0-alpha.2", "v1.0.0-alpha.10", "v1.0.0-alpha.beta", "v1.0.0-alpha"], "v1.0.0-alpha.beta"),
        (["1.0.0", "release", "v01.0.0", "vx"], None),
        (["v1", "v0.9.9"], "v1"),
        ([], None),
    ],
)
def test_latest_version_follows_semantic_versioning(tags, latest):
    listed = "".join(f"{A}\trefs/tags/{tag}\n" for tag in tags)
    assert Advertised.parse(listed).latest_version() == latest


@pytest.mark.parametrize(
    ("text", "whole"), [(A, True), ("a" * 64, True), ("a" * 39, False), ("A" * 40, False), ("g" * 40, False)]
)
def test_only_whole_lower_case_hashes_are_commits(text, whole):
    assert is_commit(text) is whole
