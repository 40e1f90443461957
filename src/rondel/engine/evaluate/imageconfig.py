"""Converts between an image's configuration and a container's."""

from __future__ import annotations

from typing import Any

from rondel.engine.images import model, platforms
from rondel.engine.images.durations import duration, nanoseconds
from rondel.engine.values import ContainerConfig, Healthcheck, Port


def from_image(config: model.ImageConfig) -> ContainerConfig:
    """The container's configuration from an image's."""
    return ContainerConfig(
        env=tuple((name, value) for name, _, value in (pair.partition("=") for pair in config.env)),
        entrypoint=config.entrypoint,
        cmd=config.cmd,
        workdir=config.workdir,
        user=config.user,
        labels=tuple(config.labels.items()),
        ports=tuple(port for text in config.exposed_ports if (port := _port(text)) is not None),
        volumes=config.volumes,
        healthcheck=_healthcheck(config.healthcheck),
        stop_signal=config.stop_signal,
        shell=config.shell,
        on_build=config.on_build,
    )


def to_image(config: ContainerConfig, platform: str, diff_ids: tuple[str, ...] = ()) -> model.ImageConfig:
    """The image's configuration from a container's."""
    return model.ImageConfig(
        platform=platforms.parse(platform),
        env=tuple(f"{name}={value}" for name, value in config.env),
        entrypoint=config.entrypoint,
        cmd=config.cmd,
        workdir=config.workdir,
        user=config.user,
        labels=dict(config.labels),
        exposed_ports=tuple(sorted(f"{port.port}/{port.protocol.lower()}" for port in config.ports)),
        volumes=tuple(sorted(config.volumes)),
        stop_signal=config.stop_signal,
        shell=config.shell,
        healthcheck=_test(config.healthcheck),
        on_build=config.on_build,
        diff_ids=diff_ids,
    )


def _port(text: str) -> Port | None:
    number, _, protocol = text.partition("/")
    return Port(int(number), (protocol or "tcp").upper()) if number.isdecimal() else None


def _healthcheck(check: Any) -> Healthcheck | None:
    kind, *args = check.get("Test") or [""]
    if kind == "NONE":
        return Healthcheck(args=(), none=True)
    if kind not in ("CMD", "CMD-SHELL"):
        return None
    return Healthcheck(
        args=tuple(args),
        shell=kind == "CMD-SHELL",
        interval=duration(check.get("Interval", 0)),
        timeout=duration(check.get("Timeout", 0)),
        start_period=duration(check.get("StartPeriod", 0)),
        start_interval=duration(check.get("StartInterval", 0)),
        retries=int(check.get("Retries", 0)),
    )


def _test(check: Healthcheck | None) -> dict[str, Any]:
    if check is None:
        return {}
    if check.none:
        return {"Test": ["NONE"]}
    value: dict[str, Any] = {"Test": ["CMD-SHELL" if check.shell else "CMD", *check.args]}
    names = ("interval", "timeout", "start_period", "start_interval")
    for name, key in zip(names, ("Interval", "Timeout", "StartPeriod", "StartInterval"), strict=True):
        if length := nanoseconds(getattr(check, name)):
            value[key] = length
    if check.retries:
        value["Retries"] = check.retries
    return value
