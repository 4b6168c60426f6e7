"""Everything that opens a file, a database or the model registry."""
