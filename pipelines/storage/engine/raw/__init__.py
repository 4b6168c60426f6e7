"""Readers of raw tables: folders of files, DuckDB files, PostgreSQL databases."""
