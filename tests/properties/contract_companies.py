"""Random small companies as plain rows, for property tests of a contract ledger.

A company is built from deals: what one account buys of one product, term after term (a first term, then renewals on
time, early or late, a loss, a return). Traits are then applied to the deals: versions, mergers, ramps, payments and so
on. Days fall on the limits of the rules more often than chance would have it (domain R1, R2 and R10: 3 and 4 days, 60
and 61, 90 and 91, half of a term, ends of months, the leap day). Everything follows from the seed alone.
"""

from __future__ import annotations

import random
from calendar import monthrange
from collections.abc import Callable, Iterable
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

Row = dict[str, Any]
Tables = dict[str, list[Row]]
Deal = list[Row]
Length = tuple[int, int]
"""Months and days, added in that order."""

FIRST_DAY, LAST_START = datetime(2021, 1, 1), datetime(2025, 12, 31)
"""The first and the last day on which a contract starts."""
TOLD_UNTIL = datetime(2026, 6, 1)
"""Every row is known, and every fact in it has happened, before this day. Ends of terms may lie after it."""
MOST_ACCOUNTS, MOST_CONTRACTS = 4, 10

ACCOUNT_COLUMNS = (
    *("account_id", "account_name", "industry", "region", "employee_count", "channel", "parent_account_id", "csm"),
    *("created_at", "recorded_at", "valid_from", "merged_into_account_id", "merged_at", "deleted_at", "sales_owner"),
)
CONTRACT_COLUMNS = (
    *("contract_id", "account_id", "product", "plan", "start_date", "end_date", "arr", "currency", "seats"),
    *("signed_at", "paid_at", "cancelled_at", "auto_renew", "recorded_at", "valid_from", "subscription_id", "order_id"),
    *("replaces_contract_id", "kind", "notice_days", "notice_given_at", "deleted_at", "loss_reason", "lost_to"),
    *("loss_recorded_at", "sold_by", "go_live_at"),
)
RATE_COLUMNS = ("currency", "date", "rate")
FACTS = ("paid_at", "cancelled_at", "notice_given_at", "deleted_at", "loss_recorded_at", "go_live_at")
"""Columns of a contract that tell what happened, mostly after the row became known."""
NO_SUBSCRIPTION = ("trial", "pilot", "pause", "one_off")

RATES = {"EUR": 1.25, "CNY": 0.14}
"""US dollars, the reporting currency, for one unit. Without a currency a contract is in the reporting currency."""
FIRST_RATE = datetime(2020, 9, 1)
"""Before the first signature."""

AMOUNTS = (99998, 120000, 120000, 500000, 500000, 1999998, 2000000, 2000002, 4800000, 10000000, 12345678, 1234567)
"""ARR in cents: around the limits of the size bands, one of them odd."""
SEATS = (None, None, 6, 10, 10, 12, 20, 50, 100, 7)
LENGTHS: tuple[Length, ...] = (
    *((12, 0), (12, 0), (12, 0), (12, 0), (12, 0), (12, 0), (24, 0), (36, 0), (6, 0), (3, 0)),
    *((0, 365), (0, 366), (0, 90), (0, 91), (12, -1)),
)
EDGE_DAYS = tuple(
    datetime(*day)
    for day in ((2021, 1, 1), (2023, 2, 28), (2023, 3, 1), (2023, 12, 31), (2024, 1, 1), (2024, 2, 29), (2024, 3, 1))
)
SIGNED = (-90, -60, -30, -30, -14, -7, -1, 0, 0, 3)
PAID = (-10, 0, 0, 15, 30, 59, 60, 61, 89, 90, 90, 91, 91, 120, None, None)
PRICE_RISES = (0.03, 0.05, 0.07, 0.07, 0.10, 0.12)


@dataclass(frozen=True)
class Company:
    """Rows of `contracts`, `accounts` and `rates`, and the names of the traits that they show."""

    tables: Tables
    traits: frozenset[str]
    renamed_products: dict[str, str] = field(default_factory=dict)
    """From the old name of a product to its present name: the map that the company configures."""


@dataclass(frozen=True)
class IdMaps:
    """From the ids before `relabel` to those after it."""

    contracts: dict[str, str]
    accounts: dict[str, str]
    subscriptions: dict[str, str]
    orders: dict[str, str]


# -- days and amounts -------------------------------------------------------------------------------------------------


def days(count: float) -> timedelta:
    return timedelta(days=count)


def midnight(instant: datetime) -> datetime:
    return datetime(instant.year, instant.month, instant.day)


def add_months(day: datetime, months: int) -> datetime:
    """The same day of a later month, or that month's last day where it is shorter."""
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    return day.replace(year=year, month=month + 1, day=min(day.day, monthrange(year, month + 1)[1]))


def end_of_term(start: datetime, length: Length) -> datetime:
    return add_months(start, length[0]) + days(length[1])


def day_month_closes(day: datetime) -> datetime:
    """First day on which the month of `day` is final (domain R9): the grace after its last day has passed."""
    return add_months(day.replace(day=1), 1) + days(60)


def cents_of(row: Row) -> int:
    return round(row["arr"] * 100)


def even(amount: float) -> int:
    return 2 * round(amount / 2)


def known_at(contract: Row) -> datetime:
    """Known time of one row of `contracts`: the later of record and signature, or the start where it has neither."""
    given = [contract[column] for column in ("recorded_at", "signed_at") if contract[column] is not None]
    return max(given, default=contract["start_date"])


def term_days(row: Row) -> int:
    return (row["end_date"] - row["start_date"]).days if row["end_date"] else 400


# -- building a company -----------------------------------------------------------------------------------------------


class Draft:
    """Deals of one company and the means to change them. Ids carry no prefix until `finish`."""

    def __init__(self, seed: int) -> None:
        self.seed, self.pick = seed, random.Random(seed)
        plain = self.chance(0.05)
        self.wanted = [trait for trait, share in WANTED.items() if self.chance(share) and not plain]
        fewest = 3 if self.wants("mergers") else 2 if any(self.wants(trait) for trait in ACROSS_ACCOUNTS) else 1
        self.accounts = [f"a{n + 1}" for n in range(self.pick.randint(fewest, MOST_ACCOUNTS))]
        self.merged: dict[str, tuple[str, datetime, datetime | None]] = {}
        """From an account to its heir, the day of the merger and the day it was recorded (None: the same day)."""
        self.rows: list[Row] = []
        self.deals: list[Deal] = []
        self.lengths: dict[str, Length] = {}
        self.unmarked: set[str] = set()
        """Contracts that follow others without saying so: they get no id that ties them to the old one."""
        self.ramped: set[str] = set()
        """Steps of ramps: their day of signature and their ids stay."""
        self.renamed: dict[str, str] = {}
        self.last_contract = self.last_order = self.last_subscription = 0
        self.home = self.pick.choice([None, None, "USD"])
        self.foreign = self.wants("moving_rates") or self.wants("amendment_in_other_currency") or self.chance(0.1)
        self.signing = self.pick.choice(["all", "all", "all", "some", "none"])
        self.recording = self.pick.choice(["none", "none", "all"])
        self.kind = self.pick.choice([None, None, "subscription"])
        self.with_times = self.chance(0.5)

    def wants(self, trait: str) -> bool:
        return trait in self.wanted

    def chance(self, share: float) -> bool:
        return self.pick.random() < share

    def room(self) -> int:
        """How many more contracts fit."""
        return MOST_CONTRACTS - len({row["contract_id"] for row in self.rows})

    # Days

    def clock(self, day: datetime) -> datetime:
        """A time of that day, midnight in most cases."""
        if not self.with_times or self.chance(0.5):
            return day
        return day + self.pick.choice([timedelta(hours=9, minutes=30), timedelta(days=1, microseconds=-1)])

    def start_day(self, first: datetime = FIRST_DAY, last: datetime = datetime(2024, 6, 30)) -> datetime:
        day = first + days(self.pick.randint(0, max(0, (last - first).days)))
        where = self.pick.random()
        if where < 0.3:
            day = day.replace(day=1)
        elif where < 0.45:
            day = add_months(day.replace(day=1), 1) - days(1)
        elif where < 0.55:
            day = self.pick.choice(EDGE_DAYS)
        return min(max(day, first), max(first, last))

    def day_inside(self, row: Row, low: float = 0.15, high: float = 0.85) -> datetime:
        """A day in the middle of a term, often the first of a month."""
        length = term_days(row)
        day = row["start_date"] + days(max(1, int(length * self.pick.uniform(low, high))))
        first = day.replace(day=1)
        return first if first > row["start_date"] and self.chance(0.3) else day

    # Contracts

    def add(
        self,
        account: str,
        product: str,
        start: datetime,
        length: Length | datetime | None,
        cents: int,
        seats: int | None,
        **more: Any,
    ) -> Row | None:
        """Add a contract; None where there is no room or the start is outside the history."""
        if not self.room() or not FIRST_DAY <= start <= LAST_START:
            return None
        end = end_of_term(start, length) if isinstance(length, tuple) else length
        if end is not None and end <= start:
            return None
        self.last_contract += 1
        name = f"c{self.last_contract}"
        self.lengths[name] = length if isinstance(length, tuple) else (12, 0)
        row: Row = dict.fromkeys(CONTRACT_COLUMNS)
        row |= {"contract_id": name, "account_id": account, "product": product, "plan": "basic", "kind": self.kind}
        row |= {"start_date": start, "end_date": end, "arr": cents / 100, "currency": self.home, "seats": seats}
        if self.signing == "all" or (self.signing == "some" and self.chance(0.6)):
            row["signed_at"] = self.clock(start + days(self.pick.choice(SIGNED)))
        if self.recording == "all":
            row["recorded_at"] = self.clock((row["signed_at"] or start) + days(self.pick.choice([0, 0, 1, 3])))
        row |= more
        self.rows.append(row)
        return row

    def add_deal(
        self,
        start: datetime | None = None,
        account: str | None = None,
        product: str | None = None,
        length: Length | datetime | None = None,
        cents: int | None = None,
        **more: Any,
    ) -> Deal | None:
        """Begin a deal with one paid contract, drawing what is not given (`seats=None` is given: no seats)."""
        foreign = self.foreign and (not any(row["currency"] in RATES for row in self.rows) or self.chance(0.4))
        drawn = {"currency": self.pick.choice(list(RATES)) if foreign else self.home}
        drawn |= {"plan": self.pick.choice(["basic", "basic", "pro"]), "sold_by": self.pick.choice([None, None, "s1"])}
        start = start or self.start_day()
        drawn |= {"seats": self.pick.choice(SEATS), "go_live_at": start + days(45) if self.chance(0.1) else None}
        row = self.add(
            account or self.pick.choice(self.accounts),
            product or self.pick.choice(["core", "core", "core", "addon", "reports"]),
            start,
            length or self.pick.choice(LENGTHS),
            self.pick.choice(AMOUNTS) if cents is None else cents,
            **(drawn | more),
        )
        if row is None:
            return None
        self.deals.append([row])
        return self.deals[-1]

    def newest(self, name: str) -> Row:
        """The version of a contract that became known last."""
        return [row for row in self.rows if row["contract_id"] == name][-1]

    def follow(self, deal: Deal, gap: int = 0, length: Length | datetime | None = None, **changes: Any) -> Row | None:
        """Add a contract to a deal, `gap` days after the end of its last; the same as that one but for `changes`."""
        last = self.newest(deal[-1]["contract_id"])
        if last["end_date"] is None or last["end_date"] + days(gap) <= last["start_date"]:
            return None
        length = self.lengths[last["contract_id"]] if length is None else length
        kept = {column: last[column] for column in ("plan", "currency", "auto_renew", "sold_by", "kind")}
        cents, seats = changes.pop("cents", cents_of(last)), changes.pop("seats", last["seats"])
        account, product = changes.pop("account", last["account_id"]), changes.pop("product", last["product"])
        row = self.add(account, product, last["end_date"] + days(gap), length, cents, seats, **(kept | changes))
        if row:
            deal.append(row)
        return row

    def resized(self, row: Row, *factors: float) -> dict[str, Any]:
        """Seats and ARR of a row, raised or lowered by one of the factors."""
        factor = self.pick.choice(factors)
        if row["seats"] is None:
            cents = max(2, even(cents_of(row) * factor))
            return {"cents": cents, "seats": None}
        seats = max(2, even(row["seats"] * factor))
        if seats == row["seats"]:
            seats += 2 if factor > 1 or seats == 2 else -2
        return {"cents": max(2, even(cents_of(row) * seats / row["seats"])), "seats": seats}

    def grow(self, deal: Deal, most: int) -> None:
        """Live the life of a customer: renewals on time, early and late, a loss, a return."""
        while len(deal) < most:
            last = deal[-1]
            if last["end_date"] is None or last["kind"] in NO_SUBSCRIPTION or not last["arr"]:
                return
            gap = self.pick.choice([0, 0, 0, 0, 0, 0, 1, 2, -45, -30, -10, 20, 45, "lost", "lost", "back"])
            if self.lengths[last["contract_id"]] == (12, -1) and gap == 0:
                gap = 1  # the source writes the last day, not the day after it
            if gap == "lost":
                if self.chance(0.3) and last["end_date"] + days(30) < TOLD_UNTIL:
                    reason = self.pick.choice(["price", "sponsor left", "competitor", "insolvent"])
                    last |= {"loss_reason": reason, "lost_to": "rival" if reason == "competitor" else None}
                    last["loss_recorded_at"] = last["end_date"] + days(self.pick.choice([-10, 5, 30]))
                return
            gap = self.pick.randint(100, 400) if gap == "back" else gap
            size = self.resized(last, 0.5, 0.8, 1.25, 1.5, 2) if self.chance(0.5) else {}
            length = self.pick.choice(LENGTHS) if self.chance(0.15) else None
            if not self.follow(deal, gap, length, **size):
                return

    def subscriptions(self, shortest: int = 1) -> list[Row]:
        """The newest version of every paid contract of at least so many days that has an end."""
        names = dict.fromkeys(row["contract_id"] for row in self.rows)
        found = [self.newest(name) for name in names]
        return [
            row
            for row in found
            if row["end_date"] and row["kind"] not in NO_SUBSCRIPTION and row["arr"] and term_days(row) >= shortest
        ]

    def subscription(self, shortest: int = 1, cancelled: bool = True) -> Row | None:
        """One of `subscriptions`, or a new one of a year where there is none."""
        found = [row for row in self.subscriptions(shortest) if cancelled or row["cancelled_at"] is None]
        if found:
            return self.pick.choice(found)
        deal = self.add_deal(length=(12, 0))
        return deal[0] if deal else None

    def open_deal(self, shortest: int = 1, account: str | None = None) -> Deal | None:
        """A deal whose last contract can be followed within the history, or a new one."""
        followable = {
            row["contract_id"] for row in self.subscriptions(shortest) if row["end_date"] <= LAST_START - days(62)
        }
        found = [
            deal
            for deal in self.deals
            if deal[-1]["contract_id"] in followable and account in (None, deal[-1]["account_id"])
        ]
        return self.pick.choice(found) if found else self.add_deal(account=account, length=(12, 0))

    def other_account(self, account: str) -> str | None:
        others = [other for other in self.accounts if other != account]
        return self.pick.choice(others) if others else None

    def merge(self, account: str, heir: str, day: datetime) -> bool:
        """Merge an account into another on a day, unless it is merged already or a circle would result."""
        last = heir
        while last in self.merged:
            last = self.merged[last][0]
        if account in self.merged or last == account or day >= TOLD_UNTIL:
            return False
        day = self.clock(day)
        recorded = day + days(self.pick.choice([0, 1, 31, 100, 200, 300])) if self.chance(0.6) else None
        self.merged[account] = (heir, day, recorded if recorded and recorded < TOLD_UNTIL else None)
        return True

    # Versions and facts

    def amend(self, row: Row, known: datetime, valid_from: datetime, **changes: Any) -> Row | None:
        """Add a version of a contract, known after all others of it; None where that is too late to be told."""
        versions = [other for other in self.rows if other["contract_id"] == row["contract_id"]]
        known = self.clock(known)
        if known <= known_at(versions[-1]):
            known = known_at(versions[-1]) + days(self.pick.randint(1, 5))
        if known >= TOLD_UNTIL:
            return None
        versions[0]["recorded_at"] = versions[0]["recorded_at"] or known_at(versions[0])
        versions[0]["valid_from"] = versions[0]["valid_from"] or versions[0]["start_date"]
        if "cents" in changes:
            changes["arr"] = changes.pop("cents") / 100
        new = versions[-1] | {"recorded_at": known, "valid_from": max(valid_from, row["start_date"])} | changes
        self.rows.insert(self.rows.index(versions[-1]) + 1, new)
        return new

    def set_fact(self, row: Row, **facts: Any) -> bool:
        """Set columns in every version of a term; False where one of them is too late to be told."""
        if any(isinstance(value, datetime) and value >= TOLD_UNTIL for value in facts.values()):
            return False
        for other in self.rows:
            if (other["contract_id"], other["start_date"]) == (row["contract_id"], row["start_date"]):
                other |= facts
        return True

    # The whole

    def build(self) -> Company:
        for _ in range(self.pick.randint(1, 3)):
            deal = self.add_deal()
            if deal and self.room() > 5:
                self.grow(deal, self.pick.randint(1, 4))
        shown = set()
        for phase in PHASES:
            traits = [trait for trait in phase if self.wants(trait)]
            self.pick.shuffle(traits)
            shown |= {trait for trait in traits if phase[trait](self)}
        if self.merged:
            shown.add("mergers")
        self.tidy()
        tables = {"contracts": self.rows, "accounts": self.account_rows(), "rates": self.rate_rows()}
        prefix_ids(tables, f"{self.seed}/")
        return Company(tables, frozenset(shown), self.renamed)

    def tidy(self) -> None:
        """Leave out the product where the company has but one, and references to contracts that have gone."""
        if {row["product"] for row in self.rows} == {"core"} and self.chance(0.3):
            for row in self.rows:
                row["product"] = None
        names = {row["contract_id"] for row in self.rows}
        for row in self.rows:
            if row["replaces_contract_id"] not in names - {row["contract_id"]}:
                row["replaces_contract_id"] = None
            for fact in FACTS:
                if row[fact] and row[fact] >= TOLD_UNTIL:
                    row[fact] = None

    def account_rows(self) -> list[Row]:
        """One row per account, or two where its merger was recorded later."""
        found, with_record = [], self.chance(0.3)
        for account in self.accounts:
            seen = [min(known_at(row), row["start_date"]) for row in self.rows if row["account_id"] == account]
            created = midnight(min(seen, default=FIRST_DAY)) - days(self.pick.choice([0, 30, 200]))
            row: Row = dict.fromkeys(ACCOUNT_COLUMNS)
            row |= {"account_id": account, "account_name": f"Account {account[1:]}", "created_at": created}
            row |= {"industry": self.pick.choice([None, "retail", "energy"]), "csm": self.pick.choice(["m1", "m2"])}
            row |= {"region": self.pick.choice([None, "north", "south"]), "channel": self.pick.choice([None, "direct"])}
            row |= {
                "recorded_at": created if with_record else None,
                "employee_count": self.pick.choice([None, 40, 900]),
            }
            heir, day, recorded = self.merged.get(account, (None, None, None))
            if found and heir is None and self.chance(0.2):
                row["parent_account_id"] = self.pick.choice(found)["account_id"]
            merger = {"merged_into_account_id": heir, "merged_at": day}
            if recorded is None or recorded <= created:
                found.append(row | merger)
            else:
                versions = {"recorded_at": created, "valid_from": created}, {"recorded_at": recorded, "valid_from": day}
                found += [row | versions[0], row | versions[1] | merger]
        return found

    def rate_rows(self) -> list[Row]:
        """One row per currency, or one per currency and month where the rates move; none for one currency alone."""
        if not any(row["currency"] in RATES for row in self.rows):
            return []
        found = [{"currency": "USD", "date": FIRST_RATE, "rate": 1.0}]
        on_last_day = self.chance(0.2)
        for currency, rate in RATES.items():
            found.append({"currency": currency, "date": FIRST_RATE, "rate": rate})
            if self.wants("moving_rates"):
                day = FIRST_RATE
                while (day := add_months(day, 1)) < TOLD_UNTIL:
                    rate = round(rate * self.pick.uniform(0.96, 1.04), 4)
                    found.append({"currency": currency, "date": day - days(on_last_day), "rate": rate})
        return found


# -- traits that add contracts ----------------------------------------------------------------------------------------
# Each function returns whether the company now shows the trait.


def unmarked_overlaps(draft: Draft) -> bool:
    """A larger or smaller contract starts in the middle of a term, and the old row stays open."""
    row = draft.subscription(shortest=200)
    if row is None:
        return False
    start = draft.day_inside(row, 0.15, 0.5)
    length = draft.pick.choice([(12, 0), (24, 0), draft.lengths[row["contract_id"]], row["end_date"] - days(30)])
    if length == row["end_date"] - days(30) and length <= start:
        length = (12, 0)
    deal = draft.add_deal(
        *(start, row["account_id"], row["product"], length),
        currency=row["currency"],
        plan=row["plan"],
        **draft.resized(row, 0.5, 0.8, 1.2, 1.5, 2),
    )
    if deal is None:
        return False
    draft.unmarked.add(deal[0]["contract_id"])
    if draft.chance(0.3):
        draft.grow(deal, 2)
    return True


def two_streams(draft: Draft) -> bool:
    """Two contracts of one product stand side by side, term after term, for years."""
    terms = 2 if draft.room() >= 4 else 1
    start = draft.start_day(last=datetime(2023, 6, 30))
    first = draft.add_deal(start, length=(12, 0) if terms == 2 else draft.pick.choice([(24, 0), (36, 0)]))
    if first is None:
        return False
    second = draft.add_deal(
        *(start + days(draft.pick.choice([0, 0, 15, 100, 180])), first[0]["account_id"], first[0]["product"]),
        length=draft.lengths[first[0]["contract_id"]],
        currency=first[0]["currency"],
    )
    if second is None:
        return False
    for deal in (first, second):
        for _ in range(terms - 1):
            draft.follow(deal, **(draft.resized(deal[-1], 0.8, 1.5) if draft.chance(0.4) else {}))
    draft.unmarked.add(second[0]["contract_id"])
    return True


def ramps(draft: Draft) -> bool:
    """Rows of a year each, at steps of ARR, all signed on one day that is not after the first start."""
    start = draft.start_day(last=datetime(2023, 12, 31))
    papers: Row = {"signed_at": draft.clock(start - days(draft.pick.choice([1, 1, 30, 60])))}
    papers["recorded_at"] = papers["signed_at"] if draft.recording == "all" else None
    if draft.chance(0.2):
        papers["signed_at"] = start
    if draft.chance(0.5):
        draft.last_order += 1
        papers["order_id"] = f"o{draft.last_order}"
    deal = draft.add_deal(start, length=(12, 0), **papers)
    if deal is None:
        return False
    for _ in range(draft.pick.choice([1, 2, 2])):
        draft.follow(deal, **draft.resized(deal[-1], 1.2, 1.5, 2, 0.8), **papers)
    draft.ramped |= {row["contract_id"] for row in deal}
    steps = len(deal)
    if draft.chance(0.4):
        draft.follow(deal, draft.pick.choice([0, 0, -30, 30]))
    return steps > 1


def trials(draft: Draft) -> bool:
    """A free row, marked or not, that is followed by a paid one or not; also of a second product."""
    length = (0, draft.pick.choice([14, 30, 30, 60, 89, 90, 90, 91, 120]))
    more = {
        "kind": draft.pick.choice([None, None, "trial", "trial", "pilot"]),
        "seats": draft.pick.choice([None, 2, 10]),
    }
    if draft.chance(0.5):
        more |= {"signed_at": None, "recorded_at": None}
    row = draft.subscription() if draft.chance(0.5) else None
    if row:
        owned = {other["product"] for other in draft.rows if other["account_id"] == row["account_id"]}
        product = draft.pick.choice(
            [name for name in ("core", "addon", "reports", "maps") if name not in owned] or ["maps"]
        )
        more |= {"account": row["account_id"], "product": product, "start": draft.day_inside(row)}
    deal = draft.add_deal(length=length, cents=0, **more)
    if deal is None:
        return False
    if draft.chance(0.6):
        size = {"cents": draft.pick.choice(AMOUNTS), "seats": draft.pick.choice(SEATS), "kind": draft.kind}
        draft.follow(deal, draft.pick.choice([0, 0, 0, -5, 1, 3, 4, 30, 60, 61]), (12, 0), **size)
        draft.grow(deal, len(deal) + draft.pick.randint(0, 1))
    return True


def pauses(draft: Draft) -> bool:
    """A row of kind `pause` lies within a term or between two terms."""
    length = draft.pick.choice([20, 30, 60, 61, 90, 120, 180])
    nothing = {"kind": "pause", "cents": 0, "seats": None, "plan": None}
    if draft.chance(0.5):
        row = draft.subscription(shortest=120)
        if row is None:
            return False
        start = draft.day_inside(row, 0.1, 0.7)
        end = min(row["end_date"], start + days(length))
        place = (start, row["account_id"], row["product"], end)
        return draft.add_deal(*place, currency=row["currency"], **nothing) is not None
    deal = draft.open_deal()
    if deal is None:
        return False
    before = deal[-1]
    if draft.follow(deal, 0, (0, length), **nothing) is None:
        return False
    again = {"kind": before["kind"], "plan": before["plan"], "cents": cents_of(before), "seats": before["seats"]}
    draft.follow(deal, draft.pick.choice([0, 0, 1, 5, 30]), draft.lengths[before["contract_id"]], **again)
    return True


def mergers(draft: Draft) -> bool:
    """One account is merged into another, in some companies that one into a third; its later terms may follow it."""
    account = draft.pick.choice(draft.accounts)
    heir = draft.other_account(account)
    if heir is None:
        return False
    deals = [deal for deal in draft.deals if deal[0]["account_id"] == account]
    if not deals:
        deal = draft.add_deal(account=account)
        deals = [deal] if deal else []
    for deal in deals[:1]:
        draft.grow(deal, len(deal) + 1)
    day = draft.start_day(first=datetime(2021, 6, 1), last=datetime(2025, 12, 31))
    if deals and draft.chance(0.7):
        # Near the end of a term: the heir then buys what follows.
        ends = deals[0][0]["end_date"] or day
        day = min(ends + days(draft.pick.choice([-200, -60, -1, 0, 1, 30, 59, 60, 61])), datetime(2026, 2, 28))
    if not draft.merge(account, heir, day):
        return False
    if draft.chance(0.6):
        for row in draft.rows:
            if row["account_id"] == account and row["start_date"] >= day - days(30):
                row["account_id"] = heir
    third = draft.other_account(heir)
    if third and third != account and draft.chance(0.5):
        draft.merge(heir, third, max(FIRST_DAY, day + days(draft.pick.choice([-200, 0, 30, 300]))))
    return True


def split_across_accounts(draft: Draft) -> bool:
    """One contract becomes two, one of them in another account, which is merged into the first or not."""
    deal = draft.open_deal(shortest=100)
    other = draft.other_account(deal[-1]["account_id"]) if deal else None
    if deal is None or other is None or draft.room() < 2:
        return False
    old = deal[-1]
    start, length = old["end_date"], draft.lengths[old["contract_id"]]
    if draft.chance(0.3):
        start = draft.day_inside(old)
        old["cancelled_at"] = start if draft.chance(0.6) else None
    seats = None if old["seats"] is None else max(2, even(old["seats"] / 2))
    half = {"length": length, "currency": old["currency"], "plan": old["plan"]}
    half |= {"product": old["product"], "cents": max(2, even(cents_of(old) / 2)), "seats": seats}
    if draft.chance(0.5):
        half["replaces_contract_id"] = old["contract_id"]
    parts = [draft.add_deal(start, account, **half) for account in (old["account_id"], other)]
    if draft.chance(0.5):
        draft.merge(other, old["account_id"], start + days(draft.pick.choice([-100, -1, 0, 30, 60, 200])))
    return all(parts)


def merge_across_accounts(draft: Draft) -> bool:
    """Two contracts of two accounts become one; the accounts are merged or not."""
    deal = draft.open_deal(shortest=100)
    other = draft.other_account(deal[-1]["account_id"]) if deal else None
    if deal is None or other is None or draft.room() < 2:
        return False
    first = deal[-1]
    end = first["end_date"] + days(draft.pick.choice([0, 0, 0, -30, 30, 61]))
    place = (max(FIRST_DAY, add_months(end, -12)), other, first["product"], end)
    second = draft.add_deal(*place, currency=first["currency"])
    if second is None:
        return False
    more: Row = {"cents": cents_of(first) + cents_of(second[0])}
    if first["seats"] and second[0]["seats"]:
        more["seats"] = first["seats"] + second[0]["seats"]
    if draft.chance(0.5):
        more["replaces_contract_id"] = draft.pick.choice([first, second[0]])["contract_id"]
    joined = draft.follow(deal, draft.pick.choice([0, 0, 0, 3, 30]), **more)
    if draft.chance(0.5):
        draft.merge(other, first["account_id"], end + days(draft.pick.choice([-100, -1, 0, 30, 60, 200])))
    return joined is not None


def same_end_amendments(draft: Draft) -> bool:
    """A new contract starts in the middle of a term and has the same end."""
    row = draft.subscription(shortest=100)
    if row is None:
        return False
    start = draft.day_inside(row)
    more: Row = {"currency": row["currency"], "plan": row["plan"]} | draft.resized(row, 0.5, 0.8, 1.2, 1.5, 2)
    marked = draft.chance(0.5)
    if marked:
        more["replaces_contract_id"] = row["contract_id"]
    deal = draft.add_deal(start, row["account_id"], row["product"], row["end_date"], **more)
    if deal is None:
        return False
    if not marked:
        draft.unmarked.add(deal[0]["contract_id"])
    if start < TOLD_UNTIL and draft.chance(0.3):
        row["cancelled_at"] = start
    return True


def rolling(draft: Draft) -> bool:
    """Terms of a month or of less than 90 days, or a contract without an end that is cancelled or not."""
    if draft.chance(0.5):
        length, terms = draft.pick.choice([((1, 0), 4), ((1, 0), 3), ((0, 30), 3), ((0, 89), 2)])
        deal = draft.add_deal(length=length)
        for _ in range(min(terms - 1, draft.room())):
            if deal:
                size = draft.resized(deal[-1], 0.8, 1.5) if draft.chance(0.2) else {}
                draft.follow(deal, draft.pick.choice([0, 0, 0, 0, 1]), **size)
        return deal is not None
    deal = draft.add_deal()
    if deal is None:
        return False
    if draft.chance(0.3):
        draft.follow(deal)
    last = deal[-1]
    last["end_date"] = None
    if draft.chance(0.5):
        last["cancelled_at"] = draft.clock(last["start_date"] + days(draft.pick.choice([20, 89, 200, 365, 400, 700])))
    return True


def free_terms(draft: Draft) -> bool:
    """A paid term is followed by a free year, and that by a paid one or not."""
    deal = draft.open_deal()
    if deal is None:
        return False
    paid = cents_of(deal[-1])
    free = draft.follow(deal, draft.pick.choice([0, 0, 0, 1, 30]), (12, 0), cents=0)
    if free and draft.chance(0.4):
        draft.follow(deal, 0, (12, 0), cents=paid)
    return free is not None


def one_off(draft: Draft) -> bool:
    """A row of kind `one_off`: money that does not come back."""
    place = {"product": draft.pick.choice(["services", "core"]), "length": (0, draft.pick.choice([1, 30, 90, 365]))}
    return draft.add_deal(kind="one_off", seats=None, **place) is not None


def coterminous(draft: Draft) -> bool:
    """Several contracts with one end become one, or one becomes several."""
    if draft.chance(0.5):
        deal = draft.open_deal(shortest=100)
        if deal is None or draft.room() < 2:
            return False
        old, parts = deal[-1], draft.pick.choice([2, 2, 3])
        seats = None if old["seats"] is None else max(2, even(old["seats"] / parts))
        for _ in range(parts):
            part = {"currency": old["currency"], "cents": max(2, even(cents_of(old) / parts)), "seats": seats}
            draft.add_deal(
                old["end_date"], old["account_id"], old["product"], draft.lengths[old["contract_id"]], **part
            )
        return True
    if draft.room() < 3:
        return False
    end = draft.start_day(first=datetime(2022, 2, 1), last=datetime(2025, 10, 31))
    account, product = draft.pick.choice(draft.accounts), draft.pick.choice(["core", "addon"])
    old_deals = []
    for months in draft.pick.sample([12, 9, 6, 4], draft.pick.choice([2, 2, 3])):
        name = "reports" if draft.chance(0.2) else product
        old_deals.append(draft.add_deal(add_months(end, -months), account, name, end, currency=draft.home))
    found = [deal for deal in old_deals if deal]
    joined = draft.follow(found[0], cents=sum(cents_of(deal[0]) for deal in found)) if len(found) > 1 else None
    return joined is not None


def zero_gap_edges(draft: Draft) -> bool:
    """A follow-on starts exactly on one side of a limit of the rules (domain R2, R10)."""
    if draft.chance(0.25):
        length = draft.pick.choice([60, 61, 100, 120, 179, 180])
        deal = draft.add_deal(length=(0, length))
        gap = -(length // 2) + draft.pick.choice([-1, 0, 0, 1])
    else:
        gap = draft.pick.choice([-91, -90, 60, 61, 3, 4])
        deal = draft.open_deal(shortest=185)
    if deal is None:
        return False
    size = draft.resized(deal[-1], 0.5, 1.5) if draft.chance(0.4) else {}
    return draft.follow(deal, gap, (12, 0), **size) is not None


# -- traits of the papers ---------------------------------------------------------------------------------------------


def move_papers(draft: Draft, lags: Callable[[Row], Iterable[int]]) -> bool:
    """Sign or record one or two contracts so many days after they start."""
    early = [row for row in draft.rows if known_at(row) <= row["start_date"] + days(10)]
    rows = [row for row in early if row["contract_id"] not in draft.ramped and row["kind"] != "pause"]
    moved = False
    for row in draft.pick.sample(rows, min(len(rows), draft.pick.choice([1, 1, 2]))):
        late = draft.clock(row["start_date"] + days(draft.pick.choice(list(lags(row)))))
        if late >= TOLD_UNTIL:
            continue
        if draft.chance(0.7):
            row["signed_at"] = late
            row["recorded_at"] = late + days(1) if row["recorded_at"] and late + days(1) < TOLD_UNTIL else None
        else:
            row["recorded_at"] = late
        moved = True
    return moved


def late_papers(draft: Draft) -> bool:
    """Signed or recorded after the start: within the grace, after it, after the month has closed."""

    def lags(row: Row) -> list[int]:
        closes = (day_month_closes(row["start_date"]) - row["start_date"]).days
        return [1, 20, 59, 60, 61, 75, closes - 1, closes, closes + 1, 130]

    return move_papers(draft, lags)


def back_dated(draft: Draft) -> bool:
    """The start lies long before the signature."""
    return move_papers(draft, lambda row: [120, 150, 180, 250, 365, 400])


def renamed_products(draft: Draft) -> bool:
    """The product of the earlier rows has an old name, and the company configures what it is called now."""
    deals = [deal for deal in draft.deals if len(deal) > 1 and deal[0]["product"] == deal[1]["product"]]
    deal = draft.pick.choice(deals) if deals else draft.open_deal()
    if deal is None or (len(deal) == 1 and not draft.follow(deal)):
        return False
    product, cut = deal[0]["product"], deal[1]["start_date"]
    if deal[0]["start_date"] >= cut or deal[1]["product"] != product:
        return False
    draft.renamed = {f"{product} classic": product}
    for row in draft.rows:
        if row["product"] == product and row["start_date"] < cut:
            row["product"] = f"{product} classic"
    return True


def one_id_for_all_terms(draft: Draft) -> bool:
    """Every term of a deal has the same contract id, each a version that is valid from its own start."""
    names = {row["contract_id"] for row in draft.rows if row["kind"] not in NO_SUBSCRIPTION} - draft.ramped
    deals = [deal for deal in draft.deals if len(deal) > 1 and all(row["contract_id"] in names for row in deal)]
    deal = draft.pick.choice(deals) if deals else draft.add_deal(length=(12, 0))
    if deal is None or (len(deal) == 1 and not draft.follow(deal)):
        return False
    known: list[datetime] = []
    for row in deal:
        known.append(max(known_at(row), known[-1] + days(1)) if known else known_at(row))
    if known[-1] >= TOLD_UNTIL or any(one["account_id"] != other["account_id"] for one, other in pairwise(deal)):
        return False
    name, old_names = deal[0]["contract_id"], {row["contract_id"] for row in deal}
    for row, recorded in zip(deal, known, strict=True):
        row |= {"contract_id": name, "recorded_at": recorded, "valid_from": row["start_date"]}
    for row in draft.rows:
        if row["replaces_contract_id"] in old_names:
            row["replaces_contract_id"] = name
    # Versions of one contract stand together, in the order in which they became known.
    draft.rows.sort(key=lambda row: int(row["contract_id"][1:]))
    return True


# -- traits of versions and facts -------------------------------------------------------------------------------------


def versions(draft: Draft) -> bool:
    """Seats and ARR are raised or lowered in the middle of a term, in a further row of the contract."""
    rows = draft.subscriptions(shortest=60)
    amended = False
    for row in draft.pick.sample(rows, min(len(rows), draft.pick.choice([1, 1, 2]))):
        for day in sorted(draft.day_inside(row) for _ in range(draft.pick.choice([1, 1, 2]))):
            known = day + days(draft.pick.choice([-20, -1, 0, 0, 0, 5, 40, 61, 90]))
            latest = draft.newest(row["contract_id"])
            size = draft.resized(latest, 0.5, 0.8, 1.2, 1.5, 2)
            amended |= draft.amend(row, known, day, **size) is not None
    return amended


def moved_ends(draft: Draft) -> bool:
    """A version has another end: moved by less than half of the term, by a year, known early or late."""
    row = draft.subscription(shortest=60)
    if row is None:
        return False
    length, end = term_days(row), row["end_date"]
    half = length // 2
    moves = [end + days(shift) for shift in (7, 30, half - 1, half, half + 1, -30, -half + 1, -half)]
    new_end = draft.pick.choice([*moves, *[add_months(end, 12)] * 4])
    known = draft.pick.choice(
        [draft.day_inside(row), *(end + days(shift) for shift in (-90, -30, -1, 0, 20, 59, 60, 61, 100))]
    )
    valid_from = draft.pick.choice([midnight(known), end, row["start_date"]])
    size = draft.resized(row, 0.8, 1.2, 1.5) if draft.chance(0.3) else {}
    return draft.amend(row, known, valid_from, end_date=new_end, **size) is not None


def price_indexation(draft: Draft) -> bool:
    """The ARR rises by 3 to 12 % at the same seats, at a renewal or in the middle of a term."""
    rise = 1 + draft.pick.choice(PRICE_RISES)
    deal = draft.open_deal() if draft.chance(0.6) else None
    if deal:
        seats = draft.newest(deal[-1]["contract_id"])["seats"]
        row = draft.follow(deal, seats=seats, cents=even(cents_of(draft.newest(deal[-1]["contract_id"])) * rise))
        if row:
            return True
    row = draft.subscription(shortest=120)
    if row is None:
        return False
    anniversary = add_months(row["start_date"], 12)
    day = anniversary if anniversary < row["end_date"] else draft.day_inside(row)
    known = day + days(draft.pick.choice([-60, -30, 0, 0, 10]))
    return draft.amend(row, known, day, cents=even(cents_of(row) * rise)) is not None


def amendment_in_other_currency(draft: Draft) -> bool:
    """A contract goes on in another currency: a further version of it, or a new contract with the same end."""
    row = draft.subscription(shortest=100)
    if row is None:
        return False
    currency = draft.pick.choice([other for other in ("USD", "EUR", "CNY") if other != (row["currency"] or "USD")])
    value = cents_of(row) * RATES.get(row["currency"], 1.0) * draft.pick.choice([1.0, 1.0, 0.9, 1.25])
    changes = {"currency": currency, "cents": max(2, even(value / RATES.get(currency, 1.0)))}
    day = draft.day_inside(row)
    if draft.chance(0.6):
        return draft.amend(row, day + days(draft.pick.choice([-10, 0, 0, 30])), day, **changes) is not None
    changes |= {"plan": row["plan"], "seats": row["seats"], "replaces_contract_id": row["contract_id"]}
    return draft.add_deal(day, row["account_id"], row["product"], row["end_date"], **changes) is not None


def refunds(draft: Draft) -> bool:
    """Cancelled by the start or soon after it; in some companies recorded only later."""
    row = draft.subscription(shortest=31, cancelled=False)
    if row is None:
        return False
    start = row["start_date"]
    if draft.chance(0.6):
        return draft.set_fact(
            row, cancelled_at=draft.clock(start + days(draft.pick.choice([-30, -1, 0, 0, 0, 1, 7, 14, 30])))
        )
    cancelled = start + days(draft.pick.choice([0, 5, 30, 45, 61]))
    known = cancelled + days(draft.pick.choice([10, 30, 70, 150]))
    return draft.amend(row, known, cancelled, cancelled_at=cancelled) is not None


def cancelled_early(draft: Draft) -> bool:
    """A term ends before its time, with a new contract after it or without."""
    row = draft.subscription(shortest=60, cancelled=False)
    if row is None:
        return False
    before_end = row["end_date"] - days(draft.pick.choice([1, 30, 60, 89, 90, 91, 100]))
    day = before_end if before_end > row["start_date"] and draft.chance(0.5) else draft.day_inside(row, 0.2, 0.9)
    if not draft.set_fact(row, cancelled_at=draft.clock(day)):
        return False
    if draft.chance(0.5):
        start = day + days(draft.pick.choice([0, 0, 1, 3, 4, 30, 60, 61]))
        more = {"currency": row["currency"], "plan": row["plan"]}
        more |= (
            draft.resized(row, 0.5, 0.8, 1.5) if draft.chance(0.5) else {"cents": cents_of(row), "seats": row["seats"]}
        )
        draft.add_deal(start, row["account_id"], row["product"], (12, 0), **more)
    return True


def notice(draft: Draft) -> bool:
    """Contracts that renew by themselves have a notice period, and some customers give notice, in time or late."""
    rows = draft.subscriptions()
    for row in draft.pick.sample(rows, min(len(rows), draft.pick.choice([1, 2, 3]))):
        period = draft.pick.choice([30, 60, 90])
        draft.set_fact(row, auto_renew=True, notice_days=period)
        given = draft.clock(row["end_date"] - days(period) + days(draft.pick.choice([-30, -1, 0, 1, 20])))
        if draft.chance(0.6) and given > row["start_date"]:
            if draft.chance(0.3):
                draft.amend(
                    row, midnight(given) + days(draft.pick.choice([1, 10, 60])), midnight(given), notice_given_at=given
                )
            else:
                draft.set_fact(row, notice_given_at=given)
    for row in draft.rows:
        if row["notice_given_at"] and row["notice_given_at"] >= TOLD_UNTIL:
            row["notice_given_at"] = None
    return bool(rows)


def deleted(draft: Draft) -> bool:
    """The source deleted a contract."""
    rows = draft.subscriptions()
    if not rows:
        return False
    row = draft.pick.choice(rows)
    day = midnight(known_at(row)) + days(draft.pick.choice([1, 30, 100, 400]))
    if draft.chance(0.5):
        return draft.set_fact(row, deleted_at=draft.clock(day))
    return draft.amend(row, day + days(draft.pick.choice([0, 0, 30])), day, deleted_at=day) is not None


# -- traits of ids, payments and rates --------------------------------------------------------------------------------


def subscription_ids(draft: Draft) -> bool:
    """Contracts of a deal share a subscription, from the first or from a later one on; two deals may share one."""
    tied = False
    for deal in draft.pick.sample(draft.deals, draft.pick.randint(1, len(draft.deals))):
        if draft.last_subscription == 0 or draft.chance(0.8):
            draft.last_subscription += 1
        since = draft.pick.choice([0, 0, 0, min(1, len(deal) - 1)])
        names = {row["contract_id"] for row in deal[since:]} - draft.unmarked
        for row in draft.rows:
            if row["contract_id"] in names:
                row["subscription_id"] = f"s{draft.last_subscription}"
                tied = True
    return tied


def replaces_ids(draft: Draft) -> bool:
    """Contracts of a deal name the one that they replace."""
    deals = [deal for deal in draft.deals if len({row["contract_id"] for row in deal}) > 1]
    if not deals:
        deal = draft.open_deal()
        deals = [deal] if deal and draft.follow(deal) else []
    for deal in draft.pick.sample(deals, draft.pick.randint(1, len(deals)) if deals else 0):
        for old, new in pairwise(deal):
            if new["contract_id"] not in draft.unmarked | {old["contract_id"]}:
                for row in draft.rows:
                    if row["contract_id"] == new["contract_id"]:
                        row["replaces_contract_id"] = old["contract_id"]
    return any(row["replaces_contract_id"] for row in draft.rows)


def payments(draft: Draft) -> bool:
    """Terms are paid early, late or never: all of them, those from a day on, or a single one."""
    terms = list(dict.fromkeys((row["start_date"], row["contract_id"]) for row in draft.rows if row["arr"]))
    which = draft.pick.choice(["all", "all", "since", "single"])
    since = draft.pick.choice(terms)[0] if which == "since" else FIRST_DAY
    chosen = [draft.pick.choice(terms)] if which == "single" else [term for term in terms if term[0] >= since]
    paid = False
    for start, name in chosen:
        lag = draft.pick.choice([0, 10]) if which == "single" else draft.pick.choice(PAID)
        # Most terms of most companies are paid soon: below 80 % payment is not asked at all.
        lag = draft.pick.choice([0, 10, 30]) if lag is None and draft.chance(0.5) else lag
        if lag is not None:
            paid |= draft.set_fact({"start_date": start, "contract_id": name}, paid_at=draft.clock(start + days(lag)))
    return paid


def moving_rates(draft: Draft) -> bool:
    """Monthly rates of two currencies, of which at least one contract has one."""
    return any(row["currency"] in RATES for row in draft.rows)


PHASES: tuple[dict[str, Callable[[Draft], bool]], ...] = (
    {trait.__name__: trait for trait in (mergers,)},
    {
        trait.__name__: trait
        for trait in (
            *(unmarked_overlaps, two_streams, ramps, trials, pauses, split_across_accounts),
            *(merge_across_accounts, same_end_amendments, rolling, free_terms, one_off, coterminous, zero_gap_edges),
        )
    },
    {trait.__name__: trait for trait in (late_papers, back_dated)},
    {trait.__name__: trait for trait in (renamed_products,)},
    {trait.__name__: trait for trait in (one_id_for_all_terms,)},
    {
        trait.__name__: trait
        for trait in (
            *(versions, moved_ends, price_indexation, amendment_in_other_currency, refunds, cancelled_early),
            *(notice, deleted),
        )
    },
    {trait.__name__: trait for trait in (subscription_ids, replaces_ids, payments, moving_rates)},
)
"""Traits in the order in which they are applied; those of one phase in random order."""
TRAITS = tuple(trait for phase in PHASES for trait in phase)
ACROSS_ACCOUNTS = ("split_across_accounts", "merge_across_accounts")
WANTED = dict.fromkeys(TRAITS, 0.14) | {"mergers": 0.1, "moving_rates": 0.15, "payments": 0.2}
"""Share of companies to which a trait is applied; where there is no room it does not show."""


def draw_company(seed: int) -> Company:
    """A company that follows from the seed alone; its ids begin with the seed and a slash."""
    return Draft(seed).build()


def trait_shares(n: int) -> dict[str, float]:
    """Share of the companies of the first `n` seeds that show each trait."""
    shown = [draw_company(seed).traits for seed in range(n)]
    return {trait: sum(trait in traits for traits in shown) / n for trait in TRAITS}


# -- changes that must not matter -------------------------------------------------------------------------------------

CONTRACT_REFERENCES = ("contract_id", "replaces_contract_id")
ACCOUNT_REFERENCES = ("account_id", "parent_account_id", "merged_into_account_id")


def map_ids(tables: Tables, columns: Iterable[str], change: Callable[[str], str]) -> None:
    """Change the ids in these columns, in place."""
    for row in (row for rows in tables.values() for row in rows):
        for column in columns:
            if row.get(column) is not None:
                row[column] = change(row[column])


def prefix_ids(tables: Tables, prefix: str) -> None:
    map_ids(
        tables,
        (*CONTRACT_REFERENCES, *ACCOUNT_REFERENCES, "subscription_id", "order_id"),
        lambda name: prefix + name,
    )


def relabel(company: Company, salt: int) -> tuple[Company, IdMaps]:
    """The same company under other ids, which sort in another order, with shuffled rows; and what became of each id."""
    pick, tables = random.Random(salt), deepcopy(company.tables)

    def rename(letter: str, columns: tuple[str, ...]) -> dict[str, str]:
        rows = (row for table in tables.values() for row in table)
        old = sorted({row[column] for row in rows for column in columns if row.get(column) is not None})
        numbers = pick.sample(range(1, len(old) + 1), len(old))
        new = {name: f"{name.split('/')[0]}/{letter}{n}-{salt}" for name, n in zip(old, numbers, strict=True)}
        map_ids(tables, columns, new.__getitem__)
        return new

    maps = IdMaps(
        contracts=rename("c", CONTRACT_REFERENCES),
        accounts=rename("a", ACCOUNT_REFERENCES),
        subscriptions=rename("s", ("subscription_id",)),
        orders=rename("o", ("order_id",)),
    )
    for rows in tables.values():
        pick.shuffle(rows)
    return Company(tables, company.traits, company.renamed_products), maps


def can_split(company: Company, contract_id: str) -> bool:
    """Whether every row of a contract has no seats or an even number, and an even number of cents."""
    rows = [row for row in company.tables["contracts"] if row["contract_id"] == contract_id]
    return bool(rows) and all((row["seats"] or 0) % 2 == 0 and cents_of(row) % 2 == 0 for row in rows)


def splittable_contracts(company: Company) -> list[str]:
    """Ids that `split_in_half` takes, in the order of the rows."""
    names = dict.fromkeys(row["contract_id"] for row in company.tables["contracts"])
    return [name for name in names if can_split(company, name)]


def split_in_half(company: Company, contract_id: str) -> Company:
    """The same company with one contract as two of half the ARR and seats: under its id, and under its id and `~2`.

    References to the contract keep its id. A contract that cannot be halved to the cent and seat is a ValueError.
    """
    if not can_split(company, contract_id):
        raise ValueError(f"contract {contract_id} has odd seats or cents, or is not one of the company's")
    tables = deepcopy(company.tables)
    split = []
    for row in tables["contracts"]:
        if row["contract_id"] != contract_id:
            split.append(row)
            continue
        seats = None if row["seats"] is None else row["seats"] // 2
        half = row | {"arr": cents_of(row) // 2 / 100, "seats": seats}
        split += [half, half | {"contract_id": f"{contract_id}~2"}]
    return Company(tables | {"contracts": split}, company.traits, company.renamed_products)
