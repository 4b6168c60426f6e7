"""Names of feature families for readers."""

from __future__ import annotations

from renewals.features.registry import FAMILIES
from renewals.reports.words import Messages


def family_name(family: str, messages: Messages) -> str:
    """Name of a feature family in the language of the messages; features in no family have the family `other`."""
    known = FAMILIES.get(family)
    return messages.value("family", family) if known is None else str(getattr(known, messages.language))
