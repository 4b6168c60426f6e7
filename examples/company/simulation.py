"""The example company as a whole: draw it, and write it down."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from examples.company import contact, growth, states, support, tables, truth
from examples.company.clock import DAY, Flags, Ints, month_starts
from examples.company.customers import EARLIER_MONTHS, draw_customers
from examples.company.journey import Columns, Journey
from examples.company.people import draw_people, person_rows
from examples.company.presence import Presence
from examples.company.product import LIST_RATE, SEAT_PRICE
from examples.company.usage import draw_usage

SEED = 20_230_101
START = date(2023, 1, 1)
AFTERLIFE_MONTHS = 14
"""The company is lived on beyond the extract, so that the truth of what is pending there is known."""

PARTS = ("customers", "temper", "journey", "people", "usage", "tickets", "contact", "surveys", "goals", "growth", "rows")


@dataclass(frozen=True)
class Company:
    """The tables of the data contract, and the truth that no stage may read."""

    tables: dict[str, pa.Table]
    truth: dict[str, pa.Table]
    until: date
    """The day of the extract: nothing in the tables is known after it."""


def simulate(accounts: int = 2_000, months: int = 42, seed: int = SEED, start: date = START) -> Company:
    """The example company from `start` (the first of a month) on; the same arguments give the same tables."""
    if start.day != 1 or months < 1 or accounts < 10:
        raise ValueError(f"need a first of a month, a month and 10 accounts: {start}, {months}, {accounts}")
    streams = np.random.default_rng(seed).spawn(len(PARTS))
    rng = dict(zip(PARTS, streams, strict=True))  # one stream each: a change in one part moves no other
    everything = month_starts(start, 1)[0].astype("datetime64[D]").astype("datetime64[M]") - EARLIER_MONTHS
    calendar = month_starts(everything.astype(object), EARLIER_MONTHS + months + AFTERLIFE_MONTHS + 1)
    window = calendar[EARLIER_MONTHS : EARLIER_MONTHS + months + 1]
    customers = draw_customers(rng["customers"], accounts, months, np.datetime64(start))
    temper = states.draw_temper(rng["temper"], customers.fit)
    journey = Journey(rng["journey"], customers, temper, calendar)
    journey.run()
    journal, history = journey.journal, journey.history[EARLIER_MONTHS : EARLIER_MONTHS + months]
    presence = Presence.of(journal.read("spells"), accounts)
    people = draw_people(rng["people"], customers, temper, journal.read("sponsor_left"), journal.read("seats"))
    extract = tables.Extract(customers, len(people), int(window[-1]))
    events = draw_usage(rng["usage"], customers, people, presence, history, window)
    tickets = support.draw_tickets(rng["tickets"], people, presence, history, window, customers.seats)
    near_end = terms_near_end(journal.read("terms"), window, accounts)
    interventions = within(journal.read("interventions"), window)
    touchpoints = contact.draw_touchpoints(
        rng["contact"], people, presence, history, window, temper, near_end, interventions
    )
    nps = contact.draw_nps(rng["surveys"], people, presence, history, window)
    surveys = contact.survey_columns(rng["surveys"], nps, support.draw_csat(rng["surveys"], tickets))
    goals = contact.draw_goals(rng["goals"], presence, history, window, within(journal.read("goal_reached"), window))
    trials = growth.draw_trials(rng["growth"], customers, within(journal.read("trials"), window))
    first_arr = SEAT_PRICE[customers.plan] / LIST_RATE[customers.currency] * customers.seats
    referrals = growth.draw_referrals(rng["growth"], customers, presence, history, window, first_arr)
    roster = person_rows(rng["people"], people, customers.chinese, int(window[-1]))
    rows = rng["rows"]
    written = {
        "accounts": tables.accounts_table(extract, customers, rows),
        "contracts": tables.contracts_table(extract, journal.read("contracts"), journal.read("cancellations")),
        "usage_events": tables.usage_table(extract, events, people.account, rows),
        "people": tables.people_table(extract, roster, people.account, rows),
        "tickets": tables.tickets_table(extract, tickets),
        "surveys": tables.surveys_table(extract, surveys),
        "touchpoints": tables.touchpoints_table(extract, touchpoints),
        "interventions": tables.interventions_table(extract, interventions, rows),
        "value_goals": tables.goals_table(extract, goals),
        "referrals": tables.referrals_table(extract, referrals),
        "trials": tables.trials_table(extract, trials),
        "rates": tables.rates_table(rows, calendar[: EARLIER_MONTHS + months]),
    }
    known = journey.history[EARLIER_MONTHS : EARLIER_MONTHS + months + 1]
    secrets = {
        "renewals": truth.renewals(journal, extract.accounts, int(window[0]), int(window[-1])),
        "oracle": truth.oracle(journal, extract.accounts, customers, temper, known, window),
    }
    return Company(written, secrets, (np.datetime64(0, "D") + window[-1]).astype(object))


def within(columns: Columns, window: Ints) -> Columns:
    """The rows whose day lies in the window."""
    kept = (columns["day"] >= window[0]) & (columns["day"] < window[-1])
    return {name: values[kept] for name, values in columns.items()}


def terms_near_end(terms: Columns, window: Ints, accounts: int) -> Flags:
    """Months x accounts: whether a term of the account ends soon after the month starts."""
    near = np.zeros((len(window) - 1, accounts), dtype=bool)
    for month, day in enumerate(window[:-1].tolist()):
        left = terms["end"] - day
        near[month, terms["account"][(left > 0) & (left <= contact.BUNCH_DAYS)]] = True
    return near


def write(company: Company, folder: Path | str) -> Path:
    """Write each table as `<folder>/<table>.parquet`, and the truth aside in `<folder>/truth`."""
    folder = Path(folder)
    (folder / "truth").mkdir(parents=True, exist_ok=True)
    for place, group in ((folder, company.tables), (folder / "truth", company.truth)):
        for name, table in group.items():
            pq.write_table(table, place / f"{name}.parquet", compression="zstd", row_group_size=250_000)
    (folder / "truth" / "README.md").write_text(
        truth.README.format(effect=states.INTERVENTION_EFFECT), encoding="utf-8"
    )
    return folder


__all__ = ["DAY", "SEED", "START", "Company", "simulate", "write"]
