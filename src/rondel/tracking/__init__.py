"""MLflow: the project's own server, a small REST client, the runs of a pipeline run, the champion.

Importing this package imports no HTTP library, so that a run with nothing to do
stays fast.
"""

from rondel.tracking.champion import CHAMPION, Champion, champion_version, fetch_champion
from rondel.tracking.client import RunData, RunHandle, TrackingClient, mlflow_name
from rondel.tracking.endpoint import CONTAINER_HOST, Endpoint, Tracking
from rondel.tracking.problems import TrackingRefused
from rondel.tracking.runs import RunFacts, RunTree, StageFacts
from rondel.tracking.server import ServerStatus, status, stop
from rondel.tracking.session import TrackingSession, begin, connect_now, ensure_server

__all__ = [
    "CHAMPION",
    "CONTAINER_HOST",
    "Champion",
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
    "champion_version",
    "connect_now",
    "ensure_server",
    "fetch_champion",
    "mlflow_name",
    "status",
    "stop",
]
