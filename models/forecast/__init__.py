"""Revenue of the quarters ahead by simulation."""
