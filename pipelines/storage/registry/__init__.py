"""The model registry in MLflow, and loading and checking models from it."""
