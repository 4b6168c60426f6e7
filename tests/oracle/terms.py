"""The terms an account had on a day, its observation, and the features of `commitment`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

from tests.oracle.known import Row, Then, addable, hours, mean, midnight, whole_days


@dataclass
class Term:
    """A contract as known: what it is worth, whether it ran, and whether its follow-on is signed or has begun."""

    row: Row
    value: float | None
    begun: bool
    running: bool
    followed: bool


def terms(then: Then) -> list[Term]:
    """Every contract known on the day."""
    rows = [row | {"product": row["product"] or "core"} for row in then.rows("contracts")]
    return [_term(row, rows, then) for row in rows]


def _term(row: Row, rows: list[Row], then: Then) -> Term:
    rate = then.rate(row["currency"])
    next_ones = [other for other in rows if follows(other, row, then)]
    began = row["start_date"] <= then.t and not never_ran(row)
    replaced = any(other["start_date"] <= then.t for other in next_ones)
    stopped = row["cancelled_at"] is not None
    return Term(
        row=row,
        value=None if rate is None else addable(row["arr"] * rate),
        begun=began,
        running=began and then.t < row["end_date"] and not stopped and not replaced,
        followed=bool(next_ones),
    )


def never_ran(row: Row) -> bool:
    """Cancelled by its first instant."""
    return row["cancelled_at"] is not None and row["cancelled_at"] <= row["start_date"]


def follows(later: Row, due: Row, then: Then) -> bool:
    """R2: the same product, begun after it and about when it ends, and outlasting it; not cancelled."""
    grace = then.policy.grace
    gap = whole_days(due["end_date"], later["start_date"])
    return (
        later["contract_id"] != due["contract_id"]
        and later["product"] == due["product"]
        and later["cancelled_at"] is None
        and later["start_date"].date() > due["start_date"].date()
        and later["end_date"].date() > due["end_date"].date()
        and -grace.before_days <= gap <= grace.after_days
    )


def main_renewal(then: Then, known: list[Term]) -> list[Term]:
    """The running terms that end on the day on which most revenue ends; the earlier day if two are even."""
    sets: dict = {}
    for term in known:
        if term.running:
            sets.setdefault(term.row["end_date"].date(), []).append(term)
    order = sorted(sets, key=lambda day: (-(_worth(sets[day]) if _worth(sets[day]) is not None else -1), day))
    return sets[order[0]] if order else []


def _worth(some: list[Term]) -> float | None:
    values = [term.value for term in some if term.value is not None]
    return sum(values) if values else None


def observation(then: Then) -> Row | None:
    """The spine's row, or nothing where the account is not observed."""
    known = terms(then)
    main = main_renewal(then, known)
    if not main:
        return None
    end = main[0].row["end_date"].date()
    days_left = (end - then.as_of).days
    if days_left > then.policy.renewal.horizon_days:
        return None
    arr = _worth([term for term in known if term.running])
    begun = [term.row["start_date"] for term in known if term.begun]
    start = min(term.row["start_date"] for term in main)
    age = then.days_ago(min(begun))
    account = list(then.rows("accounts"))
    return {
        "account_id": then.account_id,
        "as_of": then.as_of,
        "renewal_date": end,
        "days_to_renewal": days_left,
        "term_start": start.date(),
        "term_age": then.days_ago(start),
        "account_age": age,
        "arr": arr,
        "arr_due": _worth(main),
        "renewal_signed": any(term.followed for term in main),
        "currency": then.policy.money.reporting_currency,
        "size_band": _band(arr, then),
        "stage": _stage(age, days_left, then),
        "account_name": account[0]["account_name"] if account else None,
        "csm": account[0]["csm"] if account else None,
    }


def _band(arr: float | None, then: Then) -> str | None:
    small, large = then.policy.money.size_bands
    if arr is None:
        return None
    return "small" if arr < small else "medium" if arr <= large else "large"


def _stage(age: int, days_left: int, then: Then) -> str:
    journey = then.policy.journey
    if age < journey.onboarding_days:
        return "onboarding"
    return "pre_renewal" if days_left <= journey.pre_renewal_days else "steady"


class Commitment:
    """The features of the family, under their functions' names."""

    def __init__(self, then: Then) -> None:
        self.then = then
        self.all = terms(then)
        self.running = [term for term in self.all if term.running]
        self.begun = [term for term in self.all if term.begun]
        self.observed = observation(then)
        due = main_renewal(then, self.all)
        self.main = min(due, key=lambda term: (term.value is None, -(term.value or 0), term.row["contract_id"]))
        self.earlier = self._terms_before()

    def _terms_before(self) -> list[tuple[date, Term]]:
        """The terms of the main product that began before the main one, with their days, the oldest first."""
        own = self.main.row
        dated = [(t.row["start_date"].date(), t) for t in self.begun if t.row["product"] == own["product"]]
        return sorted((pair for pair in dated if pair[0] < own["start_date"].date()), key=lambda pair: pair[0])

    def _of_the_day(self, place: int) -> list[Term]:
        """The first or the last of the earlier terms, and what else began on its day."""
        return [term for day, term in self.earlier if day == self.earlier[place][0]]

    def days_to_renewal(self):
        return self.observed["days_to_renewal"]

    def account_age(self):
        return self.observed["account_age"]

    def journey_stage(self):
        return self.observed["stage"]

    def term_age(self):
        return self.observed["term_age"]

    def term_length(self):
        return (self.observed["renewal_date"] - self.observed["term_start"]).days

    def arr(self):
        return self.observed["arr"]

    def arr_due_share(self):
        due, arr = self.observed["arr_due"], self.observed["arr"]
        return None if due is None or not arr else due / arr

    def follow_on_signed(self):
        return int(self.observed["renewal_signed"])

    def seats(self):
        return max((t.row["seats"] for t in self.running if t.row["seats"] is not None), default=None)

    def products(self):
        return len({t.row["product"] for t in self.running})

    def auto_renew(self):
        return mean([float(t.row["auto_renew"]) for t in self.running if t.row["auto_renew"] is not None])

    def plan(self):
        return self.main.row["plan"]

    def price_per_seat(self):
        return (
            None if self.main.value is None or not self.main.row["seats"] else self.main.value / self.main.row["seats"]
        )

    def terms_so_far(self):
        return len(self.begun)

    def cancelled_so_far(self):
        return len([t for t in self.begun if t.row["cancelled_at"] is not None])

    def payment_delay(self):
        paid = [hours(t.row["start_date"], t.row["paid_at"]) for t in self.begun if t.row["paid_at"] is not None]
        return mean([addable(h / 24) for h in paid])

    def unpaid_terms(self):
        if not any(t.row["paid_at"] is not None for t in self.all):
            return 0
        old = midnight(self.then.as_of - timedelta(days=30))
        return len([t for t in self.running if t.row["paid_at"] is None and t.row["start_date"] < old])

    def renewals_so_far(self):
        return len({day for day, _term in self.earlier})

    def price_change(self):
        changes = [self._price_change(old) for old in self._of_the_day(-1)]
        return max((c for c in changes if c is not None), default=None)

    def price_change_since_first_term(self):
        changes = [self._price_change(old) for old in self._of_the_day(0)]
        return max((c for c in changes if c is not None), default=None)

    def _price_change(self, old: Term):
        now_seats, old_seats = self.main.row["seats"], old.row["seats"]
        if (now_seats is None) != (old_seats is None) or now_seats == 0 or old_seats == 0:
            return None
        if self.main.value is None or not old.value:
            return None
        return (self.main.value / (now_seats or 1)) / (old.value / (old_seats or 1)) - 1

    def seats_change(self):
        now = self.main.row["seats"]
        changes = [now / t.row["seats"] - 1 for t in self._of_the_day(-1) if now is not None and t.row["seats"]]
        return max(changes, default=None)

    def days_signed_before_start(self):
        ahead = hours(self.main.row["signed_at"], self.main.row["start_date"])
        return None if ahead is None else ahead / 24
