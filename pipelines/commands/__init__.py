"""One module per command of `renewals`, named as the command."""
