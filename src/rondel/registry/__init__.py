"""The model registry: registration with lineage, promotion, rollback, and the log of who did it."""

from rondel.registry.lineage import Lineage, model_card, objections
from rondel.registry.move import champion_at, find, move, past_champions, whole_ledger
from rondel.registry.register import ModelSource, find_model, register
from rondel.registry.store import LostRace, Registry, registry

__all__ = [
    "Lineage",
    "LostRace",
    "ModelSource",
    "Registry",
    "champion_at",
    "find",
    "find_model",
    "model_card",
    "move",
    "objections",
    "past_champions",
    "register",
    "registry",
    "whole_ledger",
]
