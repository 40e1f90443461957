"""``ctx.dvc``: run a stage of ``dvc.yaml``."""
