"""Content-addressed snapshots, blobs, results and cache volumes on disk, shared by sessions."""

from rondel.engine.store.blobs import Blobs
from rondel.engine.store.collect import Usage
from rondel.engine.store.draft import Draft
from rondel.engine.store.errors import (
    PathError,
    StoreCorrupt,
    StoreError,
    StoreFull,
    StoreReadOnly,
    StoreTooNew,
)
from rondel.engine.store.index import Index
from rondel.engine.store.model import OperationResult, Output, Snapshot, TreeEntry
from rondel.engine.store.store import Store
from rondel.engine.store.view import View
from rondel.engine.store.volumes import Volumes

__all__ = [
    "Blobs",
    "Draft",
    "Index",
    "OperationResult",
    "Output",
    "PathError",
    "Snapshot",
    "Store",
    "StoreCorrupt",
    "StoreError",
    "StoreFull",
    "StoreReadOnly",
    "StoreTooNew",
    "TreeEntry",
    "Usage",
    "View",
    "Volumes",
]
