"""``ctx.promote``: move an alias to a model version that meets the conditions."""
