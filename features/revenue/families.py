"""Families of accounts: which contracts are settled together, and what is settled of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date

import ibis.expr.types as ir
from ibis import _

from renewals.features.revenue.contract_lines import Line
from renewals.features.revenue.outcomes import Entry, RenewalSet, final_entry, pending_entry, renewal_sets
from renewals.features.revenue.roll_forward import AccountMonth, RollForward
from renewals.features.revenue.settlement import Settlement
from renewals.features.revenue.states import StateLog
from renewals.features.revenue.terms import Merger, SettlementRules, Term
from renewals.features.revenue.valuation import day_number


@dataclass
class SettledFamily:
    """The contracts of one family of accounts, settled: outcomes, months, and states day by day."""

    settlement: Settlement
    entries: list[Entry]
    sets: dict[int, RenewalSet]
    months: list[AccountMonth]
    states: StateLog


def settle_family(
    lines: Sequence[Line], mergers: Sequence[Merger], rules: SettlementRules, months: Sequence[date]
) -> SettledFamily:
    """Settle the lines of one family day by day, and close its months while that goes on."""
    settlement = Settlement(lines, mergers, rules)
    states = StateLog(settlement)
    roll_forward = RollForward(settlement, months)
    entries: list[Entry] = []
    while (day := settlement.next_day()) is not None:
        roll_forward.close_months_before(day)
        settlement.settle_next_day()
        states.update()
        entries += [final_entry(settlement, term) for term in settlement.matured]
    roll_forward.close_rest()
    states.close()
    entries += [pending_entry(settlement, term) for term in settlement.terms if _is_pending(settlement, term)]
    return SettledFamily(settlement, entries, renewal_sets(settlement, entries), roll_forward.rows, states)


def _is_pending(settlement: Settlement, term: Term) -> bool:
    due = settlement.due(term)
    return term.final is None and term.is_live and due is not None and due <= settlement.rules.last_day


def read_mergers(accounts: ir.Table | None, known_until: int) -> list[Merger]:
    """Mergers known before a day; an account names its heir in `merged_into_account_id`."""
    if accounts is None or "merged_into_account_id" not in accounts.columns:
        return []
    optional = [name for name in ("merged_at", "recorded_at", "created_at") if name in accounts.columns]
    merged = accounts.filter(
        _.merged_into_account_id.notnull(),
        _.merged_into_account_id != _.account_id.cast(_.merged_into_account_id.type()),
    )
    rows = merged.select("account_id", "merged_into_account_id", *optional).to_pyarrow().to_pylist()
    mergers = []
    for row in rows:
        times = {name: None if row.get(name) is None else day_number(row[name]) for name in optional}
        recorded = times.get("recorded_at")
        if recorded is None:
            recorded = times.get("created_at")
        at = times.get("merged_at")
        day = at if at is not None else recorded if recorded is not None else 0
        known = max(day, recorded if recorded is not None else day)
        if known < known_until:
            mergers.append(Merger(row["account_id"], row["merged_into_account_id"], day, known))
    return sorted(mergers, key=lambda merger: (merger.known, merger.merged, str(merger.account_id)))


def group_families(lines: Sequence[Line], mergers: Sequence[Merger]) -> Iterator[tuple[list[Line], list[Merger]]]:
    """Lines and mergers of the accounts that belong together: merged, or joined by the ids of their contracts."""
    parent: dict[Hashable, Hashable] = {}

    def root(key: Hashable) -> Hashable:
        found = key
        while (above := parent.get(found, found)) != found:
            found = above
        while parent.get(key, key) != found:
            parent[key], key = found, parent[key]
        return found

    def join(left: Hashable, right: Hashable) -> None:
        parent[root(left)] = root(right)

    for merger in mergers:
        join(("account", merger.account_id), ("account", merger.heir_id))
    for line in lines:
        account = ("account", line.versions[0].account_id)
        join(("contract", line.contract_id), account)
        for version in line.versions:
            join(("account", version.account_id), account)
            if version.replaces is not None:
                join(("contract", version.replaces), account)
            if version.subscription is not None:
                join(("subscription", version.subscription), account)
    grouped: dict[Hashable, tuple[list[Line], list[Merger]]] = defaultdict(lambda: ([], []))
    for line in lines:
        grouped[root(("account", line.versions[0].account_id))][0].append(line)
    for merger in mergers:
        key = root(("account", merger.account_id))
        if key in grouped:
            grouped[key][1].append(merger)
    yield from grouped.values()
