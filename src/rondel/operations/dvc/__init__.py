"""Run a stage of ``dvc.yaml``."""
