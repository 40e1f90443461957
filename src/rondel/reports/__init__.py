"""What people and machines read of a run: console, and the reports of verdicts."""
