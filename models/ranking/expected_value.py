"""What an hour spent on an account is worth: which plays are prescribed, and what the best of them is expected to save.

A play that answers a reason adds its effect, in log-odds, to the account's own chance of renewing; a play that grows
the account adds it to the chance of that expansion:

    saved = arr x (sigmoid(logit(p) + share x effect) - p)        and nothing once the decision has fallen
    won   = arr x expansion_arr_share x p x (sigmoid(logit(q) + effect) - q)

with p the chance of renewal, q that of the expansion, and `expansion_arr_share` what the expansion brings as a share of
ARR; what is won is kept only if the account renews. An account at 2 % or 98 % gains little, for the curve is flat
there. `share` is how much of what speaks for a loss can be acted on: the weight of the actionable reasons among all
reasons told. Decisions fall so many days before the end (`decided_days`); whatever begins later has no hand in them, as
when a model learns.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import expit, logit

from renewals.features.family import THEMES
from renewals.models.explanation.reasons import REFUSAL_REASONS
from renewals.models.ranking.playbooks import SIZE_BANDS, STAGES, PlaybookEffect, PlaybookLibrary

MAX_PLAYS = 3
"""Plays prescribed at most."""
PLAY_COLUMNS = tuple(f"play_{k}" for k in range(1, MAX_PLAYS + 1))
NO_PLAY = -1
"""Stands for no play; of a table it is the last row."""
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class AvailablePlaybooks:
    """What can be done: the library, what each play is taken to add, and how late a play can save anything."""

    library: PlaybookLibrary
    effects: Mapping[str, PlaybookEffect]
    decided_days: int
    """Decisions have fallen so long before the end."""


def prescribe_playbooks(
    accounts: pd.DataFrame,
    probabilities: pd.DataFrame,
    reasons: pd.DataFrame,
    available: AvailablePlaybooks,
    expansion_threshold: float,
) -> pd.DataFrame:
    """Up to three plays for each account and what they are worth; one row per row of `accounts`.

    `accounts` has stage, size_band, arr, days_to_renewal and renewal_signed; `probabilities` a column per
    target, empty where the account is not scored; `reasons` the reasons' themes, contributions and whether they can be
    acted on; all on one index. The expansion is worth a play from the chance `expansion_threshold` on. `play_k` is a
    place in the library, NONE for none; `best` the one of them that is worth most per hour, `expected_gain` the money
    that it is expected to bring, `hours` what it takes, and `gain_per_hour`: 0 where there is no play or it comes too
    late, empty without a chance of renewal.
    """
    library, effects = available.library, available.effects
    renewal = probabilities["renewal"].to_numpy(np.float64, na_value=np.nan)
    arr = accounts["arr"].fillna(0.0).to_numpy(np.float64)
    takes = np.array([*(play.hours for play in library.plays.values()), 1.0])
    effect = np.array([*(effects[key].log_odds for key in library.plays), 0.0])
    signed = accounts.get("renewal_signed", pd.Series(False, index=accounts.index)).astype("boolean").fillna(False)
    theme, push, can = reason_arrays(reasons)
    theme[np.isnan(renewal) | signed.to_numpy(bool)] = NO_PLAY
    slots = assign_playbooks(theme, can, *stage_and_size(accounts), playbook_table(library, effects))
    risen = add_log_odds(renewal[:, None], effect[slots] * actionable_share(push, can)[:, None]) - renewal[:, None]
    early = (accounts["days_to_renewal"] > available.decided_days).to_numpy(bool)[:, None]
    gains = np.where(np.isnan(risen), np.nan, np.where(early & (slots != NO_PLAY), arr[:, None] * risen, 0.0))
    growing, won = expansion_playbooks(probabilities, renewal * arr, library, effects, expansion_threshold)
    slots, gains = merge_expansion(slots, gains, growing, won, takes)
    best = (gains / takes[slots]).argmax(axis=1) if len(slots) else np.zeros(0, np.int64)
    rows = np.arange(len(slots))
    play, gain = slots[rows, best], gains[rows, best]
    named = dict(zip(PLAY_COLUMNS, slots.T, strict=True)) | {"best": play}
    money = {
        "expected_gain": gain,
        "hours": np.where(play == NO_PLAY, 0.0, takes[play]),
        "gain_per_hour": gain / takes[play],
    }
    return pd.DataFrame(named | money, index=accounts.index)


def add_log_odds(probability: Floats, added: Floats) -> Floats:
    """The chance after so much is added to its log-odds."""
    return np.asarray(expit(logit(probability) + added))


def actionable_share(contributions: Floats, actionable: Flags) -> Floats:
    """The share of what speaks for a loss that can be acted on; 0 where nothing is told; one entry per row."""
    whole = contributions.sum(axis=1)
    return np.divide((contributions * actionable).sum(axis=1), whole, out=np.zeros(len(contributions)), where=whole > 0)


def reason_arrays(reasons: pd.DataFrame) -> tuple[Ints, Floats, Flags]:
    """Of each reason the place of its theme, how much it pushes towards loss, and whether it can be acted on."""
    numbers = range(1, REFUSAL_REASONS + 1)
    themes = [pd.Categorical(reasons[f"reason_{k}_theme"], categories=THEMES).codes for k in numbers]
    pushes = [-reasons[f"reason_{k}_contribution"].fillna(0.0).to_numpy(np.float64) for k in numbers]
    can = [reasons[f"reason_{k}_actionable"].astype("boolean").fillna(False).to_numpy(bool) for k in numbers]
    return np.stack(themes, axis=1).astype(np.int64), np.stack(pushes, axis=1), np.stack(can, axis=1)


def stage_and_size(accounts: pd.DataFrame) -> tuple[Ints, Ints]:
    """The places of each account's stage and size band; NONE where it is not known."""
    stage = pd.Categorical(accounts["stage"], categories=STAGES).codes.astype(np.int64)
    return stage, pd.Categorical(accounts["size_band"], categories=SIZE_BANDS).codes.astype(np.int64)


def playbook_table(library: PlaybookLibrary, effects: Mapping[str, PlaybookEffect]) -> Ints:
    """The plays that answer a theme at a stage and size, the preferred first; themes x stages x sizes x plays.

    NONE fills what is left; the last theme, stage and size stand for unknown. A play that adds nothing is left out.
    """
    table = np.full((len(THEMES) + 1, len(STAGES) + 1, len(SIZE_BANDS) + 1, len(library.plays)), NO_PLAY)
    for t, theme in enumerate(THEMES):
        for s, stage in enumerate(STAGES):
            for b, band in enumerate((*SIZE_BANDS, None)):
                own = [
                    place
                    for place, (key, play) in enumerate(library.plays.items())
                    if theme in play.themes and play.applies_to(stage, band) and effects[key].log_odds > 0
                ]
                table[t, s, b, : len(own)] = own
    most = int((table != NO_PLAY).sum(axis=-1).max())
    return table[..., : max(most, 1)]


def assign_playbooks(theme: Ints, actionable: Flags, stage: Ints, band: Ints, table: Ints) -> Ints:
    """Up to three plays for the reasons that can be acted on, the strongest reason first; rows x slots.

    Each reason is answered by the preferred play that is not prescribed yet.
    """
    plays = np.full((len(theme), MAX_PLAYS), NO_PLAY)
    held = np.zeros(len(theme), np.int64)
    for k in range(theme.shape[1]):
        offered = table[np.where(actionable[:, k], theme[:, k], NO_PLAY), stage, band]
        fresh = (offered != NO_PLAY) & (offered[:, :, None] != plays[:, None, :]).all(axis=2)
        first = fresh.argmax(axis=1)
        rows = np.flatnonzero(fresh.any(axis=1) & (held < MAX_PLAYS))
        plays[rows, held[rows]] = offered[rows, first[rows]]
        held[rows] += 1
    return plays


def expansion_playbooks(
    probabilities: pd.DataFrame,
    renewing_arr: Floats,
    library: PlaybookLibrary,
    effects: Mapping[str, PlaybookEffect],
    expansion_threshold: float,
) -> tuple[Ints, Floats]:
    """The growing play worth most per hour and what it should win, where expansion is likely; one entry per row.

    `renewing_arr` is the revenue that renews on average: what is sold on top of it is lost with it.
    """
    play, won, an_hour = np.full(len(renewing_arr), NO_PLAY), np.zeros(len(renewing_arr)), np.zeros(len(renewing_arr))
    expansion = probabilities.get("expansion", pd.Series(np.nan, index=probabilities.index))
    for place, (key, own) in enumerate(library.plays.items()):
        if own.expansion is None or own.expansion_arr_share is None or own.expansion not in probabilities:
            continue
        chance = probabilities[own.expansion].to_numpy(np.float64, na_value=np.nan)
        gain = (
            renewing_arr
            * own.expansion_arr_share
            * (add_log_odds(chance, np.full(len(renewing_arr), effects[key].log_odds)) - chance)
        )
        better = (expansion >= expansion_threshold).to_numpy(bool) & (gain / own.hours > an_hour)
        play[better], won[better], an_hour[better] = place, gain[better], gain[better] / own.hours
    return play, won


def merge_expansion(
    plays: Ints, gains: Floats, expansion_plays: Ints, expansion_gains: Floats, hours: Floats
) -> tuple[Ints, Floats]:
    """The growing play among the others: first where an hour of it is worth most, else last; both rows x slots."""
    grows = expansion_plays != NO_PLAY
    ahead = grows & (expansion_gains / hours[expansion_plays] > (gains / hours[plays]).max(axis=1, initial=0.0))
    behind = np.flatnonzero(grows & ~ahead)
    last = np.minimum((plays[behind] != NO_PLAY).sum(axis=1), MAX_PLAYS - 1)
    plays, gains = plays.copy(), gains.copy()
    plays[behind, last], gains[behind, last] = expansion_plays[behind], expansion_gains[behind]
    for whole, own in ((plays, expansion_plays), (gains, expansion_gains)):
        whole[ahead] = np.column_stack([own, whole[:, :-1]])[ahead]
    return plays, gains
