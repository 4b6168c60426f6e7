"""When an account is there at all: its stretches as a customer, and how use dies down once it has decided to leave."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from renewals.examples.company.clock import NEVER_DAY, Flags, Floats, Ints
from renewals.examples.company.journey import ColumnArrays

STAFF_FADE_DAYS, DECIDER_FADE_DAYS = 60.0, 25.0
"""Days in which use falls to a third once the loss is decided: staff still log in for a while (S2)."""
STAFF_FLOOR = 0.15
"""Share of the staff's use that goes on until the very end."""


@dataclass(frozen=True)
class Presence:
    """Up to some stretches per account; accounts x stretches."""

    start: Ints
    end: Ints
    loss_day: Ints
    """Day on which the loss was decided."""

    @classmethod
    def from_spells(cls, spells: ColumnArrays, accounts: int) -> Presence:
        """From the journal's spells."""
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
        """How much of its usual life the account shows on a day: 1 as a customer, less once it leaves, then 0."""
        shown = np.zeros(len(account))
        for nth in range(self.start.shape[1]):
            here = (self.start[account, nth] <= day) & (day < self.end[account, nth])
            since = np.maximum(day - self.loss_day[account, nth], 0)
            fading = np.exp(-since / (DECIDER_FADE_DAYS if deciders else STAFF_FADE_DAYS))
            floor = 0.0 if deciders else STAFF_FLOOR
            shown = np.where(here, floor + (1 - floor) * fading, shown)
        return shown

    def is_customer(self, account: Ints, day: Ints) -> Flags:
        """Whether the account is a customer on a day."""
        return self.activity_share(account, day, deciders=False) > 0

    def active_months(self, month_starts: Ints) -> Flags:
        """Months x accounts: whether the account is a customer on any day of the month."""
        first, last = month_starts[:-1, None], month_starts[1:, None]
        present = np.zeros((len(first), len(self.start)), dtype=bool)
        for nth in range(self.start.shape[1]):
            present |= (self.start[:, nth] < last) & (self.end[:, nth] > first)
        return present

    def spell_start(self, account: Ints, day: Ints) -> Ints:
        """The day on which the stretch that a day lies in began (far away where it lies in none)."""
        begun = np.full(len(account), NEVER_DAY)
        for nth in range(self.start.shape[1]):
            inside = (self.start[account, nth] <= day) & (day < self.end[account, nth])
            begun = np.where(inside, self.start[account, nth], begun)
        return begun
