"""Reject models and tables with feature names of an older release."""

from __future__ import annotations

from collections.abc import Iterable

from renewals.features.old_names import old_feature_names
from renewals.pipelines.runtime.errors import OldFeaturesError


def old_features_text(names: Iterable[str]) -> str | None:
    """Phrase for an error message about the old feature names among `names`, with one example; None if there are
    none."""
    old = old_feature_names(names)
    if not old:
        return None
    more = f" and {len(old) - 1} more" if len(old) > 1 else ""
    return f"features of an older release ({old[0]}{more})"


def reject_old_features(names: Iterable[str], subject: str, command: str) -> None:
    """Raise OldFeaturesError if a feature name is old; the message starts with `subject` and names the command to
    run."""
    if text := old_features_text(names):
        raise OldFeaturesError(f"{subject} {text}: run `{command}`")
