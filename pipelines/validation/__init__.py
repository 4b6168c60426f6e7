"""Parts of `check`: one module per kind of rule that the input tables are held to."""
