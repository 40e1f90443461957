"""What the README says about speed and memory, measured: ``make bench``."""
