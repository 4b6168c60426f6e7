"""Growth: trials before a purchase, and referrals by accounts that see value (K2, K6, K9)."""

from __future__ import annotations

import numpy as np

from renewals.examples.company.clock import DAY, HOUR, NEVER, Floats, Ints, draw_arrival, draw_working_time
from renewals.examples.company.customers import CHANNELS, Customers
from renewals.examples.company.journey import ColumnArrays
from renewals.examples.company.product import SEAT_PRICES
from renewals.examples.company.states import VALUE
from renewals.examples.company.world import World

PRE_PURCHASE_TRIAL_SHARE = 0.6
"""Share of accounts that tried the product before they bought it."""
TRIAL_STARTED_SHARE, TRIAL_FINISHED_SHARE = 0.9, 0.75
MONTHLY_REFERRALS, REFERRAL_VALUE_SLOPE = 0.006, 0.7
"""Unsuccessful referrals a month at an average account; effect of value on them (log scale)."""
REWARD_SHARE = 0.10
"""Reward for a converted referral, as a share of the new account's first annual price."""


def draw_trials(rng: np.random.Generator, world: World) -> ColumnArrays:
    """Draw all trials, of the product before its purchase and of add-ons; one row per trial."""
    add_ons = world.recorded_rows("trials")
    first = np.flatnonzero(rng.random(len(world.customers)) < PRE_PURCHASE_TRIAL_SHARE)
    first_day = world.customers.purchase_day[first] - rng.integers(35, 90, len(first))
    account = np.concatenate([first, add_ons["account"]])
    requested = draw_working_time(rng, np.concatenate([first_day, add_ons["day"]]))
    before_purchase = np.arange(len(account)) < len(first)
    started = requested + rng.integers(HOUR, 6 * DAY, len(account))
    started = np.where(before_purchase | (rng.random(len(account)) < TRIAL_STARTED_SHARE), started, NEVER)
    finished = np.where(started < NEVER, started + rng.integers(5 * DAY, 21 * DAY, len(account)), NEVER)
    finished = np.where(rng.random(len(account)) < TRIAL_FINISHED_SHARE, finished, NEVER)
    columns = {"account": account, "requested": requested, "started": started, "finished": finished}
    columns["recorded"] = draw_arrival(rng, requested)
    order = np.argsort(requested, kind="stable")
    return {name: values[order] for name, values in columns.items()}


def draw_referrals(rng: np.random.Generator, world: World) -> ColumnArrays:
    """Draw all referrals, converted and not; one row per referral. Accounts that see value refer more."""
    customers = world.customers
    late_enough = customers.purchase_day >= world.month_starts[1]
    sold = np.flatnonzero((customers.channel == CHANNELS.index("referral")) & late_enough)
    day = np.maximum(customers.purchase_day[sold] - rng.integers(20, 80, len(sold)), world.first_day)
    rate = MONTHLY_REFERRALS * np.exp(REFERRAL_VALUE_SLOPE * world.history[:, :, VALUE])
    _, idle, idle_day = world.draw_events(rng, rate, deciders=True)
    referred = draw_working_time(rng, np.concatenate([day, idle_day]))
    reward = np.round(REWARD_SHARE * first_year_price(customers, sold), 2)
    columns = {
        "account": np.concatenate([choose_referrers(rng, world, day), idle]),
        "referred_account": np.concatenate([sold, np.full(len(idle), -1)]),
        "referred": referred,
        "converted": np.concatenate([customers.purchase_day[sold] * DAY, np.full(len(idle), NEVER)]),
        "reward": np.concatenate([reward, np.full(len(idle), np.nan)]),
        "recorded": draw_arrival(rng, referred),
    }
    order = np.argsort(referred, kind="stable")
    return {name: values[order] for name, values in columns.items()}


def first_year_price(customers: Customers, account: Ints) -> Floats:
    """Annual price of the core product at the first purchase, in US dollars."""
    return np.asarray(SEAT_PRICES[customers.plan[account]] * customers.seats[account])


def choose_referrers(rng: np.random.Generator, world: World, day: Ints) -> Ints:
    """Draw the referring account of each day among the customers of the month before, weighted by value."""
    present = world.presence.active_months(world.month_starts)
    month = world.month_of(day)
    referrer = np.zeros(len(day), dtype=np.int64)
    for number in np.unique(month):
        weight = np.exp(REFERRAL_VALUE_SLOPE * world.history[number, :, VALUE]) * present[max(number - 1, 0)]
        in_month = month == number
        referrer[in_month] = rng.choice(len(weight), int(in_month.sum()), p=weight / weight.sum())
    return referrer
