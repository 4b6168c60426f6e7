"""The accounts as they are sold: attributes visible to a salesperson, and the hidden fit (C1, C2)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from renewals.examples.company.clock import Flags, Floats, Ints
from renewals.examples.company.names import draw_names
from renewals.examples.company.product import CURRENCIES

INDUSTRIES = ("software", "finance", "manufacturing", "retail", "logistics", "education", "healthcare", "media")
INDUSTRY_SHARE = np.array([0.20, 0.13, 0.17, 0.15, 0.12, 0.08, 0.08, 0.07])
INDUSTRY_FIT = np.array([0.45, 0.35, 0.20, -0.30, 0.10, -0.55, 0.00, -0.60])
REGIONS = ("north_america", "europe", "china", "asia_pacific")
REGION_SHARE = np.array([0.36, 0.27, 0.25, 0.12])
REGION_FIT = np.array([0.10, 0.05, 0.00, -0.30])
CHANNELS = ("direct", "partner", "inbound", "referral", "event")
CHANNEL_SHARE = np.array([0.33, 0.22, 0.27, 0.10, 0.08])
CHANNEL_FIT = np.array([0.10, -0.45, 0.10, 0.45, -0.20])
PLAN_FIT = np.array([-0.25, 0.05, 0.20])
HIDDEN_FIT_SD = 0.28
"""Standard deviation of the part of fit that is not visible in any column."""

EARLIER_SHARE, EARLIER_MONTHS = 0.60, 24
"""Share of the accounts that bought before the records begin, and the maximum number of months before."""
LAST_SALE_MONTHS = 2
"""Months before the extract in which no new account is sold."""
PARENT_SHARE = 0.03
ACCOUNTS_PER_MANAGER = 45

CURRENCY_OF_REGION = np.array([0, 1, 2, 0])
EUROPE_DOLLAR_SHARE = 0.2
"""Share of the European accounts that pay in US dollars."""


@dataclass(frozen=True)
class Customers:
    """One entry per account, in the order of the account numbers."""

    purchase_day: Ints
    """Day on which the first term starts."""
    industry: Ints
    region: Ints
    channel: Ints
    plan: Ints
    """Plan of the first purchase."""
    employees: Ints
    seats: Ints
    """Seats of the first purchase."""
    currency: Ints
    manager: Ints
    parent: Ints
    """Account number of the parent company, -1 for none."""
    fit: Floats
    """Hidden state: fit of the account to the product; mean 0, standard deviation about 1, constant."""
    name: list[str]

    def __len__(self) -> int:
        return len(self.purchase_day)

    @property
    def chinese(self) -> Flags:
        """Flag of the accounts that use the Chinese calendar."""
        return self.region == REGIONS.index("china")


def draw_customers(rng: np.random.Generator, accounts: int, months: int, start: np.datetime64) -> Customers:
    """Draw the accounts; the fit depends partly on the attributes visible at the sale."""
    purchase_day = draw_purchase_days(rng, accounts, months, start)
    industry = rng.choice(len(INDUSTRIES), accounts, p=INDUSTRY_SHARE)
    region = rng.choice(len(REGIONS), accounts, p=REGION_SHARE)
    channel = rng.choice(len(CHANNELS), accounts, p=CHANNEL_SHARE)
    employees = np.clip(np.round(rng.lognormal(4.6, 1.2, accounts)), 5, 20_000).astype(np.int64)
    scale = (np.log(employees) - 4.6) / 1.2
    plan = np.clip(np.round(0.8 + 0.45 * scale + rng.normal(0, 0.6, accounts)), 0, 2).astype(np.int64)
    seats = np.clip(np.round(np.exp(1.70 + 0.55 * scale + rng.normal(0, 0.40, accounts))), 3, 150).astype(np.int64)
    visible_fit = INDUSTRY_FIT[industry] + REGION_FIT[region] + CHANNEL_FIT[channel] + PLAN_FIT[plan] + 0.10 * scale
    fit = (visible_fit - visible_fit.mean()) / 0.80 + rng.normal(0, HIDDEN_FIT_SD, accounts)
    return Customers(
        purchase_day=purchase_day,
        industry=industry,
        region=region,
        channel=channel,
        plan=plan,
        employees=employees,
        seats=seats,
        currency=draw_currency(rng, region),
        manager=rng.integers(0, max(3, accounts // ACCOUNTS_PER_MANAGER), accounts),
        parent=draw_parents(rng, accounts),
        fit=fit,
        name=draw_names(rng, region == REGIONS.index("china")),
    )


def draw_purchase_days(rng: np.random.Generator, accounts: int, months: int, start: np.datetime64) -> Ints:
    """Draw the days of the first purchases, some before the records begin in the month `start`."""
    edges = start + np.array([-EARLIER_MONTHS, 0, months - LAST_SALE_MONTHS])
    before, first, until = edges.astype("datetime64[D]").astype(np.int64).tolist()
    earlier = rng.random(accounts) < EARLIER_SHARE
    share = np.where(earlier, rng.random(accounts) ** 0.8, rng.random(accounts))
    day = np.where(earlier, before + share * (first - before), first + share * (until - first)).astype(np.int64)
    return np.sort(day)


def draw_currency(rng: np.random.Generator, region: Ints) -> Ints:
    """Draw the index in `CURRENCIES` of each account's currency."""
    currency = CURRENCY_OF_REGION[region]
    in_dollars = (rng.random(len(region)) < EUROPE_DOLLAR_SHARE) & (currency == CURRENCIES.index("EUR"))
    return np.where(in_dollars, CURRENCIES.index("USD"), currency)


def draw_parents(rng: np.random.Generator, accounts: int) -> Ints:
    """Draw an older account as the parent of a few accounts; a parent has no parent itself."""
    has_parent = rng.random(accounts) < PARENT_SHARE
    parent = (rng.random(accounts) * np.arange(accounts)).astype(np.int64)
    has_parent &= ~has_parent[parent] & (np.arange(accounts) > 0)
    return np.where(has_parent, parent, -1)
