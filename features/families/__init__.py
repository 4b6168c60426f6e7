"""One module per feature family."""
