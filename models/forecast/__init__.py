"""Revenue forecast of the next four quarters by simulation."""
