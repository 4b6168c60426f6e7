"""Report how the contracts were read: which follows which by which rule, overlaps, moved ends, repeated contracts.

The contracts are settled as the stage `ledger` settles them (docs/contracts.md), as of the day after the newest known
day of the tables. Nothing is changed here; `contract_warnings` warns about probable errors.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

import ibis
import ibis.expr.types as ir
from ibis import _

from renewals.features.point_in_time import known_rows
from renewals.features.policy import Policy
from renewals.features.revenue.contract_lines import OPEN_END, Line
from renewals.features.revenue.known_terms import PAYMENT_SHARE
from renewals.features.revenue.ledger import RenewalLedger
from renewals.features.revenue.settlement import Settlement
from renewals.features.revenue.terms import Term, unique
from renewals.features.revenue.valuation import day_date
from renewals.features.tables import TABLES
from renewals.pipelines.runtime.errors import DataContractError
from renewals.pipelines.validation.context import known_time
from renewals.pipelines.validation.quarantine import format_percent
from renewals.pipelines.validation.value_forms import format_count
from renewals.reports.sanitize import make_printable, truncate

MAX_EXAMPLES = 3
MIN_NEVER_RAN, MIN_NEVER_RAN_SHARE = 5, 0.05
"""Contracts cancelled by their start for a warning: a few orders are withdrawn before they start, but more than one in
twenty points to wrong dates of cancellation."""
MIN_ROLLING_SHARE = 0.2
"""Share of the running contracts that roll on for a warning: some contracts by the month are usual, but from a fifth on
a good part of the business is in no renewal rate."""
MAX_ID_LENGTH = 60
"""Maximum number of characters shown of an id or a product."""
RULES = {
    "replaces": "named by the new contract",
    "subscription": "of one subscription or contract id",
    "order": "of one order",
    "ramp": "steps signed together",
    "adjacent": "start where the old one ends",
    "grace": "start within the grace",
    "overlap": "overlap the old one",
    "in_place": "end of the row moved",
}
"""Rules that join contracts (R10), in their order, as words."""


@dataclass(frozen=True, slots=True)
class Overlap:
    """Overlapping contracts of one product; nothing says whether the new ones replace the old ones.

    Amounts in cents: `both_amount` of all contracts, if they run side by side, `new_amount` of the new ones alone.
    """

    account_id: Any
    old_ids: tuple[Any, ...]
    new_ids: tuple[Any, ...]
    starts: date
    is_replaced: bool
    both_amount: int
    new_amount: int


@dataclass(frozen=True, slots=True)
class EndedTerm:
    """A paid term that is due once, with the first and last day on which its follow-on may start."""

    contract_id: Any
    account_id: Any
    product: str
    start: int
    due: int
    first_day: int
    last_day: int
    is_followed: bool
    is_final: bool


@dataclass(frozen=True, slots=True)
class NewTerm:
    """A paid term that follows no other term."""

    contract_id: Any
    account_id: Any
    product: str
    start: int


@dataclass
class PaymentDates:
    """Payment dates of the terms that have started, and the renewals that are asked for payment."""

    terms: int = 0
    paid_terms: int = 0
    first_start: int = OPEN_END
    first_paid: int = OPEN_END
    renewals: int = 0
    asked_renewals: int = 0
    lapsed_renewals: int = 0
    first_asked_start: int = OPEN_END


@dataclass
class ContractSummary:
    """Counts and lists from the settlement of all contracts. Amounts in cents, days as numbers since 1970-01-01."""

    as_of: date
    contracts: int = 0
    joined: Counter[tuple[str, str]] = field(default_factory=Counter)
    overlaps: list[Overlap] = field(default_factory=list)
    """The largest first."""
    moved_ends: Counter[str] = field(default_factory=Counter)
    twins: list[tuple[Any, ...]] = field(default_factory=list)
    """Ids of contracts with one account, product and dates."""
    equal_twins: int = 0
    """Contracts that repeat another one with all of account, product, dates and amount."""
    equal_twins_amount: int = 0
    currency_changes: list[Any] = field(default_factory=list)
    """Ids of contracts with a change of currency before their end."""
    never_ran: list[Any] = field(default_factory=list)
    """Ids of contracts that were cancelled on or before their start."""
    ended: list[EndedTerm] = field(default_factory=list)
    bought: list[NewTerm] = field(default_factory=list)
    payments: PaymentDates = field(default_factory=PaymentDates)
    running: int = 0
    rolling: list[Any] = field(default_factory=list)
    """Ids of running contracts that roll on."""
    running_accounts: set[Any] = field(default_factory=set)
    dated_accounts: set[Any] = field(default_factory=set)
    """Accounts with a running contract that does not roll on."""
    unsold_events: int = 0
    """Usage events of accounts without any contract."""
    events: int = 0
    unsold_accounts: list[Any] = field(default_factory=list)

    @property
    def rolling_accounts(self) -> int:
        """Number of accounts of which all running contracts roll on."""
        return len(self.running_accounts - self.dated_accounts)

    @property
    def have_many_never_run(self) -> bool:
        """True if so many contracts were cancelled by their start that the dates are probably wrong."""
        return len(self.never_ran) >= max(MIN_NEVER_RAN, MIN_NEVER_RAN_SHARE * self.contracts)

    @property
    def do_many_roll_on(self) -> bool:
        """True if so many running contracts roll on that renewal rates say little."""
        return bool(self.rolling) and len(self.rolling) >= MIN_ROLLING_SHARE * self.running


def newest_known_day(tables: Mapping[str, ir.Table], extracted_at: datetime | None) -> date:
    """The day after the newest day on which something is known to have happened, at most after the extraction.

    A contract that is neither signed nor recorded says nothing of this: it may start in years. Neither do rates.
    """
    newest = []
    for name, rows in tables.items():
        if name == "rates":
            continue
        if name == "contracts":
            rows = rows.filter(_.signed_at.notnull() | _.recorded_at.notnull())
        known = known_time(rows, TABLES[name])
        happened = ibis.coalesce(*(rows[column] for column in TABLES[name].event_time))
        ends = rows.agg(known=known.max(), happened=happened.max()).to_pyarrow().to_pylist()[0]
        newest += [min(end for end in ends.values() if end is not None)] if any(ends.values()) else []
    days = [time.date() for time in newest]
    last = max(days, default=date.min)
    if extracted_at is not None:
        last = min(last, extracted_at.date())
    return last + timedelta(days=1)


def summarize_contracts(tables: Mapping[str, ir.Table], as_of: date, policy: Policy) -> ContractSummary:
    """Settle the contracts of the clean tables and summarize the result."""
    rates = known_rows("rates", tables["rates"], as_of) if "rates" in tables else None
    ledger = RenewalLedger(tables["contracts"], as_of, policy, rates, tables["accounts"])
    summary = ContractSummary(as_of)
    for family in ledger.families():
        _add_family(summary, family.settlement)
    summary.overlaps.sort(key=lambda overlap: (-overlap.both_amount, overlap.starts, str(overlap.new_ids)))
    _count_unsold_use(summary, tables)
    return summary


# --- counting --------------------------------------------------------------------------------------


def _add_family(summary: ContractSummary, settlement: Settlement) -> None:
    """Add the settlement of one family of accounts to the summary."""
    live = [term for term in settlement.terms if term.is_live]
    summary.contracts += len(settlement.terms)
    summary.joined.update((pair.rule, pair.kind) for pair in settlement.pairs if pair.voided is None)
    summary.overlaps += _overlaps(settlement)
    _count_moved_ends(summary, settlement.terms)
    _find_twins(summary, settlement, live)
    _find_currency_changes(summary, settlement)
    summary.never_ran += [
        term.line.contract_id
        for term in settlement.terms
        if term.is_void and term.stop is not None and term.version.deleted is None
    ]
    for term in live:
        if not term.is_free:
            _add_ended_or_bought(summary, settlement, term)
        if settlement.is_held(term, settlement.rules.last_day):
            _add_running(summary, settlement, term)
    _count_payments(summary.payments, settlement)


def _overlaps(settlement: Settlement) -> Iterator[Overlap]:
    """Overlaps, one for each purchase: new contracts of the same dates were bought together."""
    groups: dict[tuple[Any, str, int, int, bool], list[tuple[Term, Term]]] = defaultdict(list)
    for old, new, replaces in settlement.overlaps:
        if old.is_live and new.is_live:
            key = (settlement.account(new), new.version.product, new.start, new.end, replaces)
            groups[key].append((old, new))
    for (account, _product, start, _end, replaces), members in groups.items():
        old_terms, new_terms = (unique(pair[side] for pair in members) for side in (0, 1))
        old_amount, new_amount = (
            sum(term.holding(start, settlement.day, settlement.rules.rates).amount for term in terms)
            for terms in (old_terms, new_terms)
        )
        yield Overlap(
            account,
            _contract_ids(old_terms),
            _contract_ids(new_terms),
            day_date(start),
            replaces,
            old_amount + new_amount,
            new_amount,
        )


def _contract_ids(terms: Iterable[Term]) -> tuple[Any, ...]:
    return tuple(term.line.contract_id for term in terms)


def _count_moved_ends(summary: ContractSummary, terms: Sequence[Term]) -> None:
    """Count ends moved later or nearer, renewals in place, and terms begun again by an end moved after the grace."""
    lines: dict[int, list[Term]] = defaultdict(list)
    for term in terms:
        lines[id(term.line)].append(term)
        first_end = term.line.known_version(term.known).end
        if term.renewed_in_place is not None:
            summary.moved_ends["renewed_in_place"] += 1
        elif term.end != first_end:
            summary.moved_ends["extended" if term.end > first_end else "brought_nearer"] += 1
    for of_line in lines.values():
        in_place = sum(term.renewed_in_place is not None for term in of_line)
        summary.moved_ends["begun_again"] += len(of_line) - 1 - in_place


def _find_twins(summary: ContractSummary, settlement: Settlement, live: Sequence[Term]) -> None:
    """Find paid contracts with different ids but the same account, product and dates."""
    groups: dict[Hashable, dict[Any, Term]] = defaultdict(dict)
    for term in live:
        if not term.is_free:
            key = (settlement.account(term), term.version.product, term.start, term.end)
            groups[key].setdefault(term.line.contract_id, term)
    for by_id in groups.values():
        if len(by_id) > 1:
            summary.twins.append(tuple(by_id))
            amounts = [t.holding(t.start, settlement.day, settlement.rules.rates).amount for t in by_id.values()]
            for amount, count in Counter(amounts).items():
                summary.equal_twins += count - 1
                summary.equal_twins_amount += amount * (count - 1)


def _find_currency_changes(summary: ContractSummary, settlement: Settlement) -> None:
    """Find contracts with versions in several currencies, or amended in another one."""
    home = settlement.rules.policy.money.reporting_currency
    changed: dict[Any, None] = {}
    for line in {id(term.line): term.line for term in settlement.terms}.values():
        known = [version for version in line.versions if version.known <= settlement.rules.last_day]
        if len({version.currency or home for version in known}) > 1:
            changed[line.contract_id] = None
    for pair in settlement.pairs:
        currencies = {term.version.currency or home for term in (pair.old, pair.new)}
        if pair.voided is None and pair.kind == "amendment" and len(currencies) > 1:
            changed[pair.new.line.contract_id] = None
    summary.currency_changes += changed


def _add_ended_or_bought(summary: ContractSummary, settlement: Settlement, term: Term) -> None:
    account, product = settlement.account(term), term.version.product
    due = settlement.due(term)
    if due is not None and due < OPEN_END:
        summary.ended.append(
            EndedTerm(
                term.line.contract_id,
                account,
                product,
                term.start,
                due,
                max(due - settlement.before_window(term), term.start + 1),
                due + settlement.rules.after_days,
                bool(term.new_pairs),
                term.final is not None,
            )
        )
    if not term.old_pairs:
        summary.bought.append(NewTerm(term.line.contract_id, account, product, term.start))


def _add_running(summary: ContractSummary, settlement: Settlement, term: Term) -> None:
    account = settlement.account(term)
    summary.running += 1
    summary.running_accounts.add(account)
    if settlement.is_rolling(term):
        summary.rolling.append(term.line.contract_id)
    else:
        summary.dated_accounts.add(account)


def _count_payments(payments: PaymentDates, settlement: Settlement) -> None:
    """Count payment dates, and the renewals that are asked for payment (R1)."""
    rules = settlement.rules
    renewals = [pair.new for pair in settlement.pairs if pair.voided is None and pair.kind == "renewal"]
    in_place = {id(pair.new) for pair in settlement.pairs if pair.rule == "in_place"}
    lapsed = [term for term in settlement.terms if term.lapsed is not None]
    for term in unique(term for term in (*renewals, *lapsed) if id(term) not in in_place):
        decided = min(settlement.payment_deadline(term), rules.last_day)
        payments.renewals += 1
        payments.lapsed_renewals += term.lapsed is not None
        if _is_payment_asked(settlement, term, decided):
            payments.asked_renewals += 1
            payments.first_asked_start = min(payments.first_asked_start, term.start)
    for line in _started_lines(settlement):
        paid = [v.paid for v in line.versions if v.paid is not None and max(v.paid, v.known) <= rules.last_day]
        payments.terms += 1
        payments.paid_terms += bool(paid)
        payments.first_start = min(payments.first_start, line.start)
        payments.first_paid = min([payments.first_paid, *paid])


def _is_payment_asked(settlement: Settlement, term: Term, day: int) -> bool:
    """True if a renewal is asked for payment, as decided on `day`."""
    payment = settlement.rules.policy.renewal.payment
    if payment != "auto":
        return payment == "required"
    return settlement.rules.payments.share(term.start, day) >= PAYMENT_SHARE


def _started_lines(settlement: Settlement) -> Iterator[Line]:
    """Lines of the paid terms that have started."""
    started = (t for t in settlement.terms if t.start <= settlement.rules.last_day and not t.is_free and not t.is_void)
    yield from {id(term.line): term.line for term in started}.values()


def _count_unsold_use(summary: ContractSummary, tables: Mapping[str, ir.Table]) -> None:
    """Count the usage events of accounts without a contract that were not merged into an account with one."""
    counts = tables["usage_events"].group_by("account_id").agg(events=_.count()).to_pyarrow().to_pylist()
    sold = set(tables["contracts"].select("account_id").distinct().to_pyarrow()["account_id"].to_pylist())
    merged = tables["accounts"].filter(_.merged_into_account_id.notnull())
    heirs = merged.select("account_id", "merged_into_account_id").to_pyarrow().to_pylist()
    heir_of = {row["account_id"]: row["merged_into_account_id"] for row in heirs}
    unsold = [row for row in counts if sold.isdisjoint(chain_of(row["account_id"], heir_of))]
    unsold.sort(key=lambda row: (-row["events"], str(row["account_id"])))
    summary.events = sum(row["events"] for row in counts)
    summary.unsold_events = sum(row["events"] for row in unsold)
    summary.unsold_accounts = [row["account_id"] for row in unsold]


def chain_of(account_id: Any, above: Mapping[Any, Any]) -> list[Any]:
    """The account, the account above it, and so on to the top; stops before an account that is already in the chain."""
    chain = [account_id]
    while (found := above.get(chain[-1])) is not None and found not in chain:
        chain.append(found)
    return chain


# --- report ----------------------------------------------------------------------------------------


def require_decided_overlaps(summary: ContractSummary, policy: Policy) -> None:
    """Raise `DataContractError` if contracts overlap and `contracts.overlap` is `stop`."""
    if policy.contracts.overlap != "stop" or not summary.overlaps:
        return
    count, both, new = _overlap_sums(summary.overlaps, policy)
    examples = "; ".join(
        f"account {shown(overlap.account_id)}: {shown_ids(overlap.new_ids)} starts on {overlap.starts} while "
        f"{shown_ids(overlap.old_ids)} runs"
        for overlap in summary.overlaps[:MAX_EXAMPLES]
    )
    raise DataContractError(
        f"contracts: {count} overlap another contract of their account and product, and nothing says whether they take "
        f"its place (contracts.overlap is stop): side by side they are {both} of ARR, in place of the old ones {new}. "
        f"For example {examples}. Name the contract that each replaces (replaces_contract_id), or decide for all: "
        "--set contracts.overlap=two (side by side) or --set contracts.overlap=replace (in place of the old ones)"
    )


def contract_facts(summary: ContractSummary) -> dict[str, Any]:
    """Figures of the summary for the validation report; amounts in units of the reporting currency."""
    overlaps = summary.overlaps
    joined: dict[str, dict[str, int]] = defaultdict(dict)
    for (rule, kind), count in sorted(summary.joined.items()):
        joined[rule][kind] = count
    return {
        "as_of": summary.as_of.isoformat(),
        "contracts": summary.contracts,
        "joined": dict(joined),
        "overlaps": {
            "count": len(overlaps),
            "replaced": sum(overlap.is_replaced for overlap in overlaps),
            "arr_side_by_side": sum(overlap.both_amount for overlap in overlaps) / 100,
            "arr_replaced": sum(overlap.new_amount for overlap in overlaps) / 100,
        },
        "moved_ends": {
            name: summary.moved_ends[name] for name in ("extended", "brought_nearer", "renewed_in_place", "begun_again")
        },
        "same_dates": {
            "contracts": sum(len(ids) - 1 for ids in summary.twins),
            "same_amount": summary.equal_twins,
            "arr_of_same_amount": summary.equal_twins_amount / 100,
        },
        "currency_changes": len(summary.currency_changes),
        "never_ran": len(summary.never_ran),
        "payments": {
            "terms": summary.payments.terms,
            "paid_terms": summary.payments.paid_terms,
            "renewals": summary.payments.renewals,
            "asked_renewals": summary.payments.asked_renewals,
            "lapsed_renewals": summary.payments.lapsed_renewals,
        },
        "rolling": {
            "running": summary.running,
            "contracts": len(summary.rolling),
            "accounts": summary.rolling_accounts,
        },
        "use_without_contract": {
            "accounts": len(summary.unsold_accounts),
            "events": summary.unsold_events,
            "of_events": summary.events,
        },
    }


def contract_notes(summary: ContractSummary, policy: Policy) -> Iterator[str]:
    """Sentences on how the contracts were understood, at most one of each kind."""
    if summary.joined:
        yield f"contracts: {_joined_text(summary.joined)}"
    if summary.overlaps:
        yield _overlap_note(summary.overlaps, policy)
    if any(summary.moved_ends.values()):
        yield f"contracts: {_moved_ends_text(summary.moved_ends)}"
    if summary.twins:
        yield _twins_note(summary, policy)
    if summary.currency_changes:
        yield (
            f"contracts: {len(summary.currency_changes):,} changed their currency before their end, for example "
            f"{shown(summary.currency_changes[0])}: amounts before and after are compared at the rates of that day. "
            "If a wrong currency was corrected, correct it in the earlier rows too"
        )
    if summary.never_ran and not summary.have_many_never_run:
        yield (
            f"contracts: {len(summary.never_ran):,} were cancelled on or before their start and never ran, for example "
            f"{shown(summary.never_ran[0])}"
        )
    if summary.rolling and not summary.do_many_roll_on:
        yield (
            f"contracts: {len(summary.rolling):,} of {summary.running:,} running contracts roll on, for example "
            f"{shown(summary.rolling[0])}: they are in no renewal rate, and "
            f"{format_count(summary.rolling_accounts, 'account')} without any other contract cannot be on the list"
        )
    if summary.unsold_accounts:
        share = format_percent(summary.unsold_events, summary.events)
        yield (
            f"usage_events: {summary.unsold_events:,} of {summary.events:,} events ({share}) are by "
            f"{format_count(len(summary.unsold_accounts), 'account')} without any contract, for example "
            f"{shown(summary.unsold_accounts[0])}: such an account cannot be on the list"
        )


def _joined_text(joined: Mapping[tuple[str, str], int]) -> str:
    """How many contracts follow others, by kind and by rule."""
    kinds: Counter[str] = Counter()
    for (_rule, kind), count in joined.items():
        kinds[kind] += count
    names = {
        "renewal": ("renewal", "renewals"),
        "amendment": ("amendment", "amendments"),
        "ramp": ("step of a ramp", "steps of a ramp"),
    }
    by_kind = ", ".join(f"{kinds[kind]:,} {forms[kinds[kind] != 1]}" for kind, forms in names.items() if kinds[kind])
    by_rule = ", ".join(
        f"{count:,} {text}"
        for rule, text in RULES.items()
        if (count := sum(joined.get((rule, kind), 0) for kind in names))
    )
    return f"{sum(kinds.values()):,} joined to what they continue ({by_kind}): {by_rule}"


def _overlap_note(overlaps: Sequence[Overlap], policy: Policy) -> str:
    count, both, new = _overlap_sums(overlaps, policy)
    replaced, first = sum(overlap.is_replaced for overlap in overlaps), overlaps[0]
    return (
        f"contracts: {count} overlap another contract of their account and product without saying what they replace, "
        f"for example {shown_ids(first.new_ids)} over {shown_ids(first.old_ids)}: {replaced:,} take its place, "
        f"{len(overlaps) - replaced:,} run beside it. ARR on the day each starts: {both} if all run side by side, "
        f"{new} if all take its place (contracts.overlap: two, replace or stop)"
    )


def _overlap_sums(overlaps: Sequence[Overlap], policy: Policy) -> tuple[str, str, str]:
    """Number of overlaps, and their amount side by side and with the new contracts in place of the old ones."""
    both, new = (sum(getattr(overlap, name) for overlap in overlaps) for name in ("both_amount", "new_amount"))
    return f"{len(overlaps):,}", shown_amount(both, policy), shown_amount(new, policy)


def _moved_ends_text(moved: Mapping[str, int]) -> str:
    texts = {
        "extended": "extended by less than half of their term",
        "brought_nearer": "end earlier than first recorded",
        "renewed_in_place": "renewed in place (end moved by half of the term or more)",
        "begun_again": "begun again (end moved after the grace)",
    }
    return "ends moved in later versions: " + ", ".join(
        f"{moved[name]:,} {text}" for name, text in texts.items() if moved[name]
    )


def _twins_note(summary: ContractSummary, policy: Policy) -> str:
    count = sum(len(ids) - 1 for ids in summary.twins)
    amount = shown_amount(summary.equal_twins_amount, policy)
    equal = f", {summary.equal_twins:,} of them also its amount ({amount} of ARR)" if summary.equal_twins else ""
    return (
        f"contracts: {count:,} have the account, product and dates of another under a second id{equal}, for example "
        f"{shown_ids(summary.twins[0])}: each counts in addition. Where two systems deliver one contract, leave out one"
    )


def shown(value: Any) -> str:
    """An id or a product as it is shown in a message."""
    return repr(truncate(make_printable(value), MAX_ID_LENGTH, "…")) if isinstance(value, str) else str(value)


def shown_ids(ids: Sequence[Any]) -> str:
    """A few ids as they are shown in a message."""
    texts = [shown(value) for value in ids[:MAX_EXAMPLES]]
    return ", ".join(texts) + (", …" if len(ids) > MAX_EXAMPLES else "")


def shown_amount(cents: int, policy: Policy) -> str:
    """An amount as it is shown in a message, in whole units of the reporting currency."""
    return f"{round(cents / 100):,} {policy.money.reporting_currency}"
