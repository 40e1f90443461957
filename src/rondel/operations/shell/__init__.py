"""Run a shell command: ``ctx.sh``."""
