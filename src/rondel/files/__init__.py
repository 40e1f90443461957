"""Reading and writing files: YAML with line numbers in its errors, atomic writes, hashes."""
