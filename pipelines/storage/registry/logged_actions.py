"""Models that read what our people log of what they do: learned before such features were left out, they may not serve.

With one of them a manager who logs an action moves the score of the account (domain M5).
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from renewals.features.old_names import RENAMED_FEATURES
from renewals.features.registry import action_features
from renewals.pipelines.runtime.errors import LoggedActionsError
from renewals.pipelines.storage.artifacts import SCHEMA


def logged_action_features(files: Mapping[str, bytes]) -> list[str]:
    """The names of the features of a model that are logged actions; none where its schema is not there."""
    actions = action_features()
    names = json.loads(files.get(SCHEMA, b"{}")).get("names", ())
    return [name for name in names if RENAMED_FEATURES.get(name, name) in actions]


def reject_logged_actions(target: str, version: str, files: Mapping[str, bytes]) -> None:
    """Raise LoggedActionsError where the model of these files reads logged actions."""
    if read := logged_action_features(files):
        raise LoggedActionsError(
            f"the model of {target}, version {version}, reads logged actions, for example {read[0]} ({len(read)} in "
            f"all), so that logging one moves the score: run `renewals learn --until DATE`, and where the new model "
            f"waits, `renewals promote {target} --version N`"
        )
