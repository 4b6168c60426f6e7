"""Random accounts with instants on, just before and just after every limit of the rules of time.

Each account is drawn from a seed that is in its id: `account(seed)` returns all rows of `a<seed>`. Different accounts
share user names, so that a join without the account id is noticed.
"""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Iterable
from datetime import date, datetime, timedelta
from random import Random
from typing import Any

from renewals.features.policy import SEVERITIES, TICKET_KINDS, Grace, Journey, Policy, Renewal, Stakeholders, Usage
from tests.oracle.known import midnight
from tests.oracle.worlds import Row, World, complete_row

DATES = (date(2024, 1, 1), date(2024, 1, 8), date(2024, 1, 30), date(2024, 3, 31), date(2024, 9, 1), date(2025, 1, 1))
"""Uneven distances with a leap day: exactly a window, or a window and a day, so that slices may be a day long."""

POLICY = Policy(
    grace=Grace(before_days=90, after_days=60),
    renewal=Renewal(horizon_days=365, payment="ignored"),
    usage=Usage(
        north_star=("send.*", "report", "!send.test"),
        core_workflow=("send.*",),
        levels={"view": ("look",), "analyse": ("report",), "act": ("send.*",)},
        steady_days=2,
    ),
    stakeholders=Stakeholders(
        tiers={
            "S": ("ceo", "head of sales", "vice pres*", "总", "*führer", "генеральный директор", "대표", "!assistant"),
            "A": ("manager", "director", "*leiter", "directeur", "Διευθυντής", "部長", "ผู้จัดการ", "!assistant"),
            "B": ("analyst", "engineer", "مهندس", "!cooperator"),
        }
    ),
    journey=Journey(onboarding_days=60, pre_renewal_days=90),
)

USERS = ("u1", "u2", "u3", "u4", "u5")
FEATURES = ("send.mail", "Send.SMS", "send.test", "report", "look", "other")
TITLES = (
    *(None, "CEO", "Head of Sales", "sales manager", "副总裁", "Data Analyst", "Vice President", "cooperator", ""),
    *(
        "assistant to the CEO",
        "ＣＥＯ",
        "GESCHÄFTSFÜHRER",
        unicodedata.normalize("NFD", "Geschäftsführer"),
        "영업대표",
    ),
    *("Генеральный директор", "ΔΙΕΥΘΥΝΤΗΣ", "営業部長", "ผู้จัดการฝ่ายขาย", "مهندس", "Abteilungsleiter", "CEO助理"),
)
ROLES = (None, "seller", "Seller", "buyer", "engineer", "director", "directeur général", " ")
TICK = timedelta(microseconds=1)
EDGES = (0, 1, 7, 14, 28, 30, 31, 56, 60, 61, 90, 180, 360, 365, 366)
"""Days before an as-of date at which a feature changes."""


class Life:
    """Rows of one account, drawn from a seed."""

    def __init__(self, seed: int) -> None:
        self.random, self.random_of_facts = Random(seed), Random(f"facts of {seed}")
        self.account_id = f"a{seed}"
        self.size = self.random.choice((0, 1, 3, 8, 25))

    # --- draws ---------------------------------------------------------------------------------

    def one(self, *choices: Any) -> Any:
        return self.random.choice(choices)

    def chance(self, share: float) -> bool:
        return self.random.random() < share

    def maybe(self, value: Any, share: float = 0.7) -> Any:
        return value if self.chance(share) else None

    def upto(self, most: int) -> range:
        return range(self.random.randint(0, most))

    def instant(self) -> datetime:
        """Instant near the limit of a window of an as-of date, usually exact to the microsecond."""
        edge = self.one(*EDGES) if self.chance(0.6) else self.random.randint(-40, 420)
        return midnight(self.one(*DATES)) - timedelta(days=edge) + self.slip()

    def slip(self) -> timedelta:
        return self.one(timedelta(0), -TICK, TICK, timedelta(seconds=self.random.randint(-86_400, 86_400)))

    def after(self, start: datetime) -> datetime:
        """A later instant, by hours or months; sometimes exactly at, just before or just after an as-of date."""
        if self.chance(0.3):
            later = [midnight(d) for d in DATES if midnight(d) > start]
            return (self.one(*later) if later else start) + self.one(timedelta(0), -TICK, TICK)
        return start + self.one(
            timedelta(0),
            timedelta(hours=self.random.randint(1, 100)),
            timedelta(days=self.random.randint(1, 90)),
        )

    def arrival(self, happened: datetime) -> datetime | None:
        """Known time of a row: at once, late, or before the event, as from a clock that is slow."""
        return self.one(
            None, happened, self.after(happened), self.after(happened), happened - abs(self.slip()), self.instant()
        )

    def fact(self, start: datetime | None, share: float = 0.3) -> datetime | None:
        """Time of a fact written into a row after `start`; drawn apart, so that it changes no other draw."""
        self.random, drawn = self.random_of_facts, self.random
        happened = self.maybe(self.after(start or self.instant()), share)
        self.random = drawn
        return happened

    def rows(self) -> Iterable[tuple[str, dict[str, Any]]]:
        """All rows of the account: (table, columns)."""
        yield from self.master()
        yield from self.contracts()
        for table in (self.events, self.people, self.tickets, self.touchpoints, self.remaining_tables):
            yield from table()

    # --- tables --------------------------------------------------------------------------------

    def master(self):
        created = self.maybe(self.instant(), 0.4)
        name = {"account_name": f"{self.account_id} Ltd", "csm": self.one(None, "Ann", "Bo")}
        name |= {"industry": self.one(None, "retail", "banks"), "region": self.one(None, "north", "south")}
        name |= {"channel": self.one(None, "partner", "direct"), "employee_count": self.one(None, 10, 5000)}
        name |= {"deleted_at": self.fact(created)}
        yield "accounts", name | {"created_at": created, "recorded_at": self.maybe(self.instant(), 0.3)}

    def contracts(self):
        number = 0
        for product in self.one((None,), ("core",), ("core", "extra"), (None, "core", "extra")):
            start = self.first_start()
            for _ in range(self.random.randint(1, 4)):
                end = start + timedelta(days=self.one(30, 90, 180, 365, 365, 365, 366, 730))
                yield "contracts", self.contract(f"{self.account_id}-c{number}", product, start, end)
                number += 1
                start = end + timedelta(days=self.one(-91, -90, -30, 0, 0, 0, 0, 60, 61, 200))
                if self.chance(0.1):
                    start = self.first_start()

    def first_start(self) -> datetime:
        if self.chance(0.2):
            return midnight(self.instant().date())
        return midnight(self.one(*DATES)) - timedelta(days=self.one(0, 1, 59, 60, 200, 365, 500))

    def contract(self, number: str, product: str | None, start: datetime, end: datetime) -> dict[str, Any]:
        signed = self.one(
            None, start, start - timedelta(days=self.random.randint(0, 120)), self.after(start), self.instant()
        )
        cancelled = self.one(*[None] * 20, start, start - timedelta(days=1), self.after(start), self.instant())
        return {
            "contract_id": number,
            "product": product,
            "plan": self.one(None, "basic", "gold"),
            "start_date": start,
            "end_date": end,
            "arr": float(self.one(0, 1200, 19_999.99, 20_000, 100_000, 250_000)),
            "currency": self.one(None, "USD", "USD", "EUR", "CNY", "XAU"),
            "seats": self.one(None, 0, 2, 5, 5, 40),
            "signed_at": signed,
            "paid_at": self.maybe(self.after(start), 0.5),
            "cancelled_at": cancelled,
            "auto_renew": self.one(None, True, False),
            "notice_given_at": self.fact(start),
            "go_live_at": self.fact(start),
            "loss_reason": "price",
            "lost_to": "a competitor",
            "loss_recorded_at": self.fact(end),
        }

    def events(self):
        for _ in self.upto(4 * self.size):
            happened = self.instant()
            for _ in range(self.one(1, 1, 1, 3)):  # a busy day that arrives in several parts
                yield "usage_events", self.event(happened)
                happened += timedelta(seconds=self.random.randint(0, 20_000))

        if self.chance(0.5):
            yield from self.habit()

    def habit(self):
        """One user who is active day after day."""
        user, feature = self.one(*USERS), self.one("send.mail", "report", "look")
        until = midnight(self.one(*DATES)) - timedelta(days=self.random.randint(0, 31)) + self.slip()
        for days in range(self.random.randint(2, 6)):
            happened = until - days * timedelta(days=1)
            event = self.event(happened) | {"user_id": user, "feature": feature}
            yield "usage_events", event | {"recorded_at": self.one(None, happened, self.after(happened))}

    def event(self, happened: datetime) -> dict[str, Any]:
        return {
            "user_id": self.one(None, *USERS),
            "feature": self.one(*FEATURES),
            "occurred_at": happened,
            "duration_s": self.one(None, 0.0, 61.5, 3600.0),
            "quantity": self.one(None, None, 1.0, 3.0, 0.0, 0.1, 0.0001),
            "recorded_at": self.arrival(happened),
        }

    def people(self):
        keys = set()
        for user in self.random.sample(USERS, self.random.randint(0, 5)):
            for _ in range(self.one(1, 1, 2, 3)):
                row = self.person(user)
                key = (user, row["valid_from"], row["recorded_at"])
                if key not in keys and not _has_same_known_time(key, keys):
                    keys.add(key)
                    yield "people", row
                    if (
                        self.chance(0.4) and row["recorded_at"] and row["valid_from"]
                    ):  # a second version when the period ends
                        closed = self.after(max(row["recorded_at"], row["valid_from"]) + TICK)
                        key = (user, row["valid_from"], closed)
                        if key not in keys:
                            keys.add(key)
                            yield "people", row | {"valid_to": closed, "recorded_at": closed}

    def person(self, user: str) -> dict[str, Any]:
        started = self.maybe(self.instant(), 0.8)
        return {
            "user_id": user,
            "title": self.one(*TITLES),
            "role": self.one(*ROLES),
            "tier": self.one(None, None, "S", "A", "B"),
            "valid_from": started,
            "valid_to": self.maybe(self.after(started or self.instant()), 0.4),
            "recorded_at": self.arrival(started) if started else self.maybe(self.instant(), 0.5),
        }

    def tickets(self):
        for number in self.upto(2 * self.size):
            opened = self.instant()
            resolved = self.maybe(self.after(opened), 0.6)
            yield (
                "tickets",
                {
                    "ticket_id": f"{self.account_id}-t{number}",
                    "user_id": self.one(None, *USERS),
                    "kind": self.one(*TICKET_KINDS),
                    "severity": self.one(*SEVERITIES),
                    "opened_at": opened,
                    "first_response_at": self.maybe(self.one(self.after(opened), opened - timedelta(hours=2)), 0.6),
                    "resolved_at": resolved,
                    "reopened_at": self.maybe(self.one(self.after(resolved or opened), self.after(opened)), 0.3),
                    "escalated_at": self.maybe(self.after(opened), 0.3),
                    "due_at": self.maybe(self.after(opened), 0.3),
                    "recorded_at": self.arrival(opened),
                },
            )

    def touchpoints(self):
        for _ in self.upto(2 * self.size):
            happened = self.instant()
            yield (
                "touchpoints",
                {
                    "user_id": self.one(None, *USERS, "u9"),
                    "kind": self.one("visit", "call", "training", "value_report", "review", "email"),
                    "initiated_by": self.one(None, "us", "customer"),
                    "occurred_at": happened,
                    "recorded_at": self.arrival(happened),
                },
            )

    def remaining_tables(self):
        """Surveys, goals, interventions, referrals and trials: each with a start, a result and a later fact."""
        for _ in self.upto(self.size):
            started = self.instant()
            arrived = {"recorded_at": self.arrival(started)}
            done, more = self.maybe(self.after(started), 0.8), self.maybe(self.after(started), 0.5)
            yield "surveys", self.survey(started, done, more) | arrived
            planned = {"due_at": self.maybe(self.after(started)), "achieved_at": done if self.chance(0.5) else None}
            yield "value_goals", {"goal": "save an hour", "set_at": started} | planned | arrived
            yield "interventions", {"playbook": "call the boss", "started_at": started, "ended_at": done} | arrived
            yield "referrals", {"referred_at": started, "converted_at": done, "reward_cost": 9.5} | arrived
            yield "trials", {"requested_at": started, "started_at": done, "finished_at": more} | arrived

    def survey(self, sent: datetime, answered: datetime | None, followed_up: datetime | None) -> dict[str, Any]:
        """Sent and perhaps answered, or answered without an invitation."""
        kind = self.one("nps", "csat")
        score = float(self.random.randint(0, 10) if kind == "nps" else self.random.randint(1, 5))
        columns = {"user_id": self.one(None, *USERS), "kind": kind, "score": self.maybe(score, 0.9)}
        unsolicited = self.chance(0.2)
        times = {"sent_at": None if unsolicited else sent, "answered_at": answered or (sent if unsolicited else None)}
        return columns | times | {"followed_up_at": followed_up}


def _has_same_known_time(key: tuple, keys: set) -> bool:
    """True if another version of a period has the same known time, so that no version is the newest."""
    user, started, arrived = key
    versions = [version for version in keys if version[:2] == (user, started)]
    return any((version[2] or started) == (arrived or started) for version in versions)


@functools.lru_cache(maxsize=1000)
def account(seed: int) -> list[tuple[str, Row]]:
    """Every row of an account: (table, row)."""
    life = Life(seed)
    return [(table, complete_row(table, {"account_id": life.account_id} | row)) for table, row in life.rows()]


def rates(seed: int) -> list[Row]:
    """Exchange rates, some of an as-of date and so unknown on it, several of one day; none for gold."""
    life = Life(seed)
    quoted = [(life.one("EUR", "CNY"), life.instant()) for _ in range(12)]
    again = [(currency, instant - timedelta(seconds=1)) for currency, instant in quoted]
    return [
        complete_row("rates", {"currency": currency, "date": instant, "rate": life.random.uniform(0.1, 2)})
        for currency, instant in dict.fromkeys(quoted + again)
    ]


def settle(seeds: Iterable[int]) -> World:
    """A world of these accounts."""
    chosen = list(seeds)
    tables: World = {"rates": rates(sum(chosen))}
    for seed in chosen:
        for table, row in account(seed):
            tables.setdefault(table, []).append(row)
    return world_of(tables)


def world_of(tables: World) -> World:
    """The tables completed with empty ones for all tables of the contract."""
    from renewals.features.tables import TABLES

    return {name: tables.get(name, []) for name in TABLES}
