"""Check that a registered model may become champion or score accounts."""

from __future__ import annotations

import json
from collections.abc import Mapping

from renewals.pipelines.storage.artifacts import LEARN_COMMAND, SCHEMA
from renewals.pipelines.storage.old_features import reject_old_features
from renewals.pipelines.storage.registry.logged_actions import reject_logged_actions


def reject_unservable_model(target: str, version: str, files: Mapping[str, bytes]) -> None:
    """Raise OldFeaturesError if the model in `files` uses old names of features, LoggedActionsError if it uses logged
    actions."""
    names = json.loads(files.get(SCHEMA, b"{}")).get("names", ())
    model = f"the model of {target}, version {version}, was trained on"
    reject_old_features(names, model, LEARN_COMMAND)
    reject_logged_actions(target, version, files)
