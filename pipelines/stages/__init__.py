"""DVC stages: one module per stage, with the name of the stage."""
