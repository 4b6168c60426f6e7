"""Lists that were published, and everything kept behind each."""
