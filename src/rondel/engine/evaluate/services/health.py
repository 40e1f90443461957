"""Decides when a service is ready: its ports accept connections, or its health check passes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import anyio

from rondel.engine.evaluate.errors import ExecError
from rondel.engine.evaluate.execs import decode, error_text
from rondel.engine.evaluate.services.running import ServiceError, within
from rondel.engine.images.durations import nanoseconds
from rondel.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rondel.engine.evaluate.services.running import RunningService
    from rondel.engine.sandbox import Outcome, Process
    from rondel.engine.sandbox.network import Relay
    from rondel.engine.store import Store
    from rondel.engine.values import ContainerConfig, Healthcheck
    from rondel.engine.values.service import ContainerService

FIRST_WAIT, LONGEST_WAIT = 0.01, 1.0
_CHECK_SECONDS, _CHECK_RETRIES = 5.0, 3  # the real engine's defaults


async def until_healthy(
    store: Store, relay: Relay, running: RunningService, service: ContainerService
) -> None:
    """Wait until a service is ready.

    Raises ExecError or ServiceError as soon as its process ends or its image's health check
    has failed too often.
    """
    process = running.process
    assert process is not None  # noqa: S101 - it was just started
    outcome: Outcome | None = None
    failed: EngineError | None = None
    async with anyio.create_task_group() as tasks:

        async def watch() -> None:
            nonlocal outcome, failed
            try:
                outcome = await process.wait()
            except EngineError as error:
                failed = error
            tasks.cancel_scope.cancel()

        if _needs_time(service):
            tasks.start_soon(watch)
            try:
                await _ready(relay, running, service, process)
            except EngineError as error:
                failed = error
            tasks.cancel_scope.cancel()
    if outcome is not None:
        raise running.cause or _early(store, service, outcome)
    if failed is not None:
        raise failed


def _needs_time(service: ContainerService) -> bool:
    config = service.container.config
    return config.active_healthcheck is not None or any(_checked(service))


def _checked(service: ContainerService) -> Iterable[bool]:
    return (port.protocol == "TCP" and not port.experimental_skip_healthcheck for port in service.ports)


async def _ready(relay: Relay, running: RunningService, service: ContainerService, process: Process) -> None:
    config = service.container.config
    if config.active_healthcheck is not None:
        await _passes(process, config.active_healthcheck, config)
        return
    for backend, checked in zip(running.backends, _checked(service), strict=True):
        if checked:
            for wait in backoff(FIRST_WAIT, LONGEST_WAIT):
                if await relay.probe(backend.destination):
                    break
                await anyio.sleep(wait)


async def _passes(process: Process, check: Healthcheck, config: ContainerConfig) -> None:
    """Run a health check in the service's container until it passes; raises the last failure."""
    args = command_of(check, config)
    started, failures = anyio.current_time(), 0
    while True:
        error = await _checks(process, args, seconds(check.timeout) or math.inf)
        if error is None:
            return
        failures += anyio.current_time() - started >= seconds(check.start_period)
        if failures >= (check.retries or _CHECK_RETRIES):
            raise within("health check errored", error)
        await anyio.sleep(seconds(check.start_interval) or seconds(check.interval) or _CHECK_SECONDS)


async def _checks(process: Process, args: tuple[str, ...], limit: float) -> Exception | None:
    with anyio.move_on_after(limit):
        done = await process.run_inside(args)
        if done.exit_code == 0:
            return None
        return ExecError(
            f"exit code: {done.exit_code}",
            cmd=args,
            exit_code=done.exit_code,
            stdout=decode(done.stdout),
            stderr=decode(done.stderr),
        )
    return ServiceError(f"the check took longer than {limit:g} s")


def command_of(check: Healthcheck, config: ContainerConfig) -> tuple[str, ...]:
    """The command of a health check."""
    return (*(config.shell or ("/bin/sh", "-c")), *check.args) if check.shell else check.args


def seconds(duration: str) -> float:
    """A Go duration in seconds, 0 if it is empty."""
    return nanoseconds(duration) / 1e9


def _early(store: Store, service: ContainerService, outcome: Outcome) -> EngineError:
    """The error for a service that ended before it was ready."""
    if outcome.exit_code == 0:
        return ServiceError("service exited before healthcheck")
    return ExecError(
        f"exit code: {outcome.exit_code}",
        cmd=service.args,
        exit_code=outcome.exit_code,
        stdout=error_text(store, outcome.stdout),
        stderr=error_text(store, outcome.stderr),
    )


def backoff(first: float, longest: float) -> Iterable[float]:
    """Endless waiting times, each half again as long as the one before."""
    wait = first
    while True:
        yield wait
        wait = min(wait * 1.5, longest)
