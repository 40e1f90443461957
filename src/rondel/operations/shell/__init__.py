"""``ctx.sh``: run a shell command."""
