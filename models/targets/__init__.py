"""One module per target; a target is found by its file name."""
