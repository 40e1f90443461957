"""An image's configuration as containers hold it, and back."""

from __future__ import annotations

import re
from typing import Any

from rondel.engine.images import model, platforms
from rondel.engine.values import Healthcheck, ImageConfig, Port
from rondel.errors import EngineError

_SECOND = 10**9
_SMALL = (("s", _SECOND), ("ms", 10**6), ("µs", 10**3), ("ns", 1))
_UNITS = {**dict(_SMALL), "us": 10**3, "μs": 10**3, "m": 60 * _SECOND, "h": 3600 * _SECOND}
_PART = re.compile(r"(\d+\.?\d*|\.\d+)([^\d.]*)")


def from_image(config: model.ImageConfig) -> ImageConfig:
    """What a container takes over from an image's configuration."""
    return ImageConfig(
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


def to_image(config: ImageConfig, platform: str, diff_ids: tuple[str, ...] = ()) -> model.ImageConfig:
    """A container's configuration as an image has it."""
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


def duration(value: int) -> str:
    """Nanoseconds as Go writes a duration: ``0s``, ``1.5ms``, ``1m30s``, ``1h0m1.5s``."""
    sign, value = ("-", -value) if value < 0 else ("", value)
    if value < _SECOND:
        unit, size = next((u, s) for u, s in _SMALL if value >= s or not value)
        return f"{sign}{_decimal(value, size)}{unit}"
    minutes, rest = divmod(value, 60 * _SECOND)
    hours, minutes = divmod(minutes, 60)
    text = f"{hours}h{minutes}m" if hours else f"{minutes}m" if minutes else ""
    return f"{sign}{text}{_decimal(rest, _SECOND)}s"


def _decimal(value: int, size: int) -> str:
    whole, rest = divmod(value, size)
    fraction = f"{rest:0{len(str(size)) - 1}d}".rstrip("0") if rest else ""
    return f"{whole}.{fraction}" if fraction else str(whole)


def nanoseconds(text: str) -> int:
    """A Go duration such as ``1m30s`` or ``1.5h`` in nanoseconds. Raises EngineError for what is none."""
    body = text.removeprefix("-") if text.startswith("-") else text.removeprefix("+")
    total, at = 0.0, 0
    if body == "0":
        return 0
    while (part := _PART.match(body, at)) is not None:
        number, unit = part.groups()
        if unit not in _UNITS:
            problem = f'unknown unit "{unit}"' if unit else "missing unit"
            raise EngineError(f'time: {problem} in duration "{text}"')
        total, at = total + float(number) * _UNITS[unit], part.end()
    if not body or at < len(body):
        raise EngineError(f'time: invalid duration "{text}"')
    return -round(total) if text.startswith("-") else round(total)
