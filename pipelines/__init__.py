"""Commands and stages, and all access to files, databases and MLflow."""
