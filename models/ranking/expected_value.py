"""Prescribe playbooks and compute their expected ARR gain per hour.

A playbook that addresses a reason adds its effect, in log-odds, to the account's probability of renewal; an expansion
playbook adds it to the probability of that expansion:

    saved = arr x (sigmoid(logit(p) + share x effect) - p)        zero after the decision
    won   = account_arr x expansion_arr_share x p x (sigmoid(logit(q) + effect) - q)

where p is the probability of renewal, q that of the expansion, and `expansion_arr_share` the ARR of the expansion as a
share of the account's ARR; the expansion is kept only if the account renews. An account at 2 % or 98 % gains little,
because the sigmoid is flat there. `share` is the weight of the actionable reasons among all reasons of the account.
Decisions are made `decided_days` before the end; later interventions do not count, as in training.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import expit, logit

from renewals.features.family import THEMES
from renewals.models.explanation.reasons import REASON_COUNT
from renewals.models.metrics import days_to_decision
from renewals.models.ranking.playbooks import SIZE_BANDS, STAGES, PlaybookEffect, PlaybookLibrary

MAX_PLAYS = 3
"""Maximum number of playbooks prescribed for an account."""
PLAY_COLUMNS = tuple(f"play_{k}" for k in range(1, MAX_PLAYS + 1))
NO_PLAY = -1
"""Position that means no playbook, or unknown; as an index it selects the last row of a table."""
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class AvailablePlaybooks:
    """The playbook library, the effect of each playbook, and the day of decision."""

    library: PlaybookLibrary
    effects: Mapping[str, PlaybookEffect]
    decided_days: int
    """Days before the end of the contract by which the decision has been made."""


def prescribe_playbooks(
    accounts: pd.DataFrame,
    probabilities: pd.DataFrame,
    reasons: pd.DataFrame,
    available: AvailablePlaybooks,
    expansion_threshold: float,
) -> pd.DataFrame:
    """Prescribe up to three playbooks for each account and compute their value; one row per row of `accounts`.

    `accounts` has stage, size_band, arr, account_arr, days_to_renewal (and days_to_decision, R12) and renewal_signed;
    `probabilities` a column per target, missing where the account is not scored; `reasons` the themes, contributions
    and actionable flags of the reasons. All have the same index. An expansion playbook requires an expansion
    probability of at least `expansion_threshold`.

    `play_k` is a position in the library, `NO_PLAY` for none; `best` is the one with the highest gain per hour,
    `expected_gain` its expected gain in money, `hours` its effort, and `gain_per_hour` their ratio. The gain is 0
    without a playbook and for a playbook that comes too late to save a renewal; it is missing without a renewal
    probability.
    """
    library, effects = available.library, available.effects
    renewal = probabilities["renewal"].to_numpy(np.float64, na_value=np.nan)
    arr = accounts["arr"].fillna(0.0).to_numpy(np.float64)
    account_arr = accounts.get("account_arr", accounts["arr"]).fillna(0.0).to_numpy(np.float64)
    hours = np.array([*(play.hours for play in library.plays.values()), 1.0])
    effect = np.array([*(effects[key].log_odds for key in library.plays), 0.0])
    signed = accounts.get("renewal_signed", pd.Series(False, index=accounts.index)).astype("boolean").fillna(False)
    themes, contributions, actionable = reason_arrays(reasons)
    themes[np.isnan(renewal) | signed.to_numpy(bool)] = NO_PLAY
    slots = assign_playbooks(themes, actionable, *stage_and_size(accounts), playbook_table(library, effects))
    probability_gain = (
        add_log_odds(renewal[:, None], effect[slots] * actionable_share(contributions, actionable)[:, None])
        - renewal[:, None]
    )
    in_time = (days_to_decision(accounts) > available.decided_days).to_numpy(bool)[:, None]
    gains = np.where(
        np.isnan(probability_gain), np.nan, np.where(in_time & (slots != NO_PLAY), arr[:, None] * probability_gain, 0.0)
    )
    expansion_plays, expansion_gains = expansion_playbooks(
        probabilities, renewal * account_arr, library, effects, expansion_threshold
    )
    slots, gains = merge_expansion(slots, gains, expansion_plays, expansion_gains, hours)
    best = (gains / hours[slots]).argmax(axis=1) if len(slots) else np.zeros(0, np.int64)
    rows = np.arange(len(slots))
    play, gain = slots[rows, best], gains[rows, best]
    positions = dict(zip(PLAY_COLUMNS, slots.T, strict=True)) | {"best": play}
    money = {
        "expected_gain": gain,
        "hours": np.where(play == NO_PLAY, 0.0, hours[play]),
        "gain_per_hour": gain / hours[play],
    }
    return pd.DataFrame(positions | money, index=accounts.index)


def add_log_odds(probability: Floats, added: Floats) -> Floats:
    """The probability after `added` is added to its log-odds."""
    return np.asarray(expit(logit(probability) + added))


def actionable_share(contributions: Floats, actionable: Flags) -> Floats:
    """Share of the actionable reasons in all contributions towards loss, 0 without reasons; one entry per row."""
    total = contributions.sum(axis=1)
    return np.divide((contributions * actionable).sum(axis=1), total, out=np.zeros(len(contributions)), where=total > 0)


def reason_arrays(reasons: pd.DataFrame) -> tuple[Ints, Floats, Flags]:
    """Position of the theme, contribution towards loss, and actionable flag of each reason; rows x reasons each."""
    numbers = range(1, REASON_COUNT + 1)
    themes = [pd.Categorical(reasons[f"reason_{k}_theme"], categories=THEMES).codes for k in numbers]
    contributions = [-reasons[f"reason_{k}_contribution"].fillna(0.0).to_numpy(np.float64) for k in numbers]
    actionable = [reasons[f"reason_{k}_actionable"].astype("boolean").fillna(False).to_numpy(bool) for k in numbers]
    return np.stack(themes, axis=1).astype(np.int64), np.stack(contributions, axis=1), np.stack(actionable, axis=1)


def stage_and_size(accounts: pd.DataFrame) -> tuple[Ints, Ints]:
    """Positions of each account's stage and size band; `NO_PLAY` if unknown."""
    stage = pd.Categorical(accounts["stage"], categories=STAGES).codes.astype(np.int64)
    return stage, pd.Categorical(accounts["size_band"], categories=SIZE_BANDS).codes.astype(np.int64)


def playbook_table(library: PlaybookLibrary, effects: Mapping[str, PlaybookEffect]) -> Ints:
    """Positions of the playbooks that address a theme at a stage and size; themes x stages x sizes x playbooks.

    The preferred playbook comes first; `NO_PLAY` fills the rest. The last theme, stage and size mean unknown. Playbooks
    without a positive effect are left out.
    """
    table = np.full((len(THEMES) + 1, len(STAGES) + 1, len(SIZE_BANDS) + 1, len(library.plays)), NO_PLAY)
    for t, theme in enumerate(THEMES):
        for s, stage in enumerate(STAGES):
            for b, band in enumerate((*SIZE_BANDS, None)):
                positions = [
                    position
                    for position, (key, play) in enumerate(library.plays.items())
                    if theme in play.themes and play.applies_to(stage, band) and effects[key].log_odds > 0
                ]
                table[t, s, b, : len(positions)] = positions
    slots = int((table != NO_PLAY).sum(axis=-1).max())
    return table[..., : max(slots, 1)]


def assign_playbooks(theme: Ints, actionable: Flags, stage: Ints, band: Ints, table: Ints) -> Ints:
    """Assign up to three playbooks to the actionable reasons, the strongest reason first; rows x slots.

    Each reason gets its most preferred playbook that is not assigned yet.
    """
    plays = np.full((len(theme), MAX_PLAYS), NO_PLAY)
    counts = np.zeros(len(theme), np.int64)
    for k in range(theme.shape[1]):
        candidates = table[np.where(actionable[:, k], theme[:, k], NO_PLAY), stage, band]
        available = (candidates != NO_PLAY) & (candidates[:, :, None] != plays[:, None, :]).all(axis=2)
        first = available.argmax(axis=1)
        rows = np.flatnonzero(available.any(axis=1) & (counts < MAX_PLAYS))
        plays[rows, counts[rows]] = candidates[rows, first[rows]]
        counts[rows] += 1
    return plays


def expansion_playbooks(
    probabilities: pd.DataFrame,
    renewing_arr: Floats,
    library: PlaybookLibrary,
    effects: Mapping[str, PlaybookEffect],
    expansion_threshold: float,
) -> tuple[Ints, Floats]:
    """Expansion playbook with the highest gain per hour and its expected gain, one entry per row.

    Only rows with an expansion probability of at least `expansion_threshold` get one. `renewing_arr` is the expected
    renewed ARR: an expansion is lost if the account does not renew.
    """
    play, won, gain_per_hour = (
        np.full(len(renewing_arr), NO_PLAY),
        np.zeros(len(renewing_arr)),
        np.zeros(len(renewing_arr)),
    )
    expansion = probabilities.get("expansion", pd.Series(np.nan, index=probabilities.index))
    for position, (key, candidate) in enumerate(library.plays.items()):
        if (
            candidate.expansion is None
            or candidate.expansion_arr_share is None
            or candidate.expansion not in probabilities
        ):
            continue
        probability = probabilities[candidate.expansion].to_numpy(np.float64, na_value=np.nan)
        gain = (
            renewing_arr
            * candidate.expansion_arr_share
            * (add_log_odds(probability, np.full(len(renewing_arr), effects[key].log_odds)) - probability)
        )
        better = (expansion >= expansion_threshold).to_numpy(bool) & (gain / candidate.hours > gain_per_hour)
        play[better], won[better], gain_per_hour[better] = position, gain[better], gain[better] / candidate.hours
    return play, won


def merge_expansion(
    plays: Ints, gains: Floats, expansion_plays: Ints, expansion_gains: Floats, hours: Floats
) -> tuple[Ints, Floats]:
    """Insert the expansion playbook into the slots: first if its gain per hour is the highest, else last.

    Returns playbooks and gains; both are rows x slots.
    """
    has_expansion = expansion_plays != NO_PLAY
    goes_first = has_expansion & (
        expansion_gains / hours[expansion_plays] > (gains / hours[plays]).max(axis=1, initial=0.0)
    )
    last_rows = np.flatnonzero(has_expansion & ~goes_first)
    slot = np.minimum((plays[last_rows] != NO_PLAY).sum(axis=1), MAX_PLAYS - 1)
    plays, gains = plays.copy(), gains.copy()
    plays[last_rows, slot], gains[last_rows, slot] = expansion_plays[last_rows], expansion_gains[last_rows]
    for table, expansion in ((plays, expansion_plays), (gains, expansion_gains)):
        table[goes_first] = np.column_stack([expansion, table[:, :-1]])[goes_first]
    return plays, gains
