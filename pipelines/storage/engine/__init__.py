"""The query engine: raw tables in, intermediate tables out."""
