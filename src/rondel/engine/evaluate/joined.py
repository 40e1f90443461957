"""What a command's surroundings give it: the names it knows, its network, variables that go with it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rondel.engine.sandbox import JoinNetwork, Network

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined:
    """How a container reaches services: what its ExecSpec takes over.

    ``hosts`` are (address, name) pairs for /etc/hosts. ``env`` yields to the container's own.
    """

    network: Network | JoinNetwork = Network.HOST
    hosts: tuple[tuple[str, str], ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
