"""MLflow: the project's own server, a small REST client, the runs of a pipeline run.

A run with nothing to do needs little of this package, so each name is loaded from
its module when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rondel.tracking.client import RunData, RunHandle, TrackingClient, mlflow_name
    from rondel.tracking.endpoint import CONTAINER_HOST, Endpoint, Tracking
    from rondel.tracking.problems import TrackingRefused
    from rondel.tracking.runs import RunFacts, RunTree, StageFacts
    from rondel.tracking.server import ServerStatus, status, stop
    from rondel.tracking.session import TrackingSession, begin, connect_now, ensure_server

_HOMES = {
    "client": ("RunData", "RunHandle", "TrackingClient", "mlflow_name"),
    "endpoint": ("CONTAINER_HOST", "Endpoint", "Tracking"),
    "problems": ("TrackingRefused",),
    "runs": ("RunFacts", "RunTree", "StageFacts"),
    "server": ("ServerStatus", "status", "stop"),
    "session": ("TrackingSession", "begin", "connect_now", "ensure_server"),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "CONTAINER_HOST",
    "Endpoint",
    "RunData",
    "RunFacts",
    "RunHandle",
    "RunTree",
    "ServerStatus",
    "StageFacts",
    "Tracking",
    "TrackingClient",
    "TrackingRefused",
    "TrackingSession",
    "begin",
    "connect_now",
    "ensure_server",
    "mlflow_name",
    "status",
    "stop",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
