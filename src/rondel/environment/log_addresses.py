"""Rewrites addresses in logs that work only inside a container. Pure.

A container reaches the loopback of this machine by special host names, and
MLflow's client prints links with them. The log gets the address that readers
can open, or a description if there is none.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rondel.tracking import TrackingConnection

Rewrite = tuple[re.Pattern[str], str]

_REST = r"[^\s'\"<>)\]]*"


def log_rewrites(
    tracking: TrackingConnection | None, hosts: Mapping[str, int], folder: str | None
) -> tuple[Rewrite, ...]:
    """The replacements for a stage's log.

    ``hosts`` maps the host names in containers to ports of this machine.
    ``folder`` is the local DVC remote, if these serve one.
    """
    rewrites: list[Rewrite] = []
    if tracking is not None and not tracking.readable:
        for uri in dict.fromkeys((tracking.container_uri, tracking.uri)):
            page = rf"{re.escape(uri)}/?#/experiments/\w+/runs/(\w+){_REST}"
            rewrites.append((re.compile(page), r"run \1 on the MLflow server of this job"))
            rewrites.append(
                (re.compile(rf"{re.escape(uri)}(?![\w.-]){_REST}"), "the MLflow server of this job")
            )
    elif tracking is not None and tracking.container_uri != tracking.uri:
        rewrites.append((re.compile(rf"{re.escape(tracking.container_uri)}(?![\w.-])"), _plain(tracking.uri)))
    for name, port in hosts.items():
        address = rf"(\w+://)(?:[^\s/@]*@)?{re.escape(name)}:{port}(?!\d)"
        if folder is not None:
            rewrites.append((re.compile(rf"{address}/?"), _plain(f"{folder}/")))
        else:
            rewrites.append((re.compile(address), rf"\g<1>127.0.0.1:{port}"))
    return tuple(rewrites)


def _plain(text: str) -> str:
    return text.replace("\\", r"\\")
