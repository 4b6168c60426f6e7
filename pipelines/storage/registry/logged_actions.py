"""Rejection of models that use features of logged actions, trained before such features were excluded.

With such a model, a manager who logs an action changes the score of the account (domain M5).
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from renewals.features.old_names import RENAMED_FEATURES
from renewals.features.registry import action_features
from renewals.pipelines.runtime.errors import LoggedActionsError
from renewals.pipelines.storage.artifacts import SCHEMA


def logged_action_features(files: Mapping[str, bytes]) -> list[str]:
    """Names of the features of a model that are logged actions; empty if the model has no schema."""
    actions = action_features()
    names = json.loads(files.get(SCHEMA, b"{}")).get("names", ())
    return [name for name in names if RENAMED_FEATURES.get(name, name) in actions]


def reject_logged_actions(target: str, version: str, files: Mapping[str, bytes]) -> None:
    """Raise LoggedActionsError if the model in `files` uses features of logged actions."""
    if used := logged_action_features(files):
        raise LoggedActionsError(
            f"the model of {target}, version {version}, reads logged actions, for example {used[0]} ({len(used)} in "
            "all), so that logging one changes the score: run `renewals learn --until DATE`, and if the new model "
            f"waits as challenger, `renewals promote {target} --version N`"
        )
