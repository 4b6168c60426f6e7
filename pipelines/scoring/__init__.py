"""Parts of the stages `score` and `publish`: comparisons with earlier lists and with earlier models."""
