"""Runs one command in one file system, isolated by bubblewrap."""

from rondel.engine.sandbox.process import Listener, Process
from rondel.engine.sandbox.sandbox import Sandbox
from rondel.engine.sandbox.spec import (
    BindMount,
    CannotStart,
    ExecRefused,
    ExecSpec,
    JoinNetwork,
    Limits,
    Network,
    Opened,
    Outcome,
    OverlayMount,
    SandboxError,
    SandboxMount,
    SecretFileMount,
    SnapshotFileMount,
    TmpfsMount,
    UnixSocketMount,
    VolumeMount,
)

__all__ = [
    "BindMount",
    "CannotStart",
    "ExecRefused",
    "ExecSpec",
    "JoinNetwork",
    "Limits",
    "Listener",
    "Network",
    "Opened",
    "Outcome",
    "OverlayMount",
    "Process",
    "Sandbox",
    "SandboxError",
    "SandboxMount",
    "SecretFileMount",
    "SnapshotFileMount",
    "TmpfsMount",
    "UnixSocketMount",
    "VolumeMount",
]
