"""The hidden world of the simulation: accounts, their lifecycle and their people. The tables are drawn from it."""

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
"""Months simulated after the extract, so that the truth about pending outcomes is known."""

RandomStreams = Mapping[str, np.random.Generator]
"""One stream of random numbers per part, so that a change in one part does not affect another."""


@dataclass(frozen=True)
class World:
    """The hidden company, and the range of its recorded months."""

    customers: Customers
    traits: AccountTraits
    journal: Journal
    people: People
    presence: Presence
    calendar: Ints
    """Day numbers of all month starts, including those before the records and after the extract."""
    full_history: Floats
    """All months x accounts x states."""
    months: int
    """Number of recorded months."""

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
        """States of accounts in recorded months."""
        return np.asarray(self.history[month, account])

    def month_of(self, day: Ints) -> Ints:
        """Recorded month of each day."""
        return np.searchsorted(self.month_starts, day, side="right") - 1

    def recorded_rows(self, table: str) -> ColumnArrays:
        """Rows of the journal with a day in the recorded months."""
        columns = self.journal.read(table)
        recorded = (columns["day"] >= self.first_day) & (columns["day"] < self.extract_day)
        return {name: values[recorded] for name, values in columns.items()}

    def draw_events(self, rng: np.random.Generator, rate: Floats, *, deciders: bool) -> tuple[Ints, Ints, Ints]:
        """Draw month, account and day of events at a monthly rate (months x accounts), on days as a customer."""
        count = rng.poisson(np.minimum(rate, 25)) * self.presence.active_months(self.month_starts)
        grid = np.divmod(np.arange(count.size), count.shape[1])
        month, account = (np.repeat(index, count.ravel()) for index in grid)
        length = np.diff(self.month_starts)[month]
        day = self.month_starts[month] + (rng.random(len(month)) * length).astype(np.int64)
        takes_place = rng.random(len(day)) < self.presence.activity_share(account, day, deciders=deciders)
        return month[takes_place], account[takes_place], day[takes_place]

    def near_term_end(self, days: int) -> Flags:
        """Recorded months x accounts: flag of a term that ends within `days` of the start of the month."""
        terms = self.journal.read("terms")
        near = np.zeros(self.history.shape[:2], dtype=bool)
        for month, day in enumerate(self.month_starts[:-1].tolist()):
            left = terms["end"] - day
            near[month, terms["account"][(left > 0) & (left <= days)]] = True
        return near


def draw_world(rng: RandomStreams, accounts: int, months: int, start: np.datetime64) -> World:
    """Draw the accounts, simulate all months, and draw the people."""
    calendar = month_starts(start - EARLIER_MONTHS, EARLIER_MONTHS + months + POST_EXTRACT_MONTHS + 1)
    customers = draw_customers(rng["customers"], accounts, months, start)
    traits = states.draw_traits(rng["temper"], customers.fit)
    journey = LifecycleSimulation(rng["journey"], customers, traits, calendar)
    journey.run()
    journal = journey.journal
    people = draw_people(rng["people"], customers, traits, journal.read("sponsor_left"), journal.read("seats"))
    presence = Presence.from_spells(journal.read("spells"), accounts)
    return World(customers, traits, journal, people, presence, calendar, journey.history, months)
