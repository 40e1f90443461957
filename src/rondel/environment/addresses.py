"""Addresses that only a container can open, as they are told to people. Pure.

A container reaches this machine's loopback by names that nobody else knows:
MLflow's client prints links with them. In the log stands the address that
works where it is read, or none.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rondel.tracking import TrackingConnection

Rule = tuple[re.Pattern[str], str]

_REST = r"[^\s'\"<>)\]]*"


def rules(
    tracking: TrackingConnection | None, hosts: Mapping[str, int], folder: str | None
) -> tuple[Rule, ...]:
    """What is replaced in a stage's log.

    ``hosts`` are the names by which a container reaches ports of this machine,
    ``folder`` the DVC remote that is served by the first of them, if it is one.
    """
    found: list[Rule] = []
    if tracking is not None and not tracking.readable:
        for uri in dict.fromkeys((tracking.container_uri, tracking.uri)):
            page = rf"{re.escape(uri)}/?#/experiments/\w+/runs/(\w+){_REST}"
            found.append((re.compile(page), r"run \1 on the MLflow server of this job"))
            found.append((re.compile(rf"{re.escape(uri)}(?![\w.-]){_REST}"), "the MLflow server of this job"))
    elif tracking is not None and tracking.container_uri != tracking.uri:
        found.append((re.compile(rf"{re.escape(tracking.container_uri)}(?![\w.-])"), _plain(tracking.uri)))
    for name, port in hosts.items():
        address = rf"(\w+://)(?:[^\s/@]*@)?{re.escape(name)}:{port}(?!\d)"
        if folder is not None:
            found.append((re.compile(rf"{address}/?"), _plain(f"{folder}/")))
        else:
            found.append((re.compile(address), rf"\g<1>127.0.0.1:{port}"))
    return tuple(found)


def _plain(text: str) -> str:
    return text.replace("\\", r"\\")
