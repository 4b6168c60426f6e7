"""How accounts come and bring others: trials before a purchase, and referrals by those who see value (K2, K6, K9)."""

from __future__ import annotations

import numpy as np

from renewals.examples.company.clock import DAY, HOUR, NEVER, Floats, Ints, arrival, within_day
from renewals.examples.company.customers import CHANNELS, Customers
from renewals.examples.company.journey import Columns
from renewals.examples.company.product import SEAT_PRICE
from renewals.examples.company.states import VALUE
from renewals.examples.company.world import World

TRIED_FIRST = 0.6
"""Accounts that tried the product before they bought it."""
STARTED, FINISHED = 0.9, 0.75
REFERRALS, REFERRALS_VALUE = 0.006, 0.7
"""Referrals a month that lead to nothing, at an average account; how value moves that (log scale)."""
REWARD_SHARE = 0.10
"""Reward for a referral that was converted, as a share of what the new account first pays a year."""


def draw_trials(rng: np.random.Generator, world: World) -> Columns:
    """All trials, of the product before it was bought and of add-ons; one row per trial."""
    add_ons = world.recorded("trials")
    first = np.flatnonzero(rng.random(len(world.customers)) < TRIED_FIRST)
    bought = world.customers.bought[first] - rng.integers(35, 90, len(first))
    account = np.concatenate([first, add_ons["account"]])
    requested = within_day(rng, np.concatenate([bought, add_ons["day"]]))
    came = np.arange(len(account)) < len(first)
    started = requested + rng.integers(HOUR, 6 * DAY, len(account))
    started = np.where(came | (rng.random(len(account)) < STARTED), started, NEVER)
    finished = np.where(started < NEVER, started + rng.integers(5 * DAY, 21 * DAY, len(account)), NEVER)
    finished = np.where(rng.random(len(account)) < FINISHED, finished, NEVER)
    columns = {"account": account, "requested": requested, "started": started, "finished": finished}
    columns["recorded"] = arrival(rng, requested)
    order = np.argsort(requested, kind="stable")
    return {name: values[order] for name, values in columns.items()}


def draw_referrals(rng: np.random.Generator, world: World) -> Columns:
    """All referrals, converted and not; one row per referral. Accounts that see value refer more."""
    customers = world.customers
    late_enough = customers.bought >= world.month_starts[1]
    sold = np.flatnonzero((customers.channel == CHANNELS.index("referral")) & late_enough)
    day = np.maximum(customers.bought[sold] - rng.integers(20, 80, len(sold)), world.first_day)
    rate = REFERRALS * np.exp(REFERRALS_VALUE * world.history[:, :, VALUE])
    _, idle, idle_day = world.happenings(rng, rate, deciders=True)
    referred = within_day(rng, np.concatenate([day, idle_day]))
    reward = np.round(REWARD_SHARE * first_price(customers, sold), 2)
    columns = {
        "account": np.concatenate([choose_givers(rng, world, day), idle]),
        "other": np.concatenate([sold, np.full(len(idle), -1)]),
        "referred": referred,
        "converted": np.concatenate([customers.bought[sold] * DAY, np.full(len(idle), NEVER)]),
        "reward": np.concatenate([reward, np.full(len(idle), np.nan)]),
        "recorded": arrival(rng, referred),
    }
    order = np.argsort(referred, kind="stable")
    return {name: values[order] for name, values in columns.items()}


def first_price(customers: Customers, account: Ints) -> Floats:
    """What accounts first paid a year for the core product, in US dollars."""
    return np.asarray(SEAT_PRICE[customers.plan[account]] * customers.seats[account])


def choose_givers(rng: np.random.Generator, world: World, day: Ints) -> Ints:
    """For each day an account that was a customer the month before, the likelier the more value it saw."""
    present = world.presence.months(world.month_starts)
    month = world.month_of(day)
    giver = np.zeros(len(day), dtype=np.int64)
    for which in np.unique(month):
        weight = np.exp(REFERRALS_VALUE * world.history[which, :, VALUE]) * present[max(which - 1, 0)]
        mine = month == which
        giver[mine] = rng.choice(len(weight), int(mine.sum()), p=weight / weight.sum())
    return giver
