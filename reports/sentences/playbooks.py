"""The plays in words: what stands on their sheet, and what was done since the last list.

A play is a mapping as `score.json` holds it: as in the library, with the effect in force under `effect`, and under
`treated` on how many treated observations that stands.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

import pandas as pd
from scipy.special import expit, logit

from renewals.reports.words import Words

Play = Mapping[str, Any]
COLUMNS = ("name", "answers", "stages", "size_bands", "owner", "hours", "effect", "steps")
"""The sheet's columns, in reading order."""
TYPICAL = 0.7
"""The chance of renewal at which an effect is shown: nobody counts in log-odds."""


def row(play: Play, words: Words) -> list[Any]:
    """One play as the cells of the sheet, in the order of `COLUMNS`."""
    joint = words.say("and")
    answers = [words.value("theme", theme) for theme in play["themes"]] or [words.say(f"plays.{play['grows']}")]
    return [
        play["name"][words.language],
        joint.join(answers),
        joint.join(words.value("stage", stage) for stage in play["stages"]),
        joint.join(words.value("size_band", band) for band in play["size_bands"]),
        play["owner"][words.language],
        play["hours"],
        effect(play, words),
        "\n".join(steps(play, words)),
    ]


def effect(play: Play, words: Words) -> str:
    """What a play does to a typical chance, and how that is known."""
    known = "measured" if play["treated"] else "assumed"
    return words.say(f"plays.{known}", then=float(expit(logit(TYPICAL) + play["effect"])), treated=play["treated"])


def steps(play: Play, words: Words) -> list[str]:
    """The steps, numbered."""
    return [f"{number}. {step}" for number, step in enumerate(play["steps"][words.language], start=1)]


def since(last: date, begun: pd.DataFrame, words: Words) -> str:
    """What was done for one account since the last list, and its chances then and now: side by side, no more.

    `begun` has one row per playbook begun: `playbook`, `started`, `then`, `now`.
    """
    if begun.empty:
        return words.say("since.nothing", last=last)
    named = (
        words.say("since.begun", playbook=p, started=s) for p, s in begun[["playbook", "started"]].itertuples(False)
    )
    done, first = words.say("and").join(named), begun.iloc[0]
    if first[["then", "now"]].isna().any():
        return words.say("since.unscored", last=last, begun=done)
    return words.say("since.moved", last=last, begun=done, then=first["then"], now=first["now"])
