"""The terms of one family of accounts, as known on the day that is being settled, and what follows from them."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from renewals.features.revenue.contract_lines import OPEN_END
from renewals.features.revenue.terms import Kind, Merger, Pair, Pause, Purchase, Rule, SettlementRules, Term

PAYMENT_SHARE = 0.8
"""Share of the terms of a year with a payment date from which on payment is asked of one (R1)."""
ROLLING_DAYS = 90
"""Terms shorter than this roll on: they are in no renewal rate (R15)."""


class KnownTerms:
    """Terms, pairs, pauses and mergers known so far, and the days on which something is still to be decided."""

    def __init__(self, rules: SettlementRules) -> None:
        self.rules = rules
        self.day = -OPEN_END
        """Day that is being settled."""
        self.terms: list[Term] = []
        self.pairs: list[Pair] = []
        self.purchases: list[Purchase] = []
        self.overlaps: list[tuple[Term, Term, bool]] = []
        """Old and new term that overlap without any other sign, and whether the new one replaces the old one."""
        self.revision = 0
        """Number of changes so far to what is held: terms, their ends and amounts, and what continues what."""
        self._days: list[int] = []
        self._queued: set[int] = set()
        self._heirs: dict[Any, Merger] = {}
        self._pauses_of_line: dict[int, list[Pause]] = {}

    # --- days --------------------------------------------------------------------------------------

    def queue(self, day: int) -> None:
        """Have something decided on `day`."""
        if self.day < day <= self.rules.last_day and day not in self._queued:
            self._queued.add(day)
            heapq.heappush(self._days, day)

    def queue_maturity(self, term: Term) -> None:
        """Have the outcome of a term decided when its grace has passed."""
        due = self.due(term)
        if due is not None:
            self.queue(max(due + self.rules.after_days, term.known, self.day))

    # --- accounts ----------------------------------------------------------------------------------

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

    def is_same_product(self, old: Term, new: Term) -> bool:
        """True if both are the same product of the same account."""
        return old.version.product == new.version.product and self.account(old) == self.account(new)

    # --- pauses ------------------------------------------------------------------------------------

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

    def is_paused(self, term: Term, day: int) -> bool:
        """True if the product of a term is paused on `day`."""
        return bool(self._pauses_of_line) and any(pause.start <= day < pause.end for pause in self.pauses(term))

    # --- dates -------------------------------------------------------------------------------------

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

    def is_in_time(self, old: Term, new: Term) -> bool:
        """True if `new` was known before the outcome of `old` became final: on the day that `old` was known, or within
        the grace."""
        if old.final is not None or (new.final is not None and new.final > old.known):
            return False
        return new.known <= max(self.ends_after_pause(old) + self.rules.after_days, old.known)

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

    # --- ramps and rolling terms -------------------------------------------------------------------

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

    def decisive_term(self, term: Term) -> Term:
        """The term that has the outcome of a term: what took its place, or what it would have continued if paid."""
        while term.lapsed is not None or any(pair.kind != "renewal" for pair in term.new_pairs):
            if term.lapsed is not None:
                term = term.lapsed_from[0]
            else:
                places = [pair.new for pair in term.new_pairs if pair.kind != "renewal"]
                term = max(places, key=lambda new: (new.end, new.number))
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
            and self.is_same_product(other, last)
            for other in self.terms
        )

    # --- payment (R1) ------------------------------------------------------------------------------

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

    # --- pairs -------------------------------------------------------------------------------------

    def add_pair(self, old: Term, new: Term, rule: Rule, kind: Kind) -> None:
        """Join two terms; an earlier judgement of the new one as a purchase of its own is void from now on."""
        self.revision += 1
        pair = Pair(old, new, rule, kind, self.day)
        self.pairs.append(pair)
        old.new_pairs.append(pair)
        new.old_pairs.append(pair)
        self.queue_maturity(old)
        if kind == "renewal" and not self.is_paid(new):
            self.queue(max(self.payment_deadline(new), self.day + 1))
        for purchase in self.purchases:
            if purchase.term is new and purchase.voided is None and purchase.known < self.day:
                purchase.voided = self.day
                new.noted = None

    def drop_pair(self, pair: Pair) -> None:
        """Take apart two terms that were joined."""
        self.revision += 1
        pair.voided = self.day
        pair.old.new_pairs.remove(pair)
        pair.new.old_pairs.remove(pair)
        self.queue_maturity(pair.old)
