"""Feature families, one module each: it holds a `Family` under its own name, which is listed in `params.yaml`."""

ORDER = (
    "commitment",
    "usage",
    "adoption",
    "stakeholders",
    "contact",
    "tickets",
    "sentiment",
    "value",
    "fit",
    "advocacy",
    "care",
)
"""The order of the families where `params.yaml` gives none; a family that is not named here follows, by name.

LightGBM draws features by their position, so another order of columns is another model.
"""
