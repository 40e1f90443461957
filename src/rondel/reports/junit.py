"""Stages and verdicts as JUnit XML. GitLab and Jenkins show each stage and each rule as a test."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from rondel.reports.formatting import first_line

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rondel.gates import RuleResult, Verdict
    from rondel.record import StageRecord

_NOT_IN_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def render_junit(verdicts: Mapping[str, Verdict], stages: Sequence[StageRecord] = ()) -> str:
    """The report for these verdicts, by stage. A gate that failed without rules is one failed case.

    ``stages`` puts a suite with their outcomes before them.
    """
    root = ET.Element("testsuites", name="rondel")
    if stages:
        _stages(root, stages)
    for stage, verdict in verdicts.items():
        _suite(root, stage, verdict)
    ET.indent(root)
    body = ET.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{body}\n'


def render_error(text: str) -> str:
    """The report of a run that could not start: one test with an error."""
    root = ET.Element("testsuites", name="rondel")
    suite = ET.SubElement(root, "testsuite", name="run", tests="1", failures="0", errors="1", skipped="0")
    case = ET.SubElement(suite, "testcase", classname="run", name="start", time="0")
    ET.SubElement(case, "error", message=_clean(first_line(text))).text = _clean(text)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def _stages(root: ET.Element, stages: Sequence[StageRecord]) -> None:
    states = [record.state for record in stages]
    suite = ET.SubElement(
        root,
        "testsuite",
        name="stages",
        tests=str(len(stages)),
        failures=str(states.count("failed")),
        errors=str(states.count("cancelled")),
        skipped=str(states.count("skipped")),
        time=f"{sum(record.seconds for record in stages):.3f}",
    )
    for record in stages:
        time = f"{record.seconds:.3f}"
        case = ET.SubElement(suite, "testcase", classname="stage", name=_clean(record.name), time=time)
        text = _clean(record.error or record.reason or record.state)
        match record.state:
            case "failed":
                ET.SubElement(case, "failure", message=first_line(text), type="StageFailed").text = text
            case "cancelled":
                ET.SubElement(case, "error", message="cancelled").text = text
            case "skipped":
                ET.SubElement(case, "skipped", message=text)
            case _:
                ET.SubElement(case, "system-out").text = f"{record.state}: {text}"


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
    facts = {"model": verdict.model or "", "champion": verdict.champion()}
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
    """The text with � for each character that XML 1.0 does not allow."""
    return _NOT_IN_XML.sub("\ufffd", text)
