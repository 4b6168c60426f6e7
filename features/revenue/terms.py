"""Terms, what continues what, pauses, purchases and mergers: the facts that `features.revenue.settlement` settles."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from renewals.features.policy import Policy
from renewals.features.revenue.contract_lines import Line, PaymentShare, Version
from renewals.features.revenue.valuation import Holding, Rates

Rule = Literal["replaces", "subscription", "order", "ramp", "adjacent", "grace", "overlap", "in_place"]
Kind = Literal["renewal", "amendment", "ramp"]


@dataclass(slots=True, eq=False)
class Term:
    """A term as known on the day that is being settled. Days are numbers since 1970-01-01."""

    line: Line
    number: int
    start: int
    end: int
    begin: int
    """First day of its revenue: its start, or the day on which it was settled too late to continue what it followed."""
    known: int
    version: Version
    stop: int | None = None
    """Day of its cancellation or deletion, or from which it is free."""
    renewed_in_place: int | None = None
    """Day on which the row's end was moved so far that it is a renewal."""
    is_void: bool = False
    """True if it was cancelled or deleted before it ran."""
    lapsed: int | None = None
    lapsed_from: list[Term] = field(default_factory=list)
    """What it would have continued, had it been paid in time."""
    is_waived: bool = False
    """True if it counts as paid: on its last day for payment, or when its outcome was decided, it was not asked."""
    final: int | None = None
    """Day on which its outcome became final."""
    final_due: int | None = None
    """Day on which it was due, once its outcome is final."""
    noted: int | None = None
    """Day on which its purchase was judged."""
    old_pairs: list[Pair] = field(default_factory=list)
    new_pairs: list[Pair] = field(default_factory=list)

    @property
    def ends(self) -> int:
        """Day on which it ends, as known."""
        return self.end if self.stop is None else min(self.end, self.stop)

    @property
    def length(self) -> int:
        """Days of the whole term."""
        return self.end - self.start

    @property
    def is_free(self) -> bool:
        """True if nothing is paid for it."""
        return self.line.versions[0].arr == 0 and self.version.arr == 0

    @property
    def is_live(self) -> bool:
        """True if it counts: neither void nor lapsed."""
        return not self.is_void and self.lapsed is None

    def has_amount(self, day: int, known: int) -> bool:
        """True if its amount on `day` is known on day `known`."""
        return self.line.version_in_force(day, known).has_amount

    def holding(self, day: int, known: int, rates: Rates, rate_day: int | None = None) -> Holding:
        """Amount, seats and plan on `day`, as known on day `known`, at the rate of `rate_day` (default: `day`).

        An amount that is not known counts as zero: ask `has_amount` before it is compared with another one.
        """
        version = self.line.version_in_force(day, known)
        amount = rates.cents(version.arr, version.currency, day if rate_day is None else rate_day)
        return Holding(amount or 0, version.seats or None, version.plan)


@dataclass(slots=True, eq=False)
class Pair:
    """An old term and the new one that continues it."""

    old: Term
    new: Term
    rule: Rule
    kind: Kind
    known: int
    voided: int | None = None


@dataclass(slots=True)
class Pause:
    """Days [start, end) in which a product of an account is paused."""

    account_id: Any
    product: str
    start: int
    end: int


@dataclass(slots=True)
class Purchase:
    """Something that an existing customer bought beyond what it had: up-sell or cross-sell."""

    term: Term
    account_id: Any
    product: str
    kind: Literal["upsell", "cross_sell"]
    happened: int
    known: int
    amount: int
    voided: int | None = None


@dataclass(frozen=True, slots=True)
class Merger:
    """An account that went on in another."""

    account_id: Any
    heir_id: Any
    merged: int
    known: int


@dataclass(frozen=True, slots=True)
class SettlementRules:
    """Settings by which contracts are settled."""

    policy: Policy
    rates: Rates
    payments: PaymentShare
    last_day: int
    """Last day that is settled: the day before `as_of`."""

    @property
    def before_days(self) -> int:
        """Longest time before an end at which a follow-on may start."""
        return self.policy.grace.before_days

    @property
    def after_days(self) -> int:
        """Longest time after an end at which a follow-on may start: the grace."""
        return self.policy.grace.after_days


def unique(terms: Iterable[Term]) -> list[Term]:
    """Terms without repetition, in their order of number."""
    return sorted({id(term): term for term in terms}.values(), key=lambda term: term.number)


def have_same_dates(left: Term, right: Term) -> bool:
    return (left.start, left.end) == (right.start, right.end)
