"""How accounts come and bring others: trials before a purchase, and referrals by those who see value (K2, K6, K9)."""

from __future__ import annotations

import numpy as np

from examples.company.clock import DAY, NEVER, Floats, Ints, arrival, within_day
from examples.company.contact import monthly_counts
from examples.company.customers import CHANNELS, Customers
from examples.company.journey import Columns
from examples.company.presence import Presence
from examples.company.states import VALUE

TRIED_FIRST = 0.6
"""Accounts that tried the product before they bought it."""
STARTED, FINISHED = 0.9, 0.75
REFERRALS, REFERRALS_VALUE = 0.006, 0.7
"""Referrals a month that lead to nothing, at an average account; how value moves that (log scale)."""
REWARD_SHARE = 0.10
"""Reward for a referral that was converted, as a share of a year's first price."""


def draw_trials(rng: np.random.Generator, customers: Customers, add_on_trials: Columns) -> Columns:
    """All trials, of the product before it was bought and of add-ons; one row per trial."""
    first = np.flatnonzero(rng.random(len(customers)) < TRIED_FIRST)
    bought = customers.bought[first] - rng.integers(35, 90, len(first))
    account = np.concatenate([first, add_on_trials["account"]])
    requested = within_day(rng, np.concatenate([bought, add_on_trials["day"]]))
    came = np.arange(len(account)) < len(first)
    started = requested + rng.integers(DAY // 24, 6 * DAY, len(account))
    started = np.where(came | (rng.random(len(account)) < STARTED), started, NEVER)
    finished = np.where(started < NEVER, started + rng.integers(5 * DAY, 21 * DAY, len(account)), NEVER)
    finished = np.where(rng.random(len(account)) < FINISHED, finished, NEVER)
    columns = {"account": account, "requested": requested, "started": started, "finished": finished}
    columns["recorded"] = arrival(rng, requested)
    order = np.argsort(requested, kind="stable")
    return {name: values[order] for name, values in columns.items()}


def draw_referrals(
    rng: np.random.Generator,
    customers: Customers,
    presence: Presence,
    history: Floats,
    month_starts: Ints,
    first_arr: Floats,
) -> Columns:
    """All referrals, converted and not; one row per referral. Accounts that see value refer more."""
    sold = np.flatnonzero((customers.channel == CHANNELS.index("referral")) & (customers.bought >= month_starts[1]))
    day = np.maximum(customers.bought[sold] - rng.integers(20, 80, len(sold)), month_starts[0])
    giver = choose_givers(rng, presence, history, month_starts, day)
    rate = REFERRALS * np.exp(REFERRALS_VALUE * history[:, :, VALUE])
    _, idle, idle_day = monthly_counts(rng, rate, presence, month_starts, deciders=True)
    referred = within_day(rng, np.concatenate([day, idle_day]))
    columns = {
        "account": np.concatenate([giver, idle]),
        "other": np.concatenate([sold, np.full(len(idle), -1)]),
        "referred": referred,
        "converted": np.concatenate([customers.bought[sold] * DAY, np.full(len(idle), NEVER)]),
        "reward": np.concatenate([np.round(REWARD_SHARE * first_arr[sold], 2), np.full(len(idle), np.nan)]),
        "recorded": arrival(rng, referred),
    }
    order = np.argsort(referred, kind="stable")
    return {name: values[order] for name, values in columns.items()}


def choose_givers(
    rng: np.random.Generator, presence: Presence, history: Floats, month_starts: Ints, day: Ints
) -> Ints:
    """For each day an account that was a customer the month before, the likelier the more value it saw."""
    present = presence.months(month_starts)
    month = np.searchsorted(month_starts, day, side="right") - 1
    giver = np.zeros(len(day), dtype=np.int64)
    for which in np.unique(month):
        weight = np.exp(REFERRALS_VALUE * history[which, :, VALUE]) * present[max(which - 1, 0)]
        mine = month == which
        giver[mine] = rng.choice(len(weight), int(mine.sum()), p=weight / weight.sum())
    return giver
