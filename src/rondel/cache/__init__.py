"""Stage keys and the stage cache. Pure except for small files below ``.rondel``."""

from rondel.cache.code import code_parts
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
from rondel.cache.shared_parts import SharedParts, may_be_host_image, read_shared_parts

__all__ = [
    "Change",
    "DvcCacheEntry",
    "SharedParts",
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
    "may_be_host_image",
    "read_build_context",
    "read_recipe",
    "read_shared_parts",
    "save_entry",
]
