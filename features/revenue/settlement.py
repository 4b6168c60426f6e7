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

from renewals.features.revenue.contract_lines import OPEN_END, Line, Version
from renewals.features.revenue.follow_ons import FollowOns
from renewals.features.revenue.known_terms import KnownTerms
from renewals.features.revenue.purchases import PurchaseJudge
from renewals.features.revenue.terms import Merger, Pause, SettlementRules, Term
from renewals.features.revenue.valuation import month_end

TRIAL_DAYS = 90
"""Longest free row of a product without an earlier paid row that is a trial (R10)."""


class Settlement(KnownTerms):
    """The contracts of one family, settled up to `rules.last_day`."""

    def __init__(self, lines: Sequence[Line], mergers: Iterable[Merger], rules: SettlementRules) -> None:
        super().__init__(rules)
        self.has_news = False
        """True if something became known, or a term started, on the day that is being settled."""
        self.matured: list[Term] = []
        """Terms whose outcome became final on the day that is being settled."""
        self._follow_ons = FollowOns(self)
        self._purchases = PurchaseJudge(self)
        self._lines_of_day: dict[int, list[Line]] = defaultdict(list)
        self._mergers_of_day: dict[int, list[Merger]] = defaultdict(list)
        self._terms_of_line: dict[int, list[Term]] = defaultdict(list)
        self._trials: set[int] = set()
        for line in lines:
            for day in line.fact_days():
                self._lines_of_day[day].append(line)
                self.queue(day)
        for merger in mergers:
            self._mergers_of_day[merger.known].append(merger)
            self.queue(merger.known)

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
            self._follow_ons.join_terms()
            self._purchases.judge_new_terms()
        self._settle_payments()
        self._mature_terms()

    # --- what a row says ---------------------------------------------------------------------------

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
        self._purchases.judge_amendment(term)

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
        self.queue_maturity(term)
        return term

    def _set_stop(self, term: Term, stop: int | None) -> None:
        """Set the day of cancellation; a term cancelled before it ran is void, and so is one that was deleted.

        What has already counted ran, whatever is recorded later: a term by which the outcome of another became final,
        or that was cancelled on its start after a month with it became final, ends on its start.
        """
        if self.decisive_term(term).final is not None or (stop is not None and stop >= term.end):
            return
        is_deleted = term.version.deleted is not None and term.version.deleted <= self.day
        never_ran = is_deleted or (stop is not None and stop <= term.start)
        renewed = any(pair.old.final is not None for pair in term.old_pairs)
        month_final = self.month_final_day(term.start)
        counted = renewed or (not is_deleted and term.known <= month_final < self.day)
        stop = term.start if is_deleted else stop
        term.stop = stop if stop is None else max(stop, term.start)
        if term.lapsed is None:  # else nobody paid for it, and it was no contract before it was withdrawn
            term.is_void = never_ran and (term.is_void or not counted)
            term.is_void |= term.begin > term.start and term.begin >= term.ends
        self.queue_maturity(term)

    def month_final_day(self, day: int) -> int:
        """Last day of the grace that follows the month of `day`: the month is final once it has passed."""
        return month_end(day) + self.rules.after_days

    def _move_end(self, line: Line, term: Term, version: Version) -> None:
        """Move the end of a term: by less than half its length an extension, by more a renewal in place.

        Once another contract follows, a later end changes nothing, unless that one lapses.
        """
        moved = version.end - term.end
        if moved > 0 and term.new_pairs:
            return
        if moved > 0 and (term.final is not None or term.ends + self.rules.after_days < version.known):
            again = self._add_term(line, version, term.end, version.end, None)
            again.begin = max(self.day, again.start)
        elif term.final is not None:
            return
        elif moved > 0 and 2 * moved >= term.length and term.start < self.day and version.arr != 0:
            term.renewed_in_place = min(version.known, term.ends)
            again = self._add_term(line, version, term.renewed_in_place, version.end, None)
            self.add_pair(term, again, "in_place", "renewal")
        else:
            term.end = version.end
        self.queue_maturity(term)

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
            self.queue_maturity(term)

    # --- what time decides -------------------------------------------------------------------------

    def _drop_broken_pairs(self) -> None:
        """Drop the pairs whose new term never ran, or starts too late after an end that moved."""
        for term in self.terms:
            if self.decisive_term(term).final is not None:
                continue
            for pair in list(term.new_pairs):
                late = pair.new.start > self.ends_after_pause(term) + self.rules.after_days
                if term.is_void or pair.new.is_void or late:
                    self.drop_pair(pair)

    def _settle_payments(self) -> None:
        """Let renewals lapse that were not paid in time, and begin those that are paid after all."""
        if self.rules.policy.renewal.payment == "ignored":
            return
        has_lapsed = False
        for term in list(self.terms):
            if term.lapsed is not None and self.is_paid(term) and self._terms_of_line[id(term.line)][-1] is term:
                again = self._add_term(term.line, term.version, term.start, term.end, term.stop)
                again.begin = max(self.day, term.start)
                again.is_void |= again.begin >= again.ends
                self.revision += 1
            if not term.old_pairs or term.is_waived or self.day < self.payment_deadline(term):
                continue
            if any(map(self.is_waiting, term.old_pairs)):
                term.lapsed, term.lapsed_from = self.day, [pair.old for pair in term.old_pairs]
                for pair in [*term.old_pairs, *term.new_pairs]:
                    self.drop_pair(pair)
                self._move_ends_after_lapse(term)
                has_lapsed = True
            else:
                term.is_waived = True
        if has_lapsed:
            self._follow_ons.join_terms()

    def _move_ends_after_lapse(self, lapsed: Term) -> None:
        """Take over the later ends that changed nothing while a lapsed renewal followed."""
        for old in lapsed.lapsed_from:
            is_newest = self._terms_of_line[id(old.line)][-1] is old
            if is_newest and old.final is None and old.version.end > old.end:
                self._move_end(old.line, old, old.version)

    def _mature_terms(self) -> None:
        """Make the outcome of each term final whose grace has passed and whose renewal is paid or lapsed."""
        self.matured = []
        for term in self.terms:
            due = self.due(term)
            if term.final is not None or not term.is_live or due is None or self.day < due + self.rules.after_days:
                continue
            if not any(map(self.is_waiting, (*term.new_pairs, *term.old_pairs))):
                term.final, term.final_due, term.is_waived = self.day, due, True
                self.revision += not term.new_pairs
                self.matured.append(term)
                for pair in term.new_pairs:
                    pair.new.is_waived = True
