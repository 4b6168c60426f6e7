"""What is run: commands and stages, and the only code that opens a file, a database or MLflow."""
