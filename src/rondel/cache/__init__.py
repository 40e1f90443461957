"""Stage keys, and what is kept of each stage's successes. Pure apart from small files below ``.rondel``."""

from rondel.cache.code import code_parts
from rondel.cache.conditions import Conditions, read_conditions, stands_on_host
from rondel.cache.key import Change, compare, describe, digest, make_key
from rondel.cache.memory import DvcMemory, StageMemory, recall, recall_dvc, recall_key, remember
from rondel.cache.recipe import Recipe, host_parts, read_recipe

__all__ = [
    "Change",
    "Conditions",
    "DvcMemory",
    "Recipe",
    "StageMemory",
    "code_parts",
    "compare",
    "describe",
    "digest",
    "host_parts",
    "make_key",
    "read_conditions",
    "read_recipe",
    "recall",
    "recall_dvc",
    "recall_key",
    "remember",
    "stands_on_host",
]
