"""Published lists and the archive of the data behind each."""
