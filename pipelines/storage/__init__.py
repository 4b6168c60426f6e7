"""Modules that open files, databases and the model registry."""
