"""Verdicts as JUnit XML, which GitLab and Jenkins show as tests: one test case a rule."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rondel.gates import RuleResult, Verdict

_NOT_IN_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def render_junit(verdicts: Mapping[str, Verdict]) -> str:
    """The report for these verdicts, by stage. A gate without rules is one failed case if it failed."""
    root = ET.Element("testsuites", name="rondel gates")
    for stage, verdict in verdicts.items():
        _suite(root, stage, verdict)
    ET.indent(root)
    body = ET.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{body}\n'


def _suite(root: ET.Element, stage: str, verdict: Verdict) -> None:
    failures = len(verdict.failures)
    lost = not verdict.passed and not failures
    suite = ET.SubElement(
        root,
        "testsuite",
        name=_clean(f"gate of {stage}"),
        tests=str(len(verdict.results) + lost),
        failures=str(failures + lost),
        errors="0",
        skipped="0",
    )
    properties = ET.SubElement(suite, "properties")
    facts = {"model": verdict.model or "", "champion": verdict.champion_version or "none yet"}
    for name, value in {**facts, "metrics": verdict.source}.items():
        ET.SubElement(properties, "property", name=name, value=_clean(value))
    for result in verdict.results:
        _case(suite, stage, verdict, result)
    if lost:
        case = ET.SubElement(suite, "testcase", classname=_clean(f"gate.{stage}"), name="metrics")
        ET.SubElement(case, "failure", message=_clean(verdict.summary()), type="GateFailed")


def _case(suite: ET.Element, stage: str, verdict: Verdict, result: RuleResult) -> None:
    group = f"gate.{stage}.{verdict.model}" if verdict.model else f"gate.{stage}"
    case = ET.SubElement(suite, "testcase", classname=_clean(group), name=_clean(result.rule), time="0")
    if not result.passed:
        failure = ET.SubElement(case, "failure", message=_clean(result.reason), type="GateFailed")
        failure.text = _clean(f"{result.rule}\n{result.reason}")
    else:
        ET.SubElement(case, "system-out").text = _clean(result.reason)


def _clean(text: str) -> str:
    """The text without the characters that XML 1.0 cannot hold."""
    return _NOT_IN_XML.sub("\ufffd", text)
