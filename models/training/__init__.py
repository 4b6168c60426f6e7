"""Training and temporal validation of calibrated models."""
