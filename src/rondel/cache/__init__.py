"""Stage keys, and the memory of each stage's last success. Pure apart from two small files."""

from rondel.cache.code import code_parts
from rondel.cache.key import Change, compare, describe, digest, make_key
from rondel.cache.memory import StageMemory, forget, recall, remember
from rondel.cache.recipe import Recipe, host_parts, read_recipe

__all__ = [
    "Change",
    "Recipe",
    "StageMemory",
    "code_parts",
    "compare",
    "describe",
    "digest",
    "forget",
    "host_parts",
    "make_key",
    "read_recipe",
    "recall",
    "remember",
]
