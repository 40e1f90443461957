"""MLflow: the project's own server, a small REST client, and the MLflow runs of a pipeline run.

Each name loads its module on first use, because a run with nothing to do needs little of this package.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rondel.tracking.client import RunData, RunHandle, TrackingClient, mlflow_name
    from rondel.tracking.endpoint import CONTAINER_HOST, Endpoint, TrackingConnection
    from rondel.tracking.errors import TrackingRefused
    from rondel.tracking.runs import RunFacts, RunTree, StageFacts
    from rondel.tracking.server import ServerStatus, status, stop
    from rondel.tracking.session import TrackingSession, connect, ensure_server, open_page

_MODULES = {
    "client": ("RunData", "RunHandle", "TrackingClient", "mlflow_name"),
    "endpoint": ("CONTAINER_HOST", "Endpoint", "TrackingConnection"),
    "errors": ("TrackingRefused",),
    "runs": ("RunFacts", "RunTree", "StageFacts"),
    "server": ("ServerStatus", "status", "stop"),
    "session": ("TrackingSession", "connect", "ensure_server", "open_page"),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "CONTAINER_HOST",
    "Endpoint",
    "RunData",
    "RunFacts",
    "RunHandle",
    "RunTree",
    "ServerStatus",
    "StageFacts",
    "TrackingClient",
    "TrackingConnection",
    "TrackingRefused",
    "TrackingSession",
    "connect",
    "ensure_server",
    "mlflow_name",
    "open_page",
    "status",
    "stop",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
