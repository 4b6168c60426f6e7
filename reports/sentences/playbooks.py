"""Playbooks as text: rows of their sheet, and a sentence on the interventions since the previous list.

A playbook is a mapping as in `score.json`: as in the library, with the current effect in `log_odds_effect` and the
number of treated observations behind it in `treated`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

import pandas as pd
from scipy.special import expit, logit

from renewals.reports.words import Messages

PlaybookRecord = Mapping[str, Any]
SHEET_COLUMNS = ("name", "answers", "stages", "size_bands", "owner", "hours", "effect", "steps")
"""Columns of the sheet, in reading order."""
TYPICAL_PROBABILITY = 0.7
"""Renewal probability at which an effect is shown, because readers do not think in log-odds."""


def sheet_row(playbook: PlaybookRecord, messages: Messages) -> list[Any]:
    """One playbook as the cells of the sheet, in the order of `SHEET_COLUMNS`."""
    joiner = messages.text("and")
    answers = [messages.value("theme", theme) for theme in playbook["themes"]] or [
        messages.text(f"plays.{playbook['expansion']}")
    ]
    return [
        playbook["name"][messages.language],
        joiner.join(answers),
        joiner.join(messages.value("stage", stage) for stage in playbook["stages"]),
        joiner.join(messages.value("size_band", band) for band in playbook["size_bands"]),
        playbook["owner"][messages.language],
        playbook["hours"],
        effect_text(playbook, messages),
        "\n".join(numbered_steps(playbook, messages)),
    ]


def effect_text(playbook: PlaybookRecord, messages: Messages) -> str:
    """Text on how a playbook changes a typical renewal probability, and whether this effect is measured or assumed."""
    basis = "measured" if playbook["treated"] else "assumed"
    return messages.text(
        f"plays.{basis}",
        then=float(expit(logit(TYPICAL_PROBABILITY) + playbook["log_odds_effect"])),
        treated=playbook["treated"],
    )


def numbered_steps(playbook: PlaybookRecord, messages: Messages) -> list[str]:
    """Steps of a playbook with their numbers."""
    return [f"{number}. {step}" for number, step in enumerate(playbook["steps"][messages.language], start=1)]


def intervention_sentence(previous_day: date, interventions: pd.DataFrame, messages: Messages) -> str:
    """Sentence on the playbooks started for one account since the previous list, with its probabilities then and now.

    It states both probabilities without claiming a cause. `interventions` has one row per playbook started: `playbook`,
    `started_on`, `previous_probability`, `probability`.
    """
    if interventions.empty:
        return messages.text("since.nothing", last=previous_day)
    actions = (
        messages.text("since.begun", playbook=p, started_on=s)
        for p, s in interventions[["playbook", "started_on"]].itertuples(False)
    )
    action_text, first = messages.text("and").join(actions), interventions.iloc[0]
    if first[["previous_probability", "probability"]].isna().any():
        return messages.text("since.not_scored", last=previous_day, begun=action_text)
    return messages.text(
        "since.probability_change",
        last=previous_day,
        begun=action_text,
        previous_probability=first["previous_probability"],
        probability=first["probability"],
    )
