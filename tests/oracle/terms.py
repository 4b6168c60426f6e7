"""Terms of an account as known on a day, its observation, and the features of `commitment`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

from tests.oracle.contracts import Rules, Story, tell
from tests.oracle.known import AccountView, Row, calendar_days, hours, mean, midnight, quantize


@dataclass
class Term:
    """A contract as known: its value, and if it has started, runs, ended lately, rolls on, and has a follow-on."""

    row: Row
    value: float | None
    started: bool
    running: bool
    overdue: bool
    followed: bool
    rolling: bool

    @property
    def end(self) -> date | None:
        """Day on which its renewal is due; None if it rolls on."""
        if self.rolling and not self.overdue:
            return None
        ends = [self.row["end_date"], *([self.row["cancelled_at"]] if self.row["cancelled_at"] else [])]
        return min(ends).date()


def terms(view: AccountView) -> list[Term]:
    """All contracts known on the day that are terms: no free trials, none that never ran, and none that became known
    too late to follow and after its own end."""
    rows = [row | {"product": row["product"] or "core"} for row in view.rows("contracts")]
    rows = [row | {"cancelled_at": None if is_foreign(row) else row["cancelled_at"]} for row in rows]
    story = story_of(view)
    told = {entry["contract_id"] for entry in story.ledger} | {pair["old"] for pair in story.pairs}
    kept = [row for row in rows if not never_ran(row) and not is_trial(row, rows)]
    kept = [row for row in kept if not has_ended(row, view) or row["contract_id"] in told]
    return [_term(row, kept, story.pairs, view) for row in kept]


def has_ended(row: Row, view: AccountView) -> bool:
    """True if a contract ended, or was cancelled, before the day."""
    return row["end_date"] < view.t or row["cancelled_at"] is not None


def story_of(view: AccountView) -> Story:
    """The story that the oracle of contracts tells on the day; no seats recorded as 0 are unknown."""
    if "story" not in view.cache:
        view.cache["story"] = _tell_story(view)
    return view.cache["story"]


def _tell_story(view: AccountView) -> Story:
    tables = {
        "contracts": [row | {"seats": row["seats"] or None} for row in view.raw("contracts")],
        "accounts": [{"account_id": view.account_id}],
        "rates": view.all_rows("rates"),
    }
    grace = view.policy.grace
    rules = Rules(before_days=grace.before_days, after_days=grace.after_days, payment=view.policy.renewal.payment)
    return tell(tables, view.as_of, rules, view.as_of.replace(day=1))


def _term(row: Row, rows: list[Row], pairs: list[Row], view: AccountView) -> Term:
    rate = view.rate(row["currency"])
    starts = {other["contract_id"]: other["start_date"] for other in rows}
    mine = [pair for pair in pairs if pair["old"] == row["contract_id"]]
    started = row["start_date"] <= view.t
    replaced = any(pair["new"] in starts and starts[pair["new"]] <= view.t for pair in mine)
    ended = view.t >= row["end_date"] or row["cancelled_at"] is not None
    final = {entry["contract_id"] for entry in story_of(view).ledger if entry["outcome"] != "pending"}
    return Term(
        row=row,
        value=None if rate is None else quantize(row["arr"] * rate),
        started=started,
        running=started and not ended and not replaced,
        overdue=started and ended and not mine and row["contract_id"] not in final,
        followed=any(pair["kind"] == "renewal" for pair in mine),
        rolling=is_rolling(row, rows),
    )


def is_foreign(row: Row) -> bool:
    """True if a cancellation is dated before the signature and the start: it is not this contract's."""
    cancelled, signed = row["cancelled_at"], row["signed_at"]
    return cancelled is not None and signed is not None and cancelled.date() < min(signed, row["start_date"]).date()


def never_ran(row: Row) -> bool:
    """True if the contract was cancelled at or before its start, or deleted."""
    cancelled = row["cancelled_at"] is not None and row["cancelled_at"].date() <= row["start_date"].date()
    return cancelled or row["deleted_at"] is not None


def is_trial(row: Row, rows: list[Row]) -> bool:
    """True for a free row of at most 90 days of a product that the account had not paid for before, as known when the
    row became known."""
    days = calendar_days(row["start_date"], row["end_date"])
    paid_before = any(
        other["arr"] > 0
        and not never_ran(other)
        and other["product"] == row["product"]
        and other["start_date"] < row["start_date"]
        and known_day(other) <= known_day(row)
        for other in rows
    )
    return row["arr"] == 0 and days <= 90 and not paid_before


def known_day(row: Row) -> date:
    """Day on which a contract became known."""
    return (row["signed_at"] or row["start_date"]).date()


def is_rolling(row: Row, rows: list[Row]) -> bool:
    """R15: shorter than 90 days, unless it ends with a longer one of its product."""

    def is_short(one: Row) -> bool:
        return calendar_days(one["start_date"], one["end_date"]) < 90

    longer = [
        o for o in rows if o["product"] == row["product"] and o["end_date"] == row["end_date"] and not is_short(o)
    ]
    return is_short(row) and not longer


def renewal_sets(known: list[Term]) -> dict[date | None, list[Term]]:
    """The terms that run or ended lately, by the day on which their renewal is due."""
    sets: dict = {}
    for term in known:
        if term.running or term.overdue:
            sets.setdefault(term.end, []).append(term)
    return sets


def _total_value(members: list[Term]) -> float | None:
    values = [term.value for term in members if term.value is not None]
    return sum(values) if values else None


def observations(view: AccountView) -> list[Row]:
    """The rows of the spine: one for each renewal due or overdue, else one if the account is a customer."""
    known = terms(view)
    sets = renewal_sets(known)
    states = {end: _state(end, members, view) for end, members in sets.items()}

    def place(end: date | None) -> tuple:
        value = _total_value(sets[end])
        rank = ("due", "overdue", "not_due").index(states[end])
        return rank, value is None, -(value or 0), end is None, end or date.max

    order = sorted(sets, key=place)
    rows = [end for end in order if states[end] != "not_due"] or order[:1]
    return [_observation(end, end == order[0], sets, states[end], known, view) for end in rows]


def observation(view: AccountView) -> Row:
    """The main row of an account."""
    return next(row for row in observations(view) if row["is_main"])


def _state(end: date | None, members: list[Term], view: AccountView) -> str:
    if any(term.overdue for term in members):
        return "overdue"
    in_sight = end is not None and (end - view.as_of).days <= view.policy.renewal.horizon_days
    return "due" if in_sight else "not_due"


def _observation(end: date | None, is_main: bool, sets: dict, state: str, known: list[Term], view: AccountView) -> Row:
    members, every = sets[end], [term for terms in sets.values() for term in terms]
    paid = every if state == "not_due" else members
    start = min(term.row["start_date"] for term in members)
    age = view.days_ago(min(term.row["start_date"] for term in known if term.started))
    arr = _total_value(every)
    days_left = None if end is None else (end - view.as_of).days
    currencies = {term.row["currency"] or view.policy.money.reporting_currency for term in paid}
    account = [row for row in view.rows("accounts") if row["deleted_at"] is None]
    return {
        "account_id": view.account_id,
        "renewal_id": f"{view.account_id}:{'' if end is None else end}",
        "as_of": view.as_of,
        "renewal_state": state,
        "is_main": is_main,
        "runs": any(term.running for term in every),
        "renewal_date": end,
        "days_to_renewal": days_left,
        "term_start": start.date(),
        "term_age": view.days_ago(start),
        "account_age": age,
        "account_arr": arr,
        "arr_due": _total_value(paid),
        "contract_amount": sum(quantize(term.row["arr"]) for term in paid) if len(currencies) == 1 else None,
        "contract_currency": min(currencies) if len(currencies) == 1 else None,
        "products": ", ".join(sorted({term.row["product"] for term in paid})),
        "renewal_signed": any(term.followed for term in members),
        "currency": view.policy.money.reporting_currency,
        "size_band": _band(arr, view),
        "stage": _stage(age, days_left, view),
        "account_name": account[0]["account_name"] if account else None,
        "csm": account[0]["csm"] if account else None,
    }


def _band(arr: float | None, view: AccountView) -> str | None:
    small, large = view.policy.money.size_bands
    if arr is None:
        return None
    return "small" if arr < small else "medium" if arr <= large else "large"


def _stage(age: int, days_left: int | None, view: AccountView) -> str:
    journey = view.policy.journey
    if age < journey.onboarding_days:
        return "onboarding"
    return "pre_renewal" if days_left is not None and days_left <= journey.pre_renewal_days else "steady"


class Commitment:
    """Features of the family; methods are named after their functions."""

    def __init__(self, view: AccountView, observed: Row | None = None) -> None:
        self.view = view
        self.all = terms(view)
        self.running = [term for term in self.all if term.running]
        self.started = [term for term in self.all if term.started]
        self.observed = observed or view.renewal
        due = renewal_sets(self.all)[self.observed["renewal_date"]]
        self.main = min(due, key=lambda term: (term.value is None, -(term.value or 0), term.row["contract_id"]))
        self.earlier = self._terms_before()

    def _terms_before(self) -> list[tuple[date, Term]]:
        """Earlier terms of the main product with their start days, the oldest first."""
        main_row = self.main.row
        dated = [(t.row["start_date"].date(), t) for t in self.started if t.row["product"] == main_row["product"]]
        return sorted((pair for pair in dated if pair[0] < main_row["start_date"].date()), key=lambda pair: pair[0])

    def _terms_of_the_day(self, index: int) -> list[Term]:
        """Terms that started on the day of the first or last earlier term."""
        return [term for day, term in self.earlier if day == self.earlier[index][0]]

    def days_to_renewal(self):
        return self.observed["days_to_renewal"]

    def account_age(self):
        return self.observed["account_age"]

    def journey_stage(self):
        return self.observed["stage"]

    def term_age(self):
        return self.observed["term_age"]

    def term_length(self):
        end = self.observed["renewal_date"]
        return None if end is None else (end - self.observed["term_start"]).days

    def arr(self):
        return self.observed["account_arr"]

    def arr_due_share(self):
        due, arr = self.observed["arr_due"], self.observed["account_arr"]
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
        return len(self.started)

    def cancelled_so_far(self):
        early = [t for t in self.started if t.row["cancelled_at"] and t.row["cancelled_at"] < t.row["end_date"]]
        return len(early)

    def payment_delay(self):
        paid = [hours(t.row["start_date"], t.row["paid_at"]) for t in self.started if t.row["paid_at"] is not None]
        return mean([quantize(h / 24) for h in paid])

    def unpaid_terms(self):
        if not any(t.row["paid_at"] is not None for t in self.all):
            return 0
        old = midnight(self.view.as_of - timedelta(days=30))
        return len([t for t in self.running if t.row["paid_at"] is None and t.row["start_date"] < old])

    def renewals_so_far(self):
        return len({day for day, _term in self.earlier})

    def price_change(self):
        changes = [self._price_change(old) for old in self._terms_of_the_day(-1)]
        return max((c for c in changes if c is not None), default=None)

    def price_change_since_first_term(self):
        changes = [self._price_change(old) for old in self._terms_of_the_day(0)]
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
        changes = [now / t.row["seats"] - 1 for t in self._terms_of_the_day(-1) if now is not None and t.row["seats"]]
        return max(changes, default=None)

    def days_signed_before_start(self):
        ahead = hours(self.main.row["signed_at"], self.main.row["start_date"])
        return None if ahead is None else ahead / 24
