"""Drift warnings as sentences: what differs from the reference, by how much, and the limit."""

from __future__ import annotations

from renewals.models.evaluation.drift import DriftComparison
from renewals.reports.family_names import family_name
from renewals.reports.words import Messages


def drift_sentence(comparison: DriftComparison, family: str | None, messages: Messages) -> str:
    """Sentence on one drift comparison; `family` is that of the compared feature, None for other comparisons."""
    about = family_name(family, messages) if family else ""
    return messages.text(
        f"drift.{comparison.kind}", name=comparison.name, family=about, difference=comparison.difference,
        limit=comparison.limit, reference=comparison.reference, current=comparison.current,
        accounts=comparison.accounts,
    )  # fmt: skip
