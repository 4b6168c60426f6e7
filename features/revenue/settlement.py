"""Settlement: what became of each contract of one customer, decided day by day as things became known (R1, R2, R10).

The contracts of a *family*, accounts that are merged or share contracts, are settled together: the days on which
something became known, started or matured are gone through in order, and what is decided on a day rests on nothing
that became known later. So an answer for an earlier day is the same from all rows as from those known by then.

Terms used here:

term      something bought for a time, due once: a contract row with its versions, or a part of it between two renewals
          in place. Free trials, pauses and one-off rows are none.
pair      an old term and a new one that continues it, with the rule that joined them: the old one was *renewed*, or it
          was *amended* (never due), or the new one is a step of a *ramp* (due once, at the end of the last step).
ends      the earlier of the end and the cancellation or deletion of a term, as known.
due       the day on which a term ends, or was renewed early; it *matures* when the grace has passed, and is then final.
lapsed    a new term of which payment was asked, and that nobody paid in time: it continues nothing.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from renewals.features.policy import Policy
from renewals.features.revenue.contract_lines import ADJACENT_DAYS, OPEN_END, Line, PaymentShare, Version
from renewals.features.revenue.valuation import (
    ROUNDING_CENTS,
    Holding,
    Rates,
    decompose_change,
    month_end,
    term_years,
    total,
)

Rule = Literal["replaces", "subscription", "order", "ramp", "adjacent", "grace", "overlap", "in_place"]
Kind = Literal["renewal", "amendment", "ramp"]

TRIAL_DAYS = 90
"""Longest free row of a product without an earlier paid row that is a trial (R10)."""
PAYMENT_SHARE = 0.8
"""Share of the terms of a year with a payment date from which on payment is asked of one (R1)."""
ROLLING_DAYS = 90
"""Terms shorter than this roll on: they are in no renewal rate (R15)."""


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

    def holding(self, day: int, known: int, rates: Rates, rate_day: int | None = None) -> Holding:
        """Amount, seats and plan on `day`, as known on day `known`, at the rate of `rate_day` (default: `day`)."""
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
    """Last day that is settled: the day before the one on which the story is told."""

    @property
    def before_days(self) -> int:
        """Longest time before an end at which a follow-on may start."""
        return self.policy.grace.before_days

    @property
    def after_days(self) -> int:
        """Longest time after an end at which a follow-on may start: the grace."""
        return self.policy.grace.after_days


class Settlement:
    """The contracts of one family, settled up to `rules.last_day`."""

    def __init__(self, lines: Sequence[Line], mergers: Iterable[Merger], rules: SettlementRules) -> None:
        self.rules = rules
        self.terms: list[Term] = []
        self.pairs: list[Pair] = []
        self.purchases: list[Purchase] = []
        self.overlaps: list[tuple[Term, Term, bool]] = []
        """Old and new term that overlap without any other sign, and whether the new one replaces the old one."""
        self.has_news = False
        """True if something became known, or a term started, on the day that is being settled."""
        self.matured: list[Term] = []
        """Terms whose outcome became final on the day that is being settled."""
        self.revision = 0
        """Number of changes so far to what is held: terms, their ends and amounts, and what continues what."""
        self.day = -OPEN_END
        self._days: list[int] = []
        self._queued: set[int] = set()
        self._lines_of_day: dict[int, list[Line]] = defaultdict(list)
        self._mergers_of_day: dict[int, list[Merger]] = defaultdict(list)
        self._heirs: dict[Any, Merger] = {}
        self._terms_of_line: dict[int, list[Term]] = defaultdict(list)
        self._trials: set[int] = set()
        self._pauses_of_line: dict[int, list[Pause]] = {}
        for line in lines:
            for day in line.fact_days():
                self._lines_of_day[day].append(line)
                self.queue(day)
        for merger in mergers:
            self._mergers_of_day[merger.known].append(merger)
            self.queue(merger.known)

    # --- days ----------------------------------------------------------------------------------

    def queue(self, day: int) -> None:
        """Have something decided on `day`."""
        if self.day < day <= self.rules.last_day and day not in self._queued:
            self._queued.add(day)
            heapq.heappush(self._days, day)

    def next_day(self) -> int | None:
        """Next day on which something is decided; None if there is none."""
        return self._days[0] if self._days else None

    def settle_next_day(self) -> None:
        """Take over what became known on the next day, and decide what follows from it."""
        self.day = heapq.heappop(self._days)
        lines, mergers = self._lines_of_day.pop(self.day, ()), self._mergers_of_day.pop(self.day, ())
        for line in lines:
            self._update(line)
        for merger in mergers:
            self._heirs[merger.account_id] = merger
        self.has_news = bool(lines or mergers) or any(term.start == self.day for term in self.terms)
        if lines or mergers:
            self.revision += 1
            self._drop_broken_pairs()
        if self.has_news:
            self._join_terms()
            self._judge_purchases()
        self._settle_payments()
        self._mature_terms()

    # --- accounts ------------------------------------------------------------------------------

    def owner(self, account_id: Any, day: int) -> Any:
        """Account that holds the contracts of an account on `day`, after mergers known by now."""
        seen, heir = {account_id}, account_id
        while (merger := self._heirs.get(heir)) is not None and merger.merged <= day:
            heir = merger.heir_id
            if heir in seen:
                return account_id  # a ring of accounts names no heir
            seen.add(heir)
        return heir

    def account(self, term: Term, day: int | None = None) -> Any:
        """Account that holds a term on `day` (default: the day that is being settled)."""
        return self.owner(term.version.account_id, self.day if day is None else day)

    # --- what a row says -----------------------------------------------------------------------

    def _update(self, line: Line) -> None:
        """Take over what became known of a line."""
        version = line.known_version(self.day)
        if version.kind == "one_off":
            return
        self._update_pauses(line, version)
        if line.versions[0].kind == "pause":
            return
        terms = self._terms_of_line[id(line)]
        stop = self._stop(line, version)
        if not terms:
            start = self._paid_from(line, version)
            if start is not None:
                self._add_term(line, version, start, version.end, stop)
            return
        term = terms[-1]
        previous, term.version = term.version, version
        if version.start != previous.start and term.start > self.day and len(terms) == 1:
            term.start = term.begin = version.start
            self.queue(term.start)
        if version.end != term.end:
            self._move_end(line, term, version)
        self._set_stop(self._terms_of_line[id(line)][-1], stop)
        self._judge_amendment(term)

    def _paid_from(self, line: Line, version: Version) -> int | None:
        """Start of the term of a line; None while it is a free trial."""
        was_trial = self._is_trial(line.versions[0], line)
        if version.arr == 0:
            return None if was_trial else version.start
        if was_trial and version is not line.versions[0]:
            return version.effective
        return version.start

    def _is_trial(self, version: Version, line: Line) -> bool:
        """True for a free row that is a trial; judged on the day it becomes known, and not again."""
        if version.arr != 0:
            return False
        if version.kind in ("trial", "pilot") or id(line) in self._trials:
            return True
        account = self.owner(version.account_id, self.day)
        had = any(
            term.line is not line
            and not term.is_free
            and not term.is_void
            and term.version.product == version.product
            and term.start < version.start
            and self.account(term) == account
            for term in self.terms
        )
        is_trial = version.end - version.start <= TRIAL_DAYS and not had
        if is_trial:
            self._trials.add(id(line))
        return is_trial

    def _stop(self, line: Line, version: Version) -> int | None:
        """Day on which a line was cancelled or became free, as known on the day that is being settled."""
        stops = [version.cancelled] if version.cancelled is not None and version.cancelled <= self.day else []
        if (
            version.arr == 0
            and version.kind != "pause"
            and any(v.arr > 0 and v.known <= self.day for v in line.versions)
        ):
            stops.append(version.effective)
        return min(stops, default=None)

    def _add_term(self, line: Line, version: Version, start: int, end: int, stop: int | None) -> Term:
        number = len(self.terms)
        term = Term(line, number, start, end, start, self.day, version)
        self.terms.append(term)
        self._terms_of_line[id(line)].append(term)
        self._set_stop(term, stop)
        self.queue(start)
        self._queue_maturity(term)
        return term

    def _set_stop(self, term: Term, stop: int | None) -> None:
        """Set the day of cancellation; a term cancelled before it ran is void, and so is one that was deleted.

        What has already counted ran, whatever is recorded later: a term by which the outcome of another became final,
        or that was cancelled on its start after a month with it became final, ends on its start.
        """
        if self.last_step(term).final is not None or (stop is not None and stop >= term.end):
            return
        is_deleted = term.version.deleted is not None and term.version.deleted <= self.day
        never_ran = is_deleted or (stop is not None and stop <= term.start)
        renewed = any(pair.old.final is not None for pair in term.old_pairs)
        month_final = self.month_final_day(term.start)
        counted = renewed or (not is_deleted and term.known <= month_final < self.day)
        term.is_void = never_ran and (term.is_void or not counted)
        stop = term.start if is_deleted else stop
        term.stop = stop if stop is None else max(stop, term.start)
        term.is_void |= term.begin > term.start and term.begin >= term.ends
        self._queue_maturity(term)

    def month_final_day(self, day: int) -> int:
        """Last day of the grace that follows the month of `day`: the month is final once it has passed."""
        return month_end(day) + self.rules.after_days

    def _move_end(self, line: Line, term: Term, version: Version) -> None:
        """Move the end of a term: by less than half its length an extension, by more a renewal in place.

        Once another contract follows, a later end changes nothing.
        """
        moved = version.end - term.end
        if moved > 0 and term.new_pairs:
            return
        if moved > 0 and (term.final is not None or term.ends + self.rules.after_days < self.day):
            again = self._add_term(line, version, term.end, version.end, None)
            again.begin = max(self.day, again.start)
        elif term.final is not None:
            return
        elif moved > 0 and 2 * moved >= term.length and term.start < self.day and version.arr > 0:
            term.renewed_in_place = min(self.day, term.ends)
            again = self._add_term(line, version, term.renewed_in_place, version.end, None)
            self._add_pair(term, again, "in_place", "renewal")
        else:
            term.end = version.end
        self._queue_maturity(term)

    def _update_pauses(self, line: Line, version: Version) -> None:
        """Take over the pauses of a line: a row of its own, or versions between which a contract is paused."""
        known = [v for v in line.versions if v.known <= self.day]
        if all(v.kind != "pause" for v in known):
            return
        stop = min((day for day in (version.cancelled, version.deleted) if day and day <= self.day), default=OPEN_END)
        starts = [v.start if v is line.versions[0] else v.effective for v in known]
        ends = [*starts[1:], version.end]
        if line.versions[0].kind == "pause":
            starts, ends, known = [version.start], [version.end], [version]
        self._pauses_of_line[id(line)] = [
            Pause(v.account_id, v.product, start, min(end, stop))
            for v, start, end in zip(known, starts, ends, strict=True)
            if v.kind == "pause"
        ]
        for pause in self._pauses_of_line[id(line)]:
            for day in (pause.start - 1, pause.start, pause.end - 1, pause.end):
                self.queue(day)
        for term in self.terms:
            self._queue_maturity(term)

    def pauses(self, term: Term) -> list[Pause]:
        """Pauses of a term's product, as known."""
        if not self._pauses_of_line:
            return []
        account = self.account(term)
        return [
            pause
            for pauses in self._pauses_of_line.values()
            for pause in pauses
            if pause.product == term.version.product
            and self.owner(pause.account_id, self.day) == account
            and pause.end > max(pause.start, term.start)
        ]

    def ends_after_pause(self, term: Term) -> int:
        """Day on which a term ends, or on which the pause ends that follows it."""
        ends = term.ends
        if not self._pauses_of_line:
            return ends
        followed = min((pair.new.start for pair in term.new_pairs), default=OPEN_END)
        for pause in sorted(self.pauses(term), key=lambda pause: pause.start):
            if term.start < pause.start <= min(ends + self.rules.after_days, followed) and pause.end > ends:
                ends = pause.end
        return ends

    # --- dates ---------------------------------------------------------------------------------

    def before_window(self, term: Term) -> int:
        """Longest time before the end of a term at which its follow-on may start: at most half of the term."""
        return min(self.rules.before_days, term.length // 2)

    def due(self, term: Term) -> int | None:
        """Day on which a term is due, as known; None if it never is: it was amended, or is a step of a ramp."""
        if term.final_due is not None:
            return term.final_due
        if term.renewed_in_place is not None:
            return term.renewed_in_place
        if not term.new_pairs:
            return self.ends_after_pause(term)
        if any(pair.kind != "renewal" for pair in term.new_pairs):
            return None
        first = min(pair.new.start for pair in term.new_pairs)
        return first if first < term.ends - self.before_window(term) else self.ends_after_pause(term)

    def revenue_end(self, term: Term) -> int:
        """First day without the revenue of a term: a follow-on starts, or it is lost; while pending it counts."""
        if term.renewed_in_place is not None:
            return term.renewed_in_place
        if term.new_pairs:
            return self.main_follow_on(term.new_pairs).new.start
        if term.final_due is not None:
            return term.final_due
        return self.ends_after_pause(term) + self.rules.after_days + 1

    def main_follow_on(self, pairs: Sequence[Pair]) -> Pair:
        """The pair with the largest of several new terms; those of the same dates count together."""
        if len(pairs) == 1:
            return pairs[0]
        amounts: dict[tuple[int, int], int] = defaultdict(int)
        sizes = {pair: pair.new.holding(pair.new.start, self.day, self.rules.rates).amount for pair in pairs}
        for pair, amount in sizes.items():
            amounts[pair.new.start, pair.new.end] += amount
        return min(
            pairs,
            key=lambda p: (
                -amounts[p.new.start, p.new.end],
                *(p.new.start, p.new.end, -sizes[p]),
                p.new.version.account_id != p.old.version.account_id,
                p.new.number,
            ),
        )

    def is_held(self, term: Term, day: int) -> bool:
        """True if the customer has a term on `day`, running, pending or paused."""
        return term.is_live and term.begin <= day < self.revenue_end(term)

    def is_paused(self, term: Term, day: int) -> bool:
        """True if the product of a term is paused on `day`."""
        return bool(self._pauses_of_line) and any(pause.start <= day < pause.end for pause in self.pauses(term))

    def next_change(self, day: int) -> int:
        """First day after `day` on which something held begins, ends, pauses or changes without further news."""
        days = [OPEN_END]
        for term in self.terms:
            if term.is_live:
                days += (term.begin, self.revenue_end(term))
                days += [version.effective for version in term.line.versions[1:]]
                days += [pair.new.begin for pair in term.new_pairs]
        days += [day for pauses in self._pauses_of_line.values() for p in pauses for day in (p.start, p.end)]
        days += [merger.merged for merger in self._heirs.values()]
        return min(change for change in days if change > day)

    def last_step(self, term: Term) -> Term:
        """Last known step of the ramp that a term belongs to; the term itself if it is in none."""
        while steps := [pair.new for pair in term.new_pairs if pair.kind == "ramp"]:
            term = max(steps, key=lambda step: (step.end, step.number))
        return term

    def first_step(self, term: Term) -> Term:
        """First step of the ramp that a term belongs to; the term itself if it is in none."""
        while steps := [pair.old for pair in term.old_pairs if pair.kind == "ramp"]:
            term = min(steps, key=lambda step: (step.start, step.number))
        return term

    def is_rolling(self, term: Term) -> bool:
        """True if a term rolls on: it has no end, or is shorter than 90 days with all steps of its ramp (R15).

        A short one that ends with a longer one of the same product belongs to its renewal.
        """
        last, first = self.last_step(term), self.first_step(term)
        if last.end >= OPEN_END or last.end - first.start >= ROLLING_DAYS:
            return last.end >= OPEN_END
        return not any(
            other.end == last.end
            and other.is_live
            and other.end - self.first_step(other).start >= ROLLING_DAYS
            and self._is_alike(other, last)
            for other in self.terms
        )

    def payment_deadline(self, term: Term) -> int:
        """Last day on which a renewal may be paid."""
        return term.start + self.rules.policy.renewal.payment_days

    def is_payment_asked(self, term: Term) -> bool:
        """True if a term counts as a renewal only once it is paid: as known now, the terms of its year mostly are."""
        payment = self.rules.policy.renewal.payment
        if payment != "auto":
            return payment == "required"
        return self.rules.payments.share(term.start, self.day) >= PAYMENT_SHARE

    def is_paid(self, term: Term) -> bool:
        """True if the payment of a term is known."""
        return term.version.paid is not None and term.version.paid <= self.day

    def is_waiting(self, pair: Pair) -> bool:
        """True if the new term of a renewal still has to be paid."""
        return (
            pair.kind == "renewal"
            and pair.rule != "in_place"
            and not pair.new.is_waived
            and not self.is_paid(pair.new)
            and self.is_payment_asked(pair.new)
        )

    def _queue_maturity(self, term: Term) -> None:
        due = self.due(term)
        if due is not None:
            self.queue(max(due + self.rules.after_days, term.known, self.day))

    # --- what follows what (R10) ---------------------------------------------------------------

    def _add_pair(self, old: Term, new: Term, rule: Rule, kind: Kind) -> None:
        self.revision += 1
        pair = Pair(old, new, rule, kind, self.day)
        self.pairs.append(pair)
        old.new_pairs.append(pair)
        new.old_pairs.append(pair)
        self._queue_maturity(old)
        if kind == "renewal" and not self.is_paid(new):
            self.queue(max(self.payment_deadline(new), self.day + 1))
        for purchase in self.purchases:
            if purchase.term is new and purchase.voided is None and purchase.known < self.day:
                purchase.voided = self.day
                new.noted = None

    def _drop_pair(self, pair: Pair) -> None:
        self.revision += 1
        pair.voided = self.day
        pair.old.new_pairs.remove(pair)
        pair.new.old_pairs.remove(pair)
        self._queue_maturity(pair.old)

    def _drop_broken_pairs(self) -> None:
        """Drop the pairs whose new term never ran, or starts too late after an end that moved."""
        for term in self.terms:
            if self.last_step(term).final is not None:
                continue
            for pair in list(term.new_pairs):
                late = pair.new.start > self.ends_after_pause(term) + self.rules.after_days
                if term.is_void or pair.new.is_void or late:
                    self._drop_pair(pair)

    def _join_terms(self) -> None:
        """Join each new term to what it continues, rule by rule, paid terms before free ones."""
        for with_free in (False, True):
            for rule, find in self._finders():
                for new in self._without_old_pairs(rule):
                    for old in find(self._open_terms(new, with_free), new):
                        self._add_pair(old, new, rule, self._kind(old, new))
        self._join_further_ends()
        for new in self._without_old_pairs("overlap"):
            if self.day == max(new.known, new.start):
                self._judge_overlap(self._open_terms(new, True), new)
            if not new.old_pairs and new.known == self.day and self._is_too_late(new):
                new.begin = max(self.day, new.start)
                new.is_void = new.begin >= new.ends

    def _without_old_pairs(self, rule: Rule) -> list[Term]:
        """Terms that continue nothing so far: by rule 5 the nearest first, else in the order of their starts."""
        new_terms = [new for new in self.terms if new.is_live and not new.old_pairs and new.begin == new.start]

        def order(new: Term) -> tuple[int, int, int]:
            if rule != "grace":
                return (0, new.start, new.number)
            distances = [self._distance(old, new) for old in self._in_grace(self._open_terms(new, True), new)]
            return (min(distances, default=OPEN_END), new.start, new.number)

        return sorted(new_terms, key=order) if len(new_terms) > 1 else new_terms

    def _open_terms(self, new: Term, with_free: bool) -> list[Term]:
        """Terms that a new one may continue; a paid one continues a free one only if `with_free`."""
        return [
            old
            for old in self.terms
            if self._can_follow(old, new)
            and self.is_in_time(old, new)
            and (with_free or new.is_free or not old.is_free)
        ]

    def _join_further_ends(self) -> None:
        """Join, by rule 4, a term that nothing continues to a new one that already continues another.

        Two subscriptions are kept apart.
        """
        for new in self.terms:
            if not new.is_live or not new.old_pairs or new.begin != new.start:
                continue
            for old in self._adjacent(self._open_terms(new, False), new):
                is_renewal = all(pair.kind == "renewal" and pair.rule != "in_place" for pair in new.old_pairs)
                subscriptions = {old.version.subscription, new.version.subscription} - {None}
                if not old.new_pairs and is_renewal and len(subscriptions) < 2:
                    self._add_pair(old, new, "adjacent", self._kind(old, new))

    def _finders(self) -> Sequence[tuple[Rule, Any]]:
        """The rules in their order, each with the function that finds what a new term continues."""
        return (
            ("replaces", self._named_by),
            ("subscription", self._of_subscription),
            ("order", self._of_order),
            ("ramp", self._of_ramp),
            ("adjacent", self._adjacent),
            ("grace", self._in_grace),
        )

    def _can_follow(self, old: Term, new: Term) -> bool:
        """True if `new` may continue `old`, by whatever rule."""
        return (
            old is not new
            and old.is_live
            and old.start <= new.start <= self.ends_after_pause(old) + self.rules.after_days
            and not (new.is_free and not old.is_free)
        )

    def is_in_time(self, old: Term, new: Term) -> bool:
        """True if `new` was known before the outcome of `old` became final: on the day that `old` was known, or within
        the grace."""
        return old.final is None and new.known <= max(self.ends_after_pause(old) + self.rules.after_days, old.known)

    def _is_too_late(self, new: Term) -> bool:
        """True if `new` would continue a term that was already lost when it became known."""
        if new.start > self.day:
            return False
        lost = [old for old in self.terms if self._can_follow(old, new) and not self.is_in_time(old, new)]
        lost = [old for old in lost if not old.new_pairs]
        return any(find(lost, new) for _rule, find in self._finders())

    def _is_free_for(self, old: Term, new: Term) -> bool:
        """True if nothing continues `old` so far, or only what starts on the same day as `new`."""
        return old.renewed_in_place is None and all(pair.new.start == new.start for pair in old.new_pairs)

    def _with_twins(self, found: Term, terms: Sequence[Term], new: Term) -> list[Term]:
        """The term found, with those of its dates, product and ids: one contract booked in several rows."""
        ids = (found.version.subscription, found.version.order)
        return [
            t
            for t in terms
            if _are_twins(t, found)
            and (t.version.subscription, t.version.order) == ids
            and self._is_alike(t, found)
            and self._is_free_for(t, new)
        ]

    def _nearest(self, terms: Sequence[Term], new: Term) -> Term:
        """The term whose end is nearest to the start of the new one; of several the one that started last."""
        return min(terms, key=lambda t: (self._distance(t, new), -t.start, t.number))

    def _is_alike(self, old: Term, new: Term) -> bool:
        """True if both are the same product of the same account."""
        return old.version.product == new.version.product and self.account(old) == self.account(new)

    def _named_by(self, terms: Sequence[Term], new: Term) -> list[Term]:
        """(1) The contract that the new one says it replaces; at its end also those of its dates."""
        if new.version.replaces is None:
            return []
        named = [t for t in terms if t.line.contract_id == new.version.replaces and self._is_free_for(t, new)]
        if not named:
            return []
        found = max(named, key=lambda t: (t.start, t.number))
        is_early = new.start < found.ends - self.before_window(found)
        return [found] if is_early else self._with_twins(found, terms, new)

    def _of_subscription(self, terms: Sequence[Term], new: Term) -> list[Term]:
        """(2) The term before it of the same subscription, or of the same contract id.

        Another product of the subscription follows only where the term before it ends; else it is bought in addition.
        """

        def is_same(old: Term) -> bool:
            same_id = old.line is not new.line and old.line.contract_id == new.line.contract_id
            key = new.version.subscription
            return same_id or (key is not None and key == old.version.subscription)

        same = [t for t in terms if t.start < new.start and is_same(t) and self._is_free_for(t, new)]
        product = [t for t in same if t.version.product == new.version.product]
        product = product or [t for t in same if self._is_near(t, new)]
        return self._with_twins(self._nearest(product, new), terms, new) if product else []

    def _of_order(self, terms: Sequence[Term], new: Term) -> list[Term]:
        """(3) The row before it of the same order and product."""
        key, product = new.version.order, new.version.product
        same = [
            t
            for t in terms
            if key is not None
            and t.version.order == key
            and t.version.product == product
            and t.start < new.start
            and t.end < new.end
            and self._is_free_for(t, new)
        ]
        return self._with_twins(self._nearest(same, new), terms, new) if same else []

    def _of_ramp(self, terms: Sequence[Term], new: Term) -> list[Term]:
        """(3) The step before it of a ramp."""
        return [t for t in terms if self._is_step(t, new) and self._is_alike(t, new) and self._is_free_for(t, new)]

    @staticmethod
    def _is_step(old: Term, new: Term) -> bool:
        """True if a term starts where the other ends, and both were signed on one day, not after the first start."""
        signed = new.version.signed
        is_consecutive = old.start < new.start and abs(new.start - old.end) <= ADJACENT_DAYS and old.end < new.end
        return (
            is_consecutive
            and old.ends == old.end
            and old.version.product == new.version.product
            and signed is not None
            and signed == old.version.signed
            and signed <= old.start
        )

    def _adjacent(self, terms: Sequence[Term], new: Term) -> list[Term]:
        """(4) The terms of the same account and product that end within three days of its start."""
        return [
            old
            for old in terms
            if self._is_alike(old, new)
            and old.start < new.start
            and not self._is_replaced_early(old)
            and self._is_near(old, new)
            and self._may_follow_end(old, new)
        ]

    def _in_grace(self, terms: Sequence[Term], new: Term) -> list[Term]:
        """(5) The terms of the same account and product whose end is nearest, within the grace."""
        near = [
            old
            for old in terms
            if self._is_alike(old, new)
            and old.start < new.start
            and new.start >= self.ends_after_pause(old) - self.before_window(old)
            and self._is_free_twin(old, new)
            and self._may_follow_end(old, new)
        ]
        if not near:
            return []
        nearest = min(near, key=lambda old: (self._distance(old, new), self.ends_after_pause(old), old.number))
        ends = self.ends_after_pause(nearest)
        return [old for old in near if self.ends_after_pause(old) == ends]

    def _is_near(self, old: Term, new: Term) -> bool:
        """True if a term starts within three days of an end, and not in the first half of a very short term."""
        return any(
            -min(ADJACENT_DAYS, old.length // 2) <= new.start - end <= ADJACENT_DAYS
            for end in {old.ends, self.ends_after_pause(old)}
        )

    def _is_replaced_early(self, old: Term) -> bool:
        """True if something took the place of `old` before the time at which it would be renewed."""
        first = old.ends - self.before_window(old)
        is_amended = any(pair.kind != "renewal" or pair.new.start < first for pair in old.new_pairs)
        return is_amended or old.renewed_in_place is not None

    def _is_free_twin(self, old: Term, new: Term) -> bool:
        """True if nothing continues `old` so far, or only a contract of the same dates as `new`."""
        return old.renewed_in_place is None and all(
            (pair.new.start, pair.new.end) == (new.start, new.end) for pair in old.new_pairs
        )

    def _distance(self, old: Term, new: Term) -> int:
        """Days between the end of the old term and the start of the new one; a pause counts to the term."""
        return min(abs(new.start - old.ends), abs(new.start - self.ends_after_pause(old)))

    @staticmethod
    def _may_follow_end(old: Term, new: Term) -> bool:
        """True if the new term goes on beyond the old one, or takes the place of one that was cancelled."""
        return new.end > old.end or (old.ends < old.end and new.end > old.ends)

    def _judge_overlap(self, terms: Sequence[Term], new: Term) -> None:
        """(6) Whether the new term replaces those that it overlaps: by the setting, or by end and size."""
        overlapped = [
            old
            for old in terms
            if self._is_alike(old, new) and old.start < new.start < old.ends and self._is_free_twin(old, new)
        ]
        setting = self.rules.policy.contracts.overlap
        replaced: list[Term] = []
        if setting == "replace":
            replaced = overlapped
        elif setting == "auto":
            bought = [t for t in self.terms if t.is_live and _are_twins(t, new) and self._is_alike(t, new)]
            for twins in self._by_size(overlapped):
                if new.end > twins[0].end and self._are_at_least(bought, [*replaced, *twins]):
                    replaced += twins
        self.overlaps = [known for known in self.overlaps if known[1] is not new]
        self.overlaps += [(old, new, old in replaced) for old in overlapped]
        for old in replaced:
            self._add_pair(old, new, "overlap", self._kind(old, new))

    def _are_at_least(self, terms: Sequence[Term], others: Sequence[Term]) -> bool:
        """True if terms are together at least as large as others: by seats where all are known, else by amount."""
        size, other = self._size(terms), self._size(others)
        if size.seats is not None and other.seats is not None:
            return size.seats >= other.seats
        if all(term.version.arr == 0 for term in others):
            return True
        currencies = {term.version.currency for term in (*terms, *others)}
        if len(currencies) == 1:
            return sum(t.version.arr for t in terms) >= sum(t.version.arr for t in others)
        return all(self.rules.rates.rate(c, self.day) is not None for c in currencies) and size.amount >= other.amount

    def _by_size(self, terms: Sequence[Term]) -> list[list[Term]]:
        """Terms of the same dates together, the largest first."""
        groups: dict[tuple[int, int], list[Term]] = defaultdict(list)
        for term in terms:
            groups[term.start, term.end].append(term)
        return sorted(groups.values(), key=lambda group: (-self._size(group).amount, group[0].start, group[0].end))

    def _size(self, terms: Sequence[Term]) -> Holding:
        return total([term.holding(self.day, self.day, self.rules.rates) for term in terms if term.is_live])

    def _kind(self, old: Term, new: Term) -> Kind:
        if self._is_step(old, new):
            return "ramp"
        end = old.ends if old.end >= OPEN_END else old.end
        return "renewal" if new.end > end else "amendment"

    # --- payment, purchases, maturity ----------------------------------------------------------

    def _settle_payments(self) -> None:
        """Let renewals lapse that were not paid in time, and begin those that are paid after all."""
        if self.rules.policy.renewal.payment == "ignored":
            return
        has_lapsed = False
        for term in list(self.terms):
            if term.lapsed is not None and self.is_paid(term) and self._terms_of_line[id(term.line)][-1] is term:
                again = self._add_term(term.line, term.version, term.start, term.end, term.stop)
                again.begin = max(self.day, term.start)
                self.revision += 1
            if not term.old_pairs or term.is_waived or self.day < self.payment_deadline(term):
                continue
            if any(map(self.is_waiting, term.old_pairs)):
                term.lapsed, term.lapsed_from = self.day, [pair.old for pair in term.old_pairs]
                for pair in [*term.old_pairs, *term.new_pairs]:
                    self._drop_pair(pair)
                has_lapsed = True
            else:
                term.is_waived = True
        if has_lapsed:
            self._join_terms()

    def _judge_purchases(self) -> None:
        """Judge what each term that has started bought beyond what the customer had, by what is known now."""
        new = [term for term in self.terms if term.noted is None and term.is_live and term.begin <= self.day]
        settled = [term for term in new if not any(map(self.is_waiting, term.old_pairs))]
        for term in sorted(settled, key=lambda term: (self._is_elsewhere(term), term.number)):
            term.noted = self.day
            self._judge_purchase(term)

    def _is_elsewhere(self, new: Term) -> bool:
        """True if a term continues what another account held."""
        return any(pair.old.version.account_id != new.version.account_id for pair in new.old_pairs)

    def _judge_purchase(self, new: Term) -> None:
        if any(pair.kind == "ramp" for pair in new.old_pairs):
            return
        if new.old_pairs:
            amount = self._growth(new)
            if amount >= ROUNDING_CENTS:
                self._add_purchase(new, "upsell", new.begin, amount)
            return
        amount = new.holding(new.start, self.day, self.rules.rates).amount
        account = self.account(new)
        had = [
            term
            for term in self.terms
            if term.is_live and not term.is_free and term.start < new.start and self.account(term) == account
        ]
        same = [term for term in had if term.version.product == new.version.product]
        if amount < ROUNDING_CENTS or new.begin > new.start:
            return
        if any(term.ends > new.start and not self._is_replaced(term, new.start) for term in same):
            self._add_purchase(new, "upsell", new.start, amount)
        elif not same and any(self.ends_after_pause(t) + self.rules.after_days >= new.start for t in had):
            self._add_purchase(new, "cross_sell", new.start, amount)

    @staticmethod
    def _is_replaced(term: Term, day: int) -> bool:
        return any(pair.new.start <= day for pair in term.new_pairs)

    def _add_purchase(self, term: Term, kind: Literal["upsell", "cross_sell"], happened: int, amount: int) -> None:
        purchase = Purchase(term, self.account(term), term.version.product, kind, happened, self.day, amount)
        self.purchases.append(purchase)

    def _growth(self, new: Term) -> int:
        """Up-sell in cents of a term over what it continues; each of several new terms adds to those before it."""
        old_terms = unique(pair.old for pair in new.old_pairs)
        new_terms = unique(pair.new for old in old_terms for pair in old.new_pairs)
        before = [t for t in new_terms if t is not new and t.noted is not None]
        rates, day = self.rules.rates, new.start
        old = total([t.holding(min(day, t.ends) - 1, self.day, rates, day) for t in old_terms])
        years = term_years(max(t.length for t in old_terms))
        uplift = self.rules.policy.renewal.routine_uplift

        def upsell(terms: Sequence[Term]) -> int:
            bought = total([t.holding(max(day, t.start), self.day, rates, day) for t in terms])
            return decompose_change(old, bought, years, uplift).upsell if terms else 0

        return upsell([*before, new]) - upsell(before)

    def _judge_amendment(self, term: Term) -> None:
        """Note the up-sell of a version that comes into effect today and raises a running term."""
        version = term.version
        effective = version.effective
        is_new = version is not term.line.versions[0] and max(effective, version.known) == self.day
        is_running = term.noted is not None and term.is_live and term.ends > self.day
        if not is_new or not is_running or term.renewed_in_place is not None:
            return
        rates = self.rules.rates
        before = term.line.version_in_force(self.day, version.known - 1)
        old = Holding(rates.cents(before.arr, before.currency, self.day) or 0, before.seats or None, before.plan)
        new = Holding(rates.cents(version.arr, version.currency, self.day) or 0, version.seats or None, version.plan)
        uplift = self.rules.policy.renewal.routine_uplift
        amount = decompose_change(old, new, term_years(term.length), uplift).upsell
        if amount >= ROUNDING_CENTS:
            self._add_purchase(term, "upsell", max(effective, term.start), amount)

    def _mature_terms(self) -> None:
        """Make the outcome of each term final whose grace has passed and whose renewal is paid or lapsed."""
        self.matured = []
        for term in self.terms:
            due = self.due(term)
            if term.final is not None or not term.is_live or due is None or self.day < due + self.rules.after_days:
                continue
            if not any(map(self.is_waiting, (*term.new_pairs, *term.old_pairs))):
                term.final, term.final_due = self.day, due
                self.revision += not term.new_pairs
                self.matured.append(term)
                for pair in term.new_pairs:
                    pair.new.is_waived = True


def unique(terms: Iterable[Term]) -> list[Term]:
    """Terms without repetition, in their order of number."""
    return sorted({id(term): term for term in terms}.values(), key=lambda term: term.number)


def _are_twins(left: Term, right: Term) -> bool:
    return (left.start, left.end) == (right.start, right.end)
