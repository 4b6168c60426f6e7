"""One module per DVC stage, named as the stage."""
