"""``ctx.register``: register a model version from what the run's stages logged."""
