"""CI systems: the job that this process runs in, the files that define jobs, and committing results."""
