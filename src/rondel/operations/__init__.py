"""What a stage can do, one folder for each operation."""
