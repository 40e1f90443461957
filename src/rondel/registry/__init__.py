"""The model registry: registration with lineage, promotion, rollback, and the log of alias changes."""
