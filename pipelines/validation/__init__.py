"""Parts of `check`: one module per kind of data contract rule."""
