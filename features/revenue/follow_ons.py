"""What continues what (R10): the rules that join a new term to an old one, in their order.

The rules are those of docs/contracts.md; a pair carries the name of the one that joined it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from renewals.features.revenue.contract_lines import ADJACENT_DAYS, OPEN_END
from renewals.features.revenue.known_terms import KnownTerms
from renewals.features.revenue.terms import Kind, Rule, Term, have_same_dates
from renewals.features.revenue.valuation import Holding, total


class FollowOns:
    """Joins the terms of one family."""

    def __init__(self, known: KnownTerms) -> None:
        self._known = known
        self._undecided: list[Term] = []
        """Terms without a final outcome when the joining began: only these can be continued."""

    def join_terms(self) -> None:
        """Join each new term to what it continues, rule by rule, paid terms before free ones."""
        self._undecided = [term for term in self._known.terms if term.final is None and term.is_live]
        first = min((old.start for old in self._undecided), default=OPEN_END)
        new_terms = [new for new in self._without_old_pairs() if new.start >= first]
        for with_free in (False, True) if any(old.is_free for old in self._undecided) else (False,):
            for rule, find in self._finders():
                for new in self._nearest_first(new_terms) if rule == "grace" else new_terms:
                    if not new.old_pairs:
                        for old in find(self._open_terms(new, with_free), new):
                            self._known.add_pair(old, new, rule, self._kind(old, new))
        self._join_further_ends()
        for new in self._without_old_pairs():
            if self._known.day == max(new.known, new.start):
                self._judge_overlap(self._open_terms(new, True), new)
            if not new.old_pairs and new.known == self._known.day and self._is_too_late(new):
                new.begin = max(self._known.day, new.start)
                new.is_void = new.begin >= new.ends
                for pair in list(new.new_pairs) if new.is_void else ():
                    self._known.drop_pair(pair)

    def _without_old_pairs(self) -> list[Term]:
        """Terms that continue nothing so far, in the order of their starts."""
        new_terms = [new for new in self._known.terms if not new.old_pairs and new.is_live and new.begin == new.start]
        return sorted(new_terms, key=lambda new: (new.start, new.number))

    def _nearest_first(self, new_terms: Sequence[Term]) -> list[Term]:
        """Terms in the order of their distance from the end that they may continue by rule 5."""

        def distance(new: Term) -> int:
            near = self._in_grace(self._open_terms(new, True), new)
            return min((self._distance(old, new) for old in near), default=OPEN_END)

        return sorted((new for new in new_terms if not new.old_pairs), key=distance)

    def _open_terms(self, new: Term, with_free: bool) -> list[Term]:
        """Terms that a new one may continue; a paid one continues a free one only if `with_free`."""
        return [
            old
            for old in self._undecided
            if self._can_follow(old, new)
            and self._known.is_in_time(old, new)
            and (with_free or new.is_free or not old.is_free)
        ]

    def _join_further_ends(self) -> None:
        """Join, by rule 4, a term that nothing continues to a new one that already continues another.

        Two subscriptions are kept apart.
        """
        unfollowed = {old.number for old in self._undecided if not old.new_pairs}
        first = min((old.start for old in self._undecided if old.number in unfollowed), default=OPEN_END)
        for new in self._known.terms:
            if new.start < first or not new.is_live or not new.old_pairs or new.begin != new.start:
                continue
            for old in self._adjacent(self._open_terms(new, False), new):
                is_renewal = all(pair.kind == "renewal" and pair.rule != "in_place" for pair in new.old_pairs)
                subscriptions = {old.version.subscription, new.version.subscription} - {None}
                if old.number in unfollowed and is_renewal and len(subscriptions) < 2:
                    self._known.add_pair(old, new, "adjacent", self._kind(old, new))

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

    def _kind(self, old: Term, new: Term) -> Kind:
        if self._is_step(old, new):
            return "ramp"
        end = old.ends if old.end >= OPEN_END else old.end
        return "renewal" if new.end > end else "amendment"

    # --- rules 1 to 5 ------------------------------------------------------------------------------

    def _named_by(self, terms: Sequence[Term], new: Term) -> list[Term]:
        """(1) The contract that the new one says it replaces; at its end also those of its dates."""
        if new.version.replaces is None:
            return []
        named = [t for t in terms if t.line.contract_id == new.version.replaces and self._is_free_for(t, new)]
        if not named:
            return []
        found = max(named, key=lambda t: (t.start, t.number))
        is_early = new.start < found.ends - self._known.before_window(found)
        return [found] if is_early else self._with_twins(found, terms, new)

    def _with_twins(self, found: Term, terms: Sequence[Term], new: Term) -> list[Term]:
        """The term found, with those of its dates, product and ids: one contract booked in several rows."""
        ids = (found.version.subscription, found.version.order)
        return [
            t
            for t in terms
            if have_same_dates(t, found)
            and (t.version.subscription, t.version.order) == ids
            and self._known.is_same_product(t, found)
            and self._is_free_for(t, new)
        ]

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

    def _nearest(self, terms: Sequence[Term], new: Term) -> Term:
        """The term whose end is nearest to the start of the new one; of several the one that started last."""
        return min(terms, key=lambda t: (self._distance(t, new), -t.start, t.number))

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
        return [
            t
            for t in terms
            if self._is_step(t, new) and self._known.is_same_product(t, new) and self._is_free_for(t, new)
        ]

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
            if self._known.is_same_product(old, new)
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
            if self._known.is_same_product(old, new)
            and old.start < new.start
            and new.start >= self._known.ends_after_pause(old) - self._known.before_window(old)
            and self._is_free_twin(old, new)
            and self._may_follow_end(old, new)
        ]
        if not near:
            return []
        nearest = min(near, key=lambda old: (self._distance(old, new), self._known.ends_after_pause(old), old.number))
        ends = self._known.ends_after_pause(nearest)
        return [old for old in near if self._known.ends_after_pause(old) == ends]

    # --- rule 6 ------------------------------------------------------------------------------------

    def _judge_overlap(self, terms: Sequence[Term], new: Term) -> None:
        """(6) Whether the new term replaces those that it overlaps: by the setting, or by end and size."""
        overlapped = [
            old
            for old in terms
            if self._known.is_same_product(old, new)
            and old.start < new.start < old.ends
            and self._is_free_twin(old, new)
        ]
        setting = self._known.rules.policy.contracts.overlap
        replaced: list[Term] = []
        if setting == "replace":
            replaced = overlapped
        elif setting == "auto":
            bought = [
                t
                for t in self._known.terms
                if t.is_live and have_same_dates(t, new) and self._known.is_same_product(t, new)
            ]
            for twins in self._by_size(overlapped):
                if new.end > twins[0].end and self._are_at_least(bought, [*replaced, *twins]):
                    replaced += twins
        self._known.overlaps = [known for known in self._known.overlaps if known[1] is not new]
        self._known.overlaps += [(old, new, old in replaced) for old in overlapped]
        for old in replaced:
            self._known.add_pair(old, new, "overlap", self._kind(old, new))

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
        return (
            all(self._known.rules.rates.rate(c, self._known.day) is not None for c in currencies)
            and size.amount >= other.amount
        )

    def _by_size(self, terms: Sequence[Term]) -> list[list[Term]]:
        """Terms of the same dates together, the largest first."""
        groups: dict[tuple[int, int], list[Term]] = defaultdict(list)
        for term in terms:
            groups[term.start, term.end].append(term)
        return sorted(groups.values(), key=lambda group: (-self._size(group).amount, group[0].start, group[0].end))

    def _size(self, terms: Sequence[Term]) -> Holding:
        return total(
            [term.holding(self._known.day, self._known.day, self._known.rules.rates) for term in terms if term.is_live]
        )

    # --- conditions --------------------------------------------------------------------------------

    def _can_follow(self, old: Term, new: Term) -> bool:
        """True if `new` may continue `old`, by whatever rule."""
        return (
            old is not new
            and old.is_live
            and old.start <= new.start <= self._known.ends_after_pause(old) + self._known.rules.after_days
            and not (new.is_free and not old.is_free)
        )

    def _is_too_late(self, new: Term) -> bool:
        """True if `new` would continue a term that was already lost when it became known."""
        if new.start > self._known.day:
            return False
        lost = [old for old in self._known.terms if self._can_follow(old, new) and not self._known.is_in_time(old, new)]
        lost = [old for old in lost if not old.new_pairs]
        return any(find(lost, new) for _rule, find in self._finders())

    def _is_free_for(self, old: Term, new: Term) -> bool:
        """True if nothing continues `old` so far, or only what starts on the same day as `new`."""
        return old.renewed_in_place is None and all(pair.new.start == new.start for pair in old.new_pairs)

    def _is_free_twin(self, old: Term, new: Term) -> bool:
        """True if nothing continues `old` so far, or only a contract of the same dates as `new`."""
        return old.renewed_in_place is None and all(
            (pair.new.start, pair.new.end) == (new.start, new.end) for pair in old.new_pairs
        )

    def _is_near(self, old: Term, new: Term) -> bool:
        """True if a term starts within three days of an end, and not in the first half of a very short term."""
        return any(
            -min(ADJACENT_DAYS, old.length // 2) <= new.start - end <= ADJACENT_DAYS
            for end in {old.ends, self._known.ends_after_pause(old)}
        )

    def _is_replaced_early(self, old: Term) -> bool:
        """True if something took the place of `old` before the time at which it would be renewed."""
        first = old.ends - self._known.before_window(old)
        is_amended = any(pair.kind != "renewal" or pair.new.start < first for pair in old.new_pairs)
        return is_amended or old.renewed_in_place is not None

    def _distance(self, old: Term, new: Term) -> int:
        """Days between the end of the old term and the start of the new one; a pause counts to the term."""
        return min(abs(new.start - old.ends), abs(new.start - self._known.ends_after_pause(old)))

    @staticmethod
    def _may_follow_end(old: Term, new: Term) -> bool:
        """True if the new term goes on beyond the old one, or takes the place of one that was cancelled."""
        return new.end > old.end or (old.ends < old.end and new.end > old.ends)
