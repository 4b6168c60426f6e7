"""One module per command of `renewals`, with the name of the command."""
