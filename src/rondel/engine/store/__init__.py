"""Content-addressed snapshots, blobs, results and cache volumes on disk, shared by sessions."""

from rondel.engine.store.errors import (
    PathError,
    StoreCorrupt,
    StoreError,
    StoreFull,
    StoreReadOnly,
    StoreTooNew,
)
from rondel.engine.store.model import Entry, Output, Result, Snapshot
from rondel.engine.store.store import Blobs, Draft, Index, Store, Usage, View, Volumes

__all__ = [
    "Blobs",
    "Draft",
    "Entry",
    "Index",
    "Output",
    "PathError",
    "Result",
    "Snapshot",
    "Store",
    "StoreCorrupt",
    "StoreError",
    "StoreFull",
    "StoreReadOnly",
    "StoreTooNew",
    "Usage",
    "View",
    "Volumes",
]
