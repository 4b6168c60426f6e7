"""Outcome of each term that came due, and the amounts that its renewal kept, gained and gave up (R1 to R3, R5)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from renewals.features.revenue.contract_lines import Version
from renewals.features.revenue.settlement import Settlement
from renewals.features.revenue.terms import Purchase, Term, unique
from renewals.features.revenue.valuation import (
    CHANGE_COLUMNS,
    ROUNDING_CENTS,
    Holding,
    clip,
    decompose_change,
    month_end,
    split_by_size,
    term_years,
    total,
)

OUTCOMES = ("renewed_flat", "renewed_with_expansion", "renewed_with_contraction", "churned", "pending")


@dataclass(slots=True)
class Entry:
    """Ledger entry of a term that came due. Money in cents of the reporting currency, days as numbers."""

    term: Term
    version: Version
    """The row as known when the outcome became final."""
    account_id: Any
    due: int
    matured: int
    """First day on which the outcome is known."""
    outcome: str
    renewed: int | None
    follow_on: Term | None
    rule: str | None
    amount_due: int | None
    changes: dict[str, int | None]
    """Values of `CHANGE_COLUMNS`; None while pending."""


def final_entry(settlement: Settlement, term: Term) -> Entry:
    """Entry of a term whose outcome became final today."""
    due = settlement.due(term)
    assert due is not None
    follow_on, rule = _main_follow_on(settlement, term)
    changes: dict[str, int | None] = dict.fromkeys(CHANGE_COLUMNS, 0)
    amount = _amount_due(settlement, term, due)
    if follow_on is not None:
        changes |= _changes(settlement, term, due)
    changes["cross_sell"] = sum(p.amount for p in _cross_sold(settlement, term, due)) if follow_on else 0
    renewed = int(follow_on is not None)
    outcome = _outcome(renewed, amount, changes)
    account = settlement.account(term, due - 1)
    return Entry(
        term, term.version, account, due, settlement.day + 1, outcome, renewed, follow_on, rule, amount, changes
    )


def pending_entry(settlement: Settlement, term: Term) -> Entry:
    """Entry of a term that came due and whose outcome is not final yet."""
    due = settlement.due(term)
    assert due is not None
    follow_on, rule = _main_follow_on(settlement, term)
    expected = max(due + settlement.rules.after_days, term.known, settlement.day) + 1
    changes: dict[str, int | None] = dict.fromkeys(CHANGE_COLUMNS)
    amount = _amount_due(settlement, term, due)
    account = settlement.account(term, due - 1)
    return Entry(term, term.version, account, due, expected, "pending", None, follow_on, rule, amount, changes)


def booked_month_end(settlement: Settlement, entry: Entry) -> int:
    """Last day of the month in whose rates and losses an entry counts: that of its due day, or the earliest one that
    was still open when its outcome became known."""
    last = month_end(entry.due)
    while last + settlement.rules.after_days < entry.matured - 1:
        last = month_end(last + 1)
    return last


def _main_follow_on(settlement: Settlement, term: Term) -> tuple[Term | None, str | None]:
    """The largest term that renews a term, with the rule that joined them."""
    pairs = [pair for pair in term.new_pairs if pair.kind == "renewal"]
    if not pairs:
        return None, None
    main = settlement.main_follow_on(pairs)
    return main.new, main.rule


def _amount_due(settlement: Settlement, term: Term, due: int) -> int | None:
    version = term.line.version_in_force(due - 1, settlement.day)
    return settlement.rules.rates.cents(version.arr, version.currency, due)


def _changes(settlement: Settlement, term: Term, due: int) -> dict[str, int | None]:
    """Amounts kept and changed of a renewed term: its share of those of all terms that were renewed together.

    None where the amount of one of them is not known.
    """
    known, rates = settlement.day, settlement.rules.rates
    old_terms, new_terms = _renewed_together(term)

    def last_day(old: Term) -> int:
        ends = settlement.due(old)
        return (due if ends is None else min(due, ends)) - 1

    def old_holding(old: Term) -> Holding:
        return old.holding(last_day(old), known, rates, due)

    if not all(old.has_amount(last_day(old), known) for old in old_terms) or not all(
        new.has_amount(new.start, known) for new in new_terms
    ):
        return dict.fromkeys(("amount_kept", "upsell", "price_change", "contraction"))

    holdings = {old.number: old_holding(old) for old in old_terms}
    old_terms.sort(key=lambda old: (-holdings[old.number].amount, old.number))
    sizes = [holdings[old.number].amount for old in old_terms]
    whole = total(list(holdings.values()))
    bought = total([new.holding(new.start, known, rates, due) for new in new_terms])
    years = term_years(old_terms[0].length)
    change = decompose_change(whole, bought, years, settlement.rules.policy.renewal.routine_uplift)
    kept = whole.amount - change.contraction - max(-change.price, 0)
    place = next(n for n, old in enumerate(old_terms) if old is term)

    def share(amount: int) -> int:
        return split_by_size(amount, sizes)[place]

    lost = sizes[place] - share(kept)
    contraction = clip(share(change.contraction), lost) if change.price < 0 else lost
    price = contraction - lost if change.price < 0 else share(change.price)
    return {
        "amount_kept": share(kept),
        "upsell": share(change.upsell),
        "price_change": price,
        "contraction": contraction,
    }


def _renewed_together(term: Term) -> tuple[list[Term], list[Term]]:
    """Old and new terms that share renewals with a term, directly or through others."""
    old_terms: list[Term] = []
    new_terms: list[Term] = []
    queue = [term]
    while queue:
        old = queue.pop()
        if any(old is known for known in old_terms):
            continue
        old_terms.append(old)
        for pair in old.new_pairs:
            if pair.kind == "renewal" and not any(pair.new is known for known in new_terms):
                new_terms.append(pair.new)
                queue += [other.old for other in pair.new.old_pairs if other.kind == "renewal"]
    return old_terms, unique(new_terms)


def _cross_sold(settlement: Settlement, term: Term, due: int) -> list[Purchase]:
    """New products bought at the renewal of a term: those whose start is nearest to its due day, within the grace."""
    return [
        purchase
        for purchase in settlement.purchases
        if purchase.kind == "cross_sell" and purchase.voided is None and _nearest_due(settlement, purchase) is term
    ]


def _nearest_due(settlement: Settlement, purchase: Purchase) -> Term | None:
    """Term that was renewed when a new product was bought."""
    start, rules = purchase.happened, settlement.rules
    near = []
    for term in settlement.terms:
        due = settlement.due(term)
        is_other = term.version.product != purchase.product and term.start < start and term.known <= start
        if due is None or not term.is_live or not is_other or not term.new_pairs:
            continue
        if not due - rules.before_days <= start <= due + rules.after_days:
            continue
        if settlement.account(term, due - 1) == settlement.owner(purchase.account_id, due - 1):
            amount = term.holding(due - 1, settlement.day, rules.rates).amount
            near.append((abs(start - due), due, -amount, term.number, term))
    return min(near)[-1] if near else None


def _outcome(renewed: int, amount: int | None, changes: dict[str, int | None]) -> str:
    """One of `OUTCOMES`, from the amounts gained and lost; a price rise alone leaves a renewal flat.

    So does an amount that is not known.
    """
    if not renewed:
        return "churned"
    if changes["amount_kept"] is None:
        return "renewed_flat"
    values = {name: value or 0 for name, value in changes.items()}
    balance = values["upsell"] + values["cross_sell"] - ((amount or 0) - values["amount_kept"])
    if balance >= ROUNDING_CENTS:
        return "renewed_with_expansion"
    return "renewed_with_contraction" if balance <= -ROUNDING_CENTS else "renewed_flat"


@dataclass(frozen=True, slots=True)
class RenewalSet:
    """The contracts of an account with one end, renewed together: when it became known, when it is final."""

    known: int
    matured: int
    is_closed: bool


def renewal_sets(settlement: Settlement, entries: Iterable[Entry]) -> dict[int, RenewalSet]:
    """Set of each term that is due once, by number of the term.

    A contract known only after all earlier ones of its set matured starts a new set; one known only after it had itself
    matured was never an open renewal, and is in none.
    """
    of_term = {entry.term.number: entry for entry in entries}
    groups: dict[tuple[Any, int], list[tuple[int, int, int, bool]]] = defaultdict(list)
    for term in settlement.terms:
        due = settlement.due(term)
        if due is None or not term.is_live or settlement.is_rolling(term):
            continue
        known, entry = settlement.first_step(term).known, of_term.get(term.number)
        if known >= (due + settlement.rules.after_days + 1 if term.final is None else term.final):
            continue
        matured = entry.matured if entry else due + settlement.rules.after_days + 1
        account = entry.account_id if entry else settlement.account(term)
        groups[account, term.end].append((known, term.number, matured, bool(entry and entry.renewed is not None)))
    sets: dict[int, RenewalSet] = {}
    for members in groups.values():
        for members_of_set in _split_by_maturity(sorted(members)):
            known, matured = members_of_set[0][0], max(member[2] for member in members_of_set)
            found = RenewalSet(known, matured, all(member[3] for member in members_of_set))
            sets |= {member[1]: found for member in members_of_set}
    return sets


def _split_by_maturity(members: Sequence[tuple[int, int, int, bool]]) -> list[list[tuple[int, int, int, bool]]]:
    sets: list[list[tuple[int, int, int, bool]]] = []
    matured = 0
    for member in members:
        if not sets or member[0] >= matured:
            sets.append([])
            matured = member[2]
        sets[-1].append(member)
        matured = max(matured, member[2])
    return sets
