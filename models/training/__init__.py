"""From a training table to a calibrated model."""
