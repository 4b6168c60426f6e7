"""The query engine: reads raw tables, reads and writes intermediate tables."""
