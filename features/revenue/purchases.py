"""What existing customers bought beyond what they had: up-sell and cross-sell, judged once, by what is known then."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from renewals.features.revenue.known_terms import KnownTerms
from renewals.features.revenue.terms import Purchase, Term, unique
from renewals.features.revenue.valuation import ROUNDING_CENTS, decompose_change, term_years, total


class PurchaseJudge:
    """Judges the purchases of one family."""

    def __init__(self, known: KnownTerms) -> None:
        self._known = known

    def judge_new_terms(self) -> None:
        """Judge what each term that has started bought beyond what the customer had, by what is known now."""
        new = [
            term for term in self._known.terms if term.noted is None and term.is_live and term.begin <= self._known.day
        ]
        settled = [term for term in new if not any(map(self._known.is_waiting, term.old_pairs))]
        for term in sorted(settled, key=lambda term: (self._is_elsewhere(term), term.number)):
            term.noted = self._known.day
            self._judge_purchase(term)

    def judge_amendment(self, term: Term) -> None:
        """Note the up-sell of a version that comes into effect today and raises a running term."""
        version, day = term.version, self._known.day
        is_new = version is not term.line.versions[0] and max(version.effective, version.known) == day
        is_running = term.noted is not None and term.is_live and term.ends > day
        if not is_new or not is_running or term.renewed_in_place is not None:
            return
        if not term.has_amount(day, version.known - 1):
            return  # the amount became known, and nothing was bought
        rates, uplift = self._known.rules.rates, self._known.rules.policy.renewal.routine_uplift
        old, new = term.holding(day, version.known - 1, rates), term.holding(day, day, rates)
        amount = decompose_change(old, new, term_years(term.length), uplift).upsell
        if amount >= ROUNDING_CENTS:
            self._add_purchase(term, "upsell", max(version.effective, term.start), amount)

    def _judge_purchase(self, new: Term) -> None:
        if any(pair.kind == "ramp" for pair in new.old_pairs):
            return
        if new.old_pairs:
            amount = self._growth(new)
            if amount >= ROUNDING_CENTS:
                self._add_purchase(new, "upsell", new.begin, amount)
            return
        amount = new.holding(new.start, self._known.day, self._known.rules.rates).amount
        account = self._known.account(new)
        had = [
            term
            for term in self._known.terms
            if term.is_live and not term.is_free and term.start < new.start and self._known.account(term) == account
        ]
        same = [term for term in had if term.version.product == new.version.product]
        if amount < ROUNDING_CENTS or new.begin > new.start:
            return
        if any(term.ends > new.start and not self._is_replaced(term, new.start) for term in same):
            self._add_purchase(new, "upsell", new.start, amount)
        elif not same and any(self._known.ends_after_pause(t) + self._known.rules.after_days >= new.start for t in had):
            self._add_purchase(new, "cross_sell", new.start, amount)

    def _is_elsewhere(self, new: Term) -> bool:
        """True if a term continues what another account held."""
        return any(pair.old.version.account_id != new.version.account_id for pair in new.old_pairs)

    @staticmethod
    def _is_replaced(term: Term, day: int) -> bool:
        return any(pair.new.start <= day for pair in term.new_pairs)

    def _growth(self, new: Term) -> int:
        """Up-sell in cents of a term over what it continues; each of several new terms adds to those before it."""
        old_terms = unique(pair.old for pair in new.old_pairs)
        new_terms = unique(pair.new for old in old_terms for pair in old.new_pairs)
        before = [t for t in new_terms if t is not new and t.noted is not None]
        rates, day = self._known.rules.rates, new.start
        if not all(t.has_amount(min(day, t.ends) - 1, self._known.day) for t in old_terms):
            return 0
        old = total([t.holding(min(day, t.ends) - 1, self._known.day, rates, day) for t in old_terms])
        years = term_years(max(t.length for t in old_terms))
        uplift = self._known.rules.policy.renewal.routine_uplift

        def upsell(terms: Sequence[Term]) -> int:
            bought = total([t.holding(max(day, t.start), self._known.day, rates, day) for t in terms])
            return decompose_change(old, bought, years, uplift).upsell if terms else 0

        return upsell([*before, new]) - upsell(before)

    def _add_purchase(self, term: Term, kind: Literal["upsell", "cross_sell"], happened: int, amount: int) -> None:
        purchase = Purchase(
            term, self._known.account(term), term.version.product, kind, happened, self._known.day, amount
        )
        self._known.purchases.append(purchase)
