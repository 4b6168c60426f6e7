"""Roll-forward of recurring revenue from one month's end to the next, by account (R9).

A month is final once the grace after its last day has passed. What it closes with is what ran or was pending on its
last day, as known when it became final, at that day's exchange rates; the next month opens with that. What was recorded
later about a final month moves the earliest month that is still open, as `correction`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any

from renewals.features.revenue.contract_lines import OPEN_END
from renewals.features.revenue.settlement import Settlement
from renewals.features.revenue.terms import Term
from renewals.features.revenue.valuation import (
    DAYS_PER_YEAR,
    Holding,
    day_date,
    day_number,
    decompose_change,
    month_end,
    term_years,
    total,
)

EXPANSION_COLUMNS = ("upsell", "cross_sell", "price")
MOVEMENT_COLUMNS = (
    *("opening", "new", "expansion", "reactivation", "contracted", "paused", "fx", "correction"),
    *("contraction", "churn", "closing"),
)
MONEY_COLUMNS = (*MOVEMENT_COLUMNS, *EXPANSION_COLUMNS)
GAIN_COLUMNS = ("new", "expansion", "reactivation", "contracted", "paused", "fx", "correction")
"""Movements added to the opening; `contracted`, `paused`, `fx` and `correction` may be negative."""
LOSS_COLUMNS = ("contraction", "churn")
MULTI_YEAR_COLUMNS = ("multi_year", "multi_year_due")
"""Parts of the closing: terms sold for more than a year, and those of them that end within a year (R14)."""
LONGEST_YEAR = 366
"""Days of the longest term of one year."""


@dataclass(frozen=True, slots=True)
class Held:
    """A term that counts on the last day of a month."""

    term: Term
    account_id: Any
    chain: int
    holding: Holding
    is_paused: bool


@dataclass
class AccountMonth:
    """Movements of the recurring revenue of an account in a month, in cents."""

    account_id: Any
    month: date
    money: dict[str, int] = field(default_factory=lambda: dict.fromkeys(MONEY_COLUMNS, 0))
    opening_plan: str | None = None
    closing_plan: str | None = None
    multi_year: int = 0
    """Part of the closing in terms sold for more than a year, with all steps of their ramps."""
    multi_year_due: int = 0
    """Part of `multi_year` in terms that end within a year after the month, or have ended and are pending."""
    was_customer: bool = False
    """True if it had something running, pending or paused at the opening."""
    is_customer: bool = False
    """The same at the closing."""
    is_lost: bool = False
    """True if a customer of the opening has nothing running, pending or paused at the closing, here or at its heir."""


class RollForward:
    """Closes the months of one family while it is settled."""

    def __init__(self, settlement: Settlement, months: Sequence[date]) -> None:
        """`months` are consecutive."""
        self._settlement = settlement
        self._months = list(months)
        self._next = 0
        self._closed: dict[Any, int] | None = None
        self._closed_terms: dict[int, Held] = {}
        self._plans: dict[Any, str | None] = {}
        self._revision = -1
        self._quiet_until = 0
        self.rows: list[AccountMonth] = []

    def close_months_before(self, day: int) -> None:
        """Close the months that became final before something was decided on `day`."""
        while self._next < len(self._months):
            final = month_end(day_number(self._months[self._next])) + self._settlement.rules.after_days
            if final >= day:
                return
            self._close(final)

    def close_rest(self) -> None:
        """Close the months that are not final yet, by what is known now."""
        while self._next < len(self._months):
            self._close(self._settlement.rules.last_day)

    def _close(self, known: int) -> None:
        settlement = self._settlement
        month = self._months[self._next]
        self._next += 1
        settlement.day = max(settlement.day, known)
        first = day_number(month)
        before, last = first - 1, month_end(first)
        if self._revision == settlement.revision and last < self._quiet_until:
            self._close_quiet_month(month, last)
            return
        chains = _chains(settlement.terms)
        opened, closed = self._held(before, chains), self._held(last, chains)
        self._revision = settlement.revision
        self._quiet_until = settlement.next_change(last)
        if not opened and not closed and not self._closed and not self._closed_terms:
            self._closed = {}
            return
        accounts = self._account_rows(month, opened)
        self._add_corrections(accounts, opened)
        self._add_movements(accounts, opened, closed, before, last)
        self._close_accounts(accounts, closed, last)

    def _close_quiet_month(self, month: date, last: int) -> None:
        """Close a month in which nothing began, ended or became known: only exchange rates moved."""
        settlement = self._settlement
        rates, known = settlement.rules.rates, settlement.day
        rows: dict[Any, AccountMonth] = {}
        for number, held in self._closed_terms.items():
            amount = held.term.holding(last, known, rates).amount
            row = rows.get(held.account_id)
            if row is None:
                row = rows[held.account_id] = AccountMonth(held.account_id, month)
                row.opening_plan = row.closing_plan = self._plans[held.account_id]
            if not held.is_paused:
                row.money["opening"] += held.holding.amount
                row.money["fx"] += amount - held.holding.amount
                row.money["closing"] += amount
                self._add_multi_year(row, held.term, amount, last)
            row.was_customer = row.is_customer = row.was_customer or held.holding.amount > 0
            if amount != held.holding.amount:
                holding = Holding(amount, held.holding.seats, held.holding.plan)
                self._closed_terms[number] = replace(held, holding=holding)
        self._closed = {row.account_id: row.money["closing"] for row in rows.values()}
        self.rows += [row for row in rows.values() if row.was_customer]

    # --- what counts on a day ------------------------------------------------------------------

    def _held(self, day: int, chains: dict[int, int]) -> list[Held]:
        """Terms that count on `day`, as known now, at the exchange rates of the day."""
        settlement = self._settlement
        rates = settlement.rules.rates
        return [
            Held(
                term,
                settlement.account(term, day),
                chains[term.number],
                term.holding(day, settlement.day, rates),
                settlement.is_paused(term, day),
            )
            for term in settlement.terms
            if settlement.is_held(term, day)
        ]

    def _account_rows(self, month: date, opened: Sequence[Held]) -> dict[Any, AccountMonth]:
        """Rows of the accounts with their opening: what the month before closed with."""
        rows: dict[Any, AccountMonth] = {}
        if self._closed is None:
            self._closed = _running_by_account(opened)
            self._closed_terms = {held.term.number: held for held in opened}
        for held in self._closed_terms.values():
            row = rows.setdefault(held.account_id, AccountMonth(held.account_id, month))
            row.was_customer |= held.holding.amount > 0
        for account_id, amount in self._closed.items():
            rows.setdefault(account_id, AccountMonth(account_id, month)).money["opening"] = amount
        for account_id, row in rows.items():
            before = [h for h in self._closed_terms.values() if h.account_id == account_id and not h.is_paused]
            row.opening_plan = total([held.holding for held in before]).plan
        return _Rows(rows, month)

    def _add_corrections(self, rows: dict[Any, AccountMonth], opened: Sequence[Held]) -> None:
        """Add what is known now of the last day before the month, less what was known when that month was closed.

        A renewal that lapsed because nobody paid is no late paper: what it renewed is lost.
        """
        for account_id, amount in _running_by_account(opened).items():
            rows[account_id].money["correction"] += amount
        for account_id, amount in (self._closed or {}).items():
            rows[account_id].money["correction"] -= amount
        now = {held.term.number for held in opened}
        for number, held in self._closed_terms.items():
            is_lost = held.term.lapsed is not None and not self._never_was(held.term)
            if number not in now and is_lost and not held.is_paused:
                rows[held.account_id].money["correction"] += held.holding.amount
                rows[held.account_id].money["churn"] += held.holding.amount

    # --- movements of a chain ------------------------------------------------------------------

    def _add_movements(
        self, rows: dict[Any, AccountMonth], opened: Sequence[Held], closed: Sequence[Held], before: int, last: int
    ) -> None:
        """Add the movements from what is held before the month to what is held at its end, chain by chain."""
        chains: dict[int, tuple[list[Held], list[Held]]] = defaultdict(lambda: ([], []))
        for side, items in enumerate((opened, closed)):
            for held in items:
                chains[held.chain][side].append(held)
        paying = {held.account_id for held in opened if held.holding.amount > 0}
        running = {
            (held.account_id, held.term.version.product)
            for held in closed
            if held.holding.amount > 0 and chains[held.chain][0]
        }
        for chain in sorted(chains):
            old, new = chains[chain]
            if not old:
                self._add_start(rows, new, paying, running, before)
            elif not new:
                self._add_loss(rows, old)
            else:
                self._add_change(rows, old, new, paying, before, last)

    def _add_start(
        self,
        rows: dict[Any, AccountMonth],
        new: Sequence[Held],
        paying: set[Any],
        running: set[tuple[Any, str]],
        before: int,
    ) -> None:
        for held in new:
            if held.is_paused or not held.holding.amount:
                continue
            money = rows[held.account_id].money
            product = held.term.version.product
            since = self._had_before(held.account_id, before)
            if held.account_id not in paying:
                kind = "reactivation" if since else "new"
            elif (held.account_id, product) in running:
                kind = "upsell"
            else:
                kind = "reactivation" if product in since else "cross_sell"
            money[kind] += held.holding.amount

    def _had_before(self, account_id: Any, day: int) -> set[str]:
        """Products that an account had paid for on some day until `day`."""
        settlement = self._settlement
        return {
            term.version.product
            for term in settlement.terms
            if term.is_live
            and not term.is_free
            and term.begin <= day
            and settlement.revenue_end(term) > term.begin
            and settlement.account(term, day) == account_id
        }

    def _add_loss(self, rows: dict[Any, AccountMonth], old: Sequence[Held]) -> None:
        for held in old:
            money = rows[held.account_id].money
            money["churn"] += held.holding.amount
            if held.is_paused:
                money["paused"] += held.holding.amount

    def _add_change(
        self,
        rows: dict[Any, AccountMonth],
        old: Sequence[Held],
        new: Sequence[Held],
        paying: set[Any],
        before: int,
        last: int,
    ) -> None:
        """Add the movements of a chain that goes on: what it held before, then what was bought or given up."""
        holders = {held.account_id for held in old}
        main = max(new, key=lambda h: (h.account_id in holders, h.holding.amount, -h.term.number))
        account_id, money = main.account_id, rows[main.account_id].money
        base = total(self._carry_over(rows, money, old, new, before, last))
        for held in new:
            if not held.is_paused:
                rows[held.account_id].money["correction"] += held.holding.amount
                money["correction"] -= held.holding.amount
        years = term_years(max(held.term.length for held in old))
        bought = total([held.holding for held in new if not held.is_paused])
        if not all(held.term.has_amount(before, self._settlement.day) for held in old):
            money["correction"] += bought.amount - base.amount  # the amount became known, and nothing was bought
            return
        if account_id not in paying and not base.amount and self._had_before(account_id, before):
            money["reactivation"] += bought.amount  # what had become free is paid again
            return
        change = decompose_change(base, bought, years, self._settlement.rules.policy.renewal.routine_uplift)
        money["upsell"] += change.upsell
        money["price"] += max(change.price, 0)
        money["contraction"] += change.contraction + max(-change.price, 0)

    def _carry_over(
        self,
        rows: dict[Any, AccountMonth],
        money: dict[str, int],
        old: Sequence[Held],
        new: Sequence[Held],
        before: int,
        last: int,
    ) -> list[Holding]:
        """Add currency, pauses and ramp steps of what a chain held, and return what it holds without any purchase.

        `money` is of the account that holds the chain at the end of the month.
        """
        rates, known = self._settlement.rules.rates, self._settlement.day
        all_paused = all(held.is_paused for held in new)
        paused = {held.term.number for held in new if held.is_paused}
        counted: set[int] = set()
        carried: list[Holding] = []
        for held in old:
            current = held.term.holding(before, known, rates, last)
            step, stepped = self._ramp_step(held.term, current, last, counted)
            is_out = all_paused or step.number in paused
            if not held.is_paused:
                rows[held.account_id].money["fx"] += current.amount - held.holding.amount
                rows[held.account_id].money["correction"] -= current.amount
                money["correction"] += current.amount
                money["paused"] -= current.amount if is_out else 0
            elif not is_out:
                money["paused"] += current.amount
            if not is_out:
                money["contracted"] += stepped.amount - current.amount
                carried.append(stepped)
        return carried

    def _ramp_step(self, term: Term, current: Holding, last: int, counted: set[int]) -> tuple[Term, Holding]:
        """Step of a ramp that a term has reached by `last`, and what it holds at its start.

        A step that follows several rows is counted once: `counted` has those that were.
        """
        settlement = self._settlement
        step = term
        while True:
            steps = [p.new for p in step.new_pairs if p.kind == "ramp" and p.new.begin <= last]
            if not steps:
                return step, current
            left = [s for s in steps if s.number not in counted]
            counted.update(s.number for s in left)
            step = steps[0]
            holdings = [s.holding(s.start, settlement.day, settlement.rules.rates, last) for s in left]
            current = total(holdings) if left else Holding(0, 0, current.plan)

    # --- accounts at the closing ---------------------------------------------------------------

    def _close_accounts(self, rows: dict[Any, AccountMonth], closed: Sequence[Held], last: int) -> None:
        for held in closed:
            row = rows[held.account_id]
            row.is_customer |= held.holding.amount > 0
            if not held.is_paused:
                row.money["closing"] += held.holding.amount
                self._add_multi_year(row, held.term, held.holding.amount, last)
        customers = {row.account_id for row in rows.values() if row.is_customer}
        paying = {held.term.number for held in closed if held.holding.amount > 0}
        for row in rows.values():
            money = row.money
            money["expansion"] = sum(money[name] for name in EXPANSION_COLUMNS)
            moved = self._settlement.owner(row.account_id, last) in customers or any(
                _goes_on(term, paying)
                for held in self._closed_terms.values()
                if held.account_id == row.account_id
                for term in (held.term, *self._renewed_by(held))
            )
            paid = [h for h in self._closed_terms.values() if h.account_id == row.account_id and h.holding.amount > 0]
            never_was = all(self._never_was(held.term) for held in paid)
            row.is_lost = row.was_customer and not row.is_customer and not moved and not never_was
            held_now = [h.holding for h in closed if h.account_id == row.account_id and not h.is_paused]
            row.closing_plan = self._plans[row.account_id] = total(held_now).plan
            if any(money.values()) or row.was_customer or row.is_customer:
                self.rows.append(row)
        self._closed = _running_by_account(closed)
        self._closed_terms = {held.term.number: held for held in closed}

    def _renewed_by(self, held: Held) -> list[Term]:
        """What a lapsed renewal would have continued: that of its own account, if any, else that of others."""
        renewed = held.term.lapsed_from
        return [old for old in renewed if self._settlement.account(old) == held.account_id] or renewed

    def _never_was(self, term: Term) -> bool:
        """True if a term was withdrawn, or lapsed, and continued nothing that was paid: no customer is lost with it."""
        if term.lapsed is not None:
            return all(old.is_free for old in term.lapsed_from)
        return term.is_void and all(p.old.is_free for p in self._settlement.pairs if p.new is term)

    def _add_multi_year(self, row: AccountMonth, term: Term, amount: int, last: int) -> None:
        """Add the amount of a term to what was sold for more than a year, and to what of it ends within a year (R14).

        A term without an end rolls on, however long it has run: it was not sold for more than a year (R15).
        """
        final_step = self._settlement.last_step(term)
        days = final_step.end - self._settlement.first_step(term).start
        if final_step.end < OPEN_END and days > LONGEST_YEAR:
            row.multi_year += amount
            row.multi_year_due += amount if final_step.ends <= last + DAYS_PER_YEAR else 0


class _Rows(dict[Any, AccountMonth]):
    """Rows by account; a missing one is added."""

    def __init__(self, rows: dict[Any, AccountMonth], month: date) -> None:
        super().__init__(rows)
        self._month = month

    def __missing__(self, account_id: Any) -> AccountMonth:
        self[account_id] = AccountMonth(account_id, self._month)
        return self[account_id]


def _running_by_account(items: Iterable[Held]) -> dict[Any, int]:
    """Amount of each account, without what is paused."""
    amounts: dict[Any, int] = defaultdict(int)
    for held in items:
        if not held.is_paused:
            amounts[held.account_id] += held.holding.amount
    return dict(amounts)


def _goes_on(term: Term, paying: set[int]) -> bool:
    """True if one of these terms, by number, is a term or continues it."""
    queue = [term]
    while queue:
        member = queue.pop()
        if member.number in paying:
            return True
        queue += [pair.new for pair in member.new_pairs]
    return False


def _chains(terms: Sequence[Term]) -> dict[int, int]:
    """Chain of each term, by number: terms joined by pairs, named after the first of them."""
    chain: dict[int, int] = {}
    for term in terms:
        if term.number in chain:
            continue
        queue = [term]
        while queue:
            member = queue.pop()
            if member.number not in chain:
                chain[member.number] = term.number
                queue += [pair.new for pair in member.new_pairs] + [pair.old for pair in member.old_pairs]
    return chain


def months_between(first: date, last: date) -> Iterator[date]:
    """First days of the months from that of `first` to that of `last`."""
    month = first.replace(day=1)
    while month <= last:
        yield month
        month = day_date(month_end(day_number(month)) + 1)
