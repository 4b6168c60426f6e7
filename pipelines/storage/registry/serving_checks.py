"""Check that a registered model may serve."""

from __future__ import annotations

import json
from collections.abc import Mapping

from renewals.pipelines.storage.artifacts import LEARN_COMMAND, SCHEMA
from renewals.pipelines.storage.old_features import reject_old_features
from renewals.pipelines.storage.registry.logged_actions import reject_logged_actions


def reject_unservable_model(target: str, version: str, files: Mapping[str, bytes]) -> None:
    """Raise OldFeaturesError where the model of these files reads features under old names, and LoggedActionsError
    where it reads logged actions."""
    names = json.loads(files.get(SCHEMA, b"{}")).get("names", ())
    model = f"the model of {target}, version {version}, was trained on"
    reject_old_features(names, model, LEARN_COMMAND)
    reject_logged_actions(target, version, files)
