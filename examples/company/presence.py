"""Presence of an account: its spells as a customer, and the decline of use after the decision to leave."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from renewals.examples.company.clock import NEVER_DAY, Flags, Floats, Ints
from renewals.examples.company.journey import ColumnArrays

STAFF_FADE_DAYS, DECIDER_FADE_DAYS = 60.0, 25.0
"""Days in which use falls to a third after the decision to leave: staff continue to log in for a while (S2)."""
STAFF_FLOOR = 0.15
"""Share of the staff's use that continues until the end."""


@dataclass(frozen=True)
class Presence:
    """Customer spells; accounts x spells."""

    start: Ints
    end: Ints
    loss_day: Ints
    """Day of the decision to leave."""

    @classmethod
    def from_spells(cls, spells: ColumnArrays, accounts: int) -> Presence:
        """Build from the `spells` rows of the journal."""
        order = np.lexsort((spells["start"], spells["account"]))
        account = spells["account"][order]
        nth = np.arange(len(account)) - np.searchsorted(account, account)
        shape = (accounts, int(nth.max()) + 1)
        columns = []
        for name in ("start", "end", "lost"):
            table = np.full(shape, NEVER_DAY)
            table[account, nth] = spells[name][order]
            columns.append(table)
        return cls(*columns)

    def activity_share(self, account: Ints, day: Ints, *, deciders: bool) -> Floats:
        """Share of normal use on a day: 1 for a customer, less after the decision to leave, then 0."""
        share = np.zeros(len(account))
        for nth in range(self.start.shape[1]):
            in_spell = (self.start[account, nth] <= day) & (day < self.end[account, nth])
            since = np.maximum(day - self.loss_day[account, nth], 0)
            fading = np.exp(-since / (DECIDER_FADE_DAYS if deciders else STAFF_FADE_DAYS))
            floor = 0.0 if deciders else STAFF_FLOOR
            share = np.where(in_spell, floor + (1 - floor) * fading, share)
        return share

    def is_customer(self, account: Ints, day: Ints) -> Flags:
        """Flag of the accounts that are customers on a day."""
        return self.activity_share(account, day, deciders=False) > 0

    def active_months(self, month_starts: Ints) -> Flags:
        """Months x accounts: flag of the months in which the account is a customer on any day."""
        first, last = month_starts[:-1, None], month_starts[1:, None]
        present = np.zeros((len(first), len(self.start)), dtype=bool)
        for nth in range(self.start.shape[1]):
            present |= (self.start[:, nth] < last) & (self.end[:, nth] > first)
        return present

    def spell_start(self, account: Ints, day: Ints) -> Ints:
        """First day of the spell that contains a day (`NEVER_DAY` if there is none)."""
        first_day = np.full(len(account), NEVER_DAY)
        for nth in range(self.start.shape[1]):
            inside = (self.start[account, nth] <= day) & (day < self.end[account, nth])
            first_day = np.where(inside, self.start[account, nth], first_day)
        return first_day
