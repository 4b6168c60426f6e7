"""Parts of `score` and `publish`: what is compared with earlier lists and earlier models."""
