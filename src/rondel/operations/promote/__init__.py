"""Move an alias to a model version that meets its conditions: ``ctx.promote``."""
