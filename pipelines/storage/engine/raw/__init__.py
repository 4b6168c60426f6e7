"""Raw tables as companies give them: folders, DuckDB files, PostgreSQL."""
