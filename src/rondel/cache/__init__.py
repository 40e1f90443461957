"""Stage keys, and what is kept of each stage's successes. Pure apart from small files below ``.rondel``."""

from rondel.cache.code import code_parts
from rondel.cache.conditions import Conditions, read_conditions, stands_on_host
from rondel.cache.entries import (
    DvcCacheEntry,
    StageCacheEntry,
    load_dvc_entries,
    load_entries,
    load_entry,
    save_entry,
)
from rondel.cache.key import Change, compare, describe, digest, make_key
from rondel.cache.recipe import host_parts, read_build_context, read_recipe

__all__ = [
    "Change",
    "Conditions",
    "DvcCacheEntry",
    "StageCacheEntry",
    "code_parts",
    "compare",
    "describe",
    "digest",
    "host_parts",
    "load_dvc_entries",
    "load_entries",
    "load_entry",
    "make_key",
    "read_build_context",
    "read_conditions",
    "read_recipe",
    "save_entry",
    "stands_on_host",
]
