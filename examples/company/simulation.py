"""Simulate the example company: draw its hidden world and build its tables."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np
import pyarrow as pa

from renewals.examples.company import contact, growth, support, tables, truth, usage
from renewals.examples.company.customers import EARLIER_MONTHS
from renewals.examples.company.journey import ColumnArrays
from renewals.examples.company.people import person_rows
from renewals.examples.company.tables import Extract
from renewals.examples.company.world import RandomStreams, World, draw_world

SEED = 20_230_101
START = date(2023, 1, 1)

RANDOM_STREAMS = (
    "customers", "temper", "journey", "people", "usage", "tickets", "touchpoints", "surveys", "goals", "growth",
    "roster", "rows", "rates",
)  # fmt: skip
"""Names of the independent streams of random numbers."""


@dataclass(frozen=True)
class Company:
    """The tables of the data contract, and the truth that no stage may read."""

    tables: dict[str, pa.Table]
    truth: dict[str, pa.Table]
    extract_date: date
    """The day of the extract: the tables contain only what was known before it."""


def simulate_company(accounts: int = 2_000, months: int = 42, seed: int = SEED, start: date = START) -> Company:
    """Simulate the example company from `start` (the first day of a month); the same arguments give the same tables.

    Raises `ValueError` if `start` is not the first of a month, or with less than one month or 10 accounts.
    """
    if start.day != 1 or months < 1 or accounts < 10:
        raise ValueError(
            f"start is not the first of a month, or below 1 month or 10 accounts: {start}, {months}, {accounts}"
        )
    rng = dict(zip(RANDOM_STREAMS, np.random.default_rng(seed).spawn(len(RANDOM_STREAMS)), strict=True))
    world = draw_world(rng, accounts, months, np.datetime64(start, "M"))
    extract = Extract(world)
    until = (np.datetime64(0, "D") + world.extract_day).astype(object)
    tickets = support.draw_tickets(rng["tickets"], world)
    requests = contact.draw_nps(rng["surveys"], world), support.draw_csat(rng["surveys"], tickets)
    surveys = contact.survey_columns(rng["surveys"], *requests)
    hidden_tables = {
        table.__name__: table(world, extract.accounts) for table in (truth.renewals, truth.interventions, truth.oracle)
    }
    roster = person_rows(rng["roster"], world.people, world.customers.chinese, world.extract_day)
    hidden_tables["events"] = truth.events(world, extract.accounts, tickets, surveys, roster)
    return Company(build_tables(rng, world, extract, tickets, surveys, roster), hidden_tables, until)


def build_tables(
    rng: RandomStreams,
    world: World,
    extract: Extract,
    tickets: ColumnArrays,
    surveys: ColumnArrays,
    roster: ColumnArrays,
) -> dict[str, pa.Table]:
    """Build every table of the data contract, by name."""
    journal, rows = world.journal, rng["rows"]
    calendar = world.calendar[: EARLIER_MONTHS + world.months]
    return {
        "accounts": tables.accounts_table(extract, world.customers, rows),
        "contracts": tables.contracts_table(extract, journal.read("contracts"), journal.read("cancellations")),
        "usage_events": tables.usage_table(extract, usage.draw_usage(rng["usage"], world), rows),
        "people": tables.people_table(extract, roster, rows),
        "tickets": tables.tickets_table(extract, tickets),
        "surveys": tables.surveys_table(extract, surveys),
        "touchpoints": tables.touchpoints_table(extract, contact.draw_touchpoints(rng["touchpoints"], world)),
        "interventions": tables.interventions_table(extract, world.recorded_rows("interventions"), rows),
        "value_goals": tables.goals_table(extract, contact.draw_goals(rng["goals"], world)),
        "referrals": tables.referrals_table(extract, growth.draw_referrals(rng["growth"], world)),
        "trials": tables.trials_table(extract, growth.draw_trials(rng["growth"], world)),
        "rates": tables.rates_table(rng["rates"], calendar),
    }
