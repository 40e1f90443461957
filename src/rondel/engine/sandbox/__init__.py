"""Runs one command in one file system, isolated by bubblewrap."""

from rondel.engine.sandbox.run import Sandbox
from rondel.engine.sandbox.spec import (
    BindMount,
    CannotStart,
    ExecRefused,
    ExecSpec,
    FileMount,
    JoinNetwork,
    Limits,
    Mount,
    Network,
    Opened,
    Outcome,
    OverlayMount,
    SandboxError,
    SecretMount,
    SocketMount,
    TmpfsMount,
    VolumeMount,
)
from rondel.engine.sandbox.started import Listener, Process

__all__ = [
    "BindMount",
    "CannotStart",
    "ExecRefused",
    "ExecSpec",
    "FileMount",
    "JoinNetwork",
    "Limits",
    "Listener",
    "Mount",
    "Network",
    "Opened",
    "Outcome",
    "OverlayMount",
    "Process",
    "Sandbox",
    "SandboxError",
    "SecretMount",
    "SocketMount",
    "TmpfsMount",
    "VolumeMount",
]
