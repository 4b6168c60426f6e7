"""All that is hidden: the accounts, what becomes of them, and their people. The tables are drawn from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from renewals.examples.company import states
from renewals.examples.company.clock import Flags, Floats, Ints, month_starts
from renewals.examples.company.customers import EARLIER_MONTHS, Customers, draw_customers
from renewals.examples.company.journey import ColumnArrays, Journal, LifecycleSimulation
from renewals.examples.company.people import People, draw_people
from renewals.examples.company.presence import Presence
from renewals.examples.company.states import AccountTraits

POST_EXTRACT_MONTHS = 14
"""The company is lived on beyond the extract, so that the truth of what is pending there is known."""

RandomStreams = Mapping[str, np.random.Generator]
"""A stream of random numbers for each part, so that a change in one part moves no other."""


@dataclass(frozen=True)
class World:
    """The hidden company, and the months for which its records are kept."""

    customers: Customers
    traits: AccountTraits
    journal: Journal
    people: People
    presence: Presence
    calendar: Ints
    """Day numbers of all month starts, those before the records and those after the extract too."""
    full_history: Floats
    """All months x accounts x states."""
    months: int
    """How many months are recorded."""

    @property
    def month_starts(self) -> Ints:
        """Day numbers of the recorded month starts, and of the extract."""
        return self.calendar[EARLIER_MONTHS : EARLIER_MONTHS + self.months + 1]

    @property
    def history(self) -> Floats:
        """Recorded months x accounts x states."""
        return self.full_history[EARLIER_MONTHS : EARLIER_MONTHS + self.months]

    @property
    def first_day(self) -> int:
        """The first recorded day."""
        return int(self.month_starts[0])

    @property
    def extract_day(self) -> int:
        """The day of the extract."""
        return int(self.month_starts[-1])

    def states(self, month: Ints, account: Ints) -> Floats:
        """The states of accounts in recorded months."""
        return np.asarray(self.history[month, account])

    def month_of(self, day: Ints) -> Ints:
        """The recorded month of each day."""
        return np.searchsorted(self.month_starts, day, side="right") - 1

    def recorded_rows(self, table: str) -> ColumnArrays:
        """The journal's rows whose day lies in the recorded months."""
        columns = self.journal.read(table)
        kept = (columns["day"] >= self.first_day) & (columns["day"] < self.extract_day)
        return {name: values[kept] for name, values in columns.items()}

    def draw_events(self, rng: np.random.Generator, rate: Floats, *, deciders: bool) -> tuple[Ints, Ints, Ints]:
        """Month, account and day of what happens at a monthly rate (months x accounts) while the account is there."""
        count = rng.poisson(np.minimum(rate, 25)) * self.presence.active_months(self.month_starts)
        grid = np.divmod(np.arange(count.size), count.shape[1])
        month, account = (np.repeat(place, count.ravel()) for place in grid)
        length = np.diff(self.month_starts)[month]
        day = self.month_starts[month] + (rng.random(len(month)) * length).astype(np.int64)
        kept = rng.random(len(day)) < self.presence.activity_share(account, day, deciders=deciders)
        return month[kept], account[kept], day[kept]

    def near_term_end(self, days: int) -> Flags:
        """Recorded months x accounts: whether a term ends within some days of the start of the month."""
        terms = self.journal.read("terms")
        near = np.zeros(self.history.shape[:2], dtype=bool)
        for month, day in enumerate(self.month_starts[:-1].tolist()):
            left = terms["end"] - day
            near[month, terms["account"][(left > 0) & (left <= days)]] = True
        return near


def draw_world(rng: RandomStreams, accounts: int, months: int, start: np.datetime64) -> World:
    """Draw the accounts, live through all months, and put people on the seats."""
    calendar = month_starts(start - EARLIER_MONTHS, EARLIER_MONTHS + months + POST_EXTRACT_MONTHS + 1)
    customers = draw_customers(rng["customers"], accounts, months, start)
    temper = states.draw_traits(rng["temper"], customers.fit)
    journey = LifecycleSimulation(rng["journey"], customers, temper, calendar)
    journey.run()
    journal = journey.journal
    people = draw_people(rng["people"], customers, temper, journal.read("sponsor_left"), journal.read("seats"))
    presence = Presence.from_spells(journal.read("spells"), accounts)
    return World(customers, temper, journal, people, presence, calendar, journey.history, months)
