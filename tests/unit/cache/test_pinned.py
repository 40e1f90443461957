"""A Containerfile on the base image that a recorded run stood on."""

from __future__ import annotations

import pytest

from rondel.cache.pinned import base_reference, pinned_text

DIGEST = "sha256:" + "0" * 64
PYTHON = f"docker.io/library/python:3.11-slim@{DIGEST}"

TEXT = """\
# FROM python:3.11-slim is what this builds on
ARG PYTHON=3.11
FROM python:${PYTHON}-slim AS base
RUN echo FROM python:3.11-slim
from --platform=linux/amd64 python:3.11-slim
FROM base AS stage
FROM debian:bookworm
FROM python:3.11-slim@sha256:1
"""


def test_every_stage_on_that_image_stands_on_its_digest() -> None:
    lines = pinned_text(TEXT, PYTHON).splitlines()
    assert lines[2] == f"FROM {PYTHON} AS base"
    assert lines[4] == f"from --platform=linux/amd64 {PYTHON}"
    changed = {number for number, line in enumerate(lines) if line != TEXT.splitlines()[number]}
    assert changed == {2, 4}


def test_build_arguments_count() -> None:
    assert "3.11-slim@" not in pinned_text(TEXT, PYTHON, [("PYTHON", "3.12")]).splitlines()[2]
    other = PYTHON.replace("3.11", "3.12")
    assert pinned_text(TEXT, other, [("PYTHON", "3.12")]).splitlines()[2] == f"FROM {other} AS base"


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("python", "docker.io/library/python:latest"),
        ("team/base:1", "docker.io/team/base:1"),
        ("docker.io/team/base:1", "docker.io/team/base:1"),
        ("localhost:5000/base", "localhost:5000/base:latest"),
        ("$REGISTRY/base:${TAG:-1}", "ghcr.io/base:1"),
    ],
)
def test_names_are_those_that_people_write(written: str, name: str) -> None:
    text = f"ARG REGISTRY=ghcr.io\nARG TAG\nFROM {written}\n"
    assert pinned_text(text, f"{name}@{DIGEST}").splitlines()[2] == f"FROM {name}@{DIGEST}"


def test_only_the_image_of_a_from_is_replaced() -> None:
    text = """\
# escape=`
FROM `
# python is next
  --platform=linux/amd64 `
  python `
  AS one
FROM python AS python
RUN <<EOF
FROM python
EOF
FROM python AS of-the-stage
"""
    lines = pinned_text(text, f"docker.io/library/python:latest@{DIGEST}").splitlines()
    name = f"docker.io/library/python:latest@{DIGEST}"
    assert {number: line for number, line in enumerate(lines) if line != text.splitlines()[number]} == {
        4: f"  {name} `",
        6: f"FROM {name} AS python",
    }


def test_another_image_is_left_alone() -> None:
    assert pinned_text(TEXT, f"ghcr.io/team/python:3.11-slim@{DIGEST}") == TEXT


def test_a_stage_stands_on_the_first_image_below_it() -> None:
    assert base_reference(TEXT, "stage") == "python:3.11-slim"
    assert base_reference(TEXT, "STAGE", [("PYTHON", "3.12")]) == "python:3.12-slim"
    assert base_reference("FROM scratch AS stage\n", "stage") is None
    assert base_reference("FROM $NAMELESS AS stage\n", "stage") is None
    assert base_reference(TEXT, "other") is None
    assert base_reference("FROM a\nFROM python\n", "") == "python"
