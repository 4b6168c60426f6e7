"""A warning of drift in words: what is other than it was, by how much, and from where on that is much."""

from __future__ import annotations

from renewals.models.evaluation.drift import DriftComparison
from renewals.reports.words import Messages


def drift_sentence(comparison: DriftComparison, family: str | None, messages: Messages) -> str:
    """What is said of one look; `family` is that of the feature looked at, where it is one."""
    about = messages.value("family", family) if family else ""
    return messages.text(
        f"drift.{comparison.kind}", name=comparison.name, family=about, difference=comparison.difference,
        limit=comparison.limit, reference=comparison.reference, current=comparison.current,
        accounts=comparison.accounts,
    )  # fmt: skip
