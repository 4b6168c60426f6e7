"""The model registry, and what it takes to load a model from it."""
