"""Contract rows as lines: the versions of one term of one contract, in the order in which they became known.

A contract id may stand for several terms (one id for all terms of a subscription): a row that starts where the term
before it ended, or later, is the next term; any other row with the same id is a version of the same term.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

import ibis.expr.types as ir
import numpy as np

from renewals.features.policy import Policy
from renewals.features.revenue.valuation import DAYS_PER_YEAR, day_number, month_start
from renewals.features.tables import TABLES

OPEN_END = 10**7
"""Day number of an end that is not known: the contract runs on."""
LAST_END = day_number(date(9000, 1, 1))
"""Ends from this day on stand for an open end."""
ADJACENT_DAYS = 3
"""Days between an end and a start that still count as adjacent (R10)."""
DEFAULT_PRODUCT = "core"

CONTRACT_COLUMNS = (
    *("contract_id", "account_id", "product", "plan", "start_date", "end_date", "arr", "currency", "seats"),
    *("signed_at", "paid_at", "cancelled_at", "auto_renew", "kind", "subscription_id", "order_id"),
    *("replaces_contract_id", "notice_days", "notice_given_at", "deleted_at", "recorded_at", "valid_from"),
    *("loss_reason", "lost_to", "loss_recorded_at", "sold_by"),
)
INSTANTS = frozenset(
    {
        *("start_date", "end_date", "signed_at", "paid_at", "cancelled_at", "notice_given_at", "deleted_at"),
        *("recorded_at", "valid_from", "loss_recorded_at"),
    }
)


@dataclass(slots=True)
class Version:
    """A contract row: what was recorded of a term at one time. Days are numbers since 1970-01-01."""

    known: int
    """Day on which the row became known."""
    valid_from: int | None
    is_dated: bool
    """True if the row says when it was recorded or from when it holds: only then can it change an earlier row."""
    contract_id: Any
    account_id: Any
    product: str
    plan: str | None
    start: int
    end: int
    arr: float
    """Amount a year; NaN: unknown."""
    currency: str | None
    seats: int | None
    signed: int | None
    paid: int | None
    cancelled: int | None
    notice_given: int | None
    deleted: int | None
    kind: str
    subscription: Hashable | None
    order: Hashable | None
    replaces: Hashable | None
    notice_days: int | None
    auto_renew: bool | None
    signed_at: datetime | None
    paid_at: datetime | None
    cancelled_at: datetime | None
    loss_reason: str | None
    lost_to: str | None
    loss_recorded: int | None
    sold_by: str | None

    @property
    def effective(self) -> int:
        """First day on which a version that changes an earlier one holds."""
        return self.known if self.valid_from is None else self.valid_from

    @property
    def has_amount(self) -> bool:
        """True if its amount is known."""
        return not math.isnan(self.arr)

    @property
    def sortable_amount(self) -> float:
        """Its amount, or -1 if it is unknown."""
        return self.arr if self.has_amount else -1.0


@dataclass(slots=True)
class Line:
    """Versions of one term, the first known first."""

    contract_id: Any
    product: str
    start: int
    versions: list[Version] = field(default_factory=list)

    @property
    def key(self) -> tuple[Any, ...]:
        """Content by which lines are ordered, so that neither the order of the rows nor their ids decide."""
        first = self.versions[0]
        content = (
            first.end,
            first.sortable_amount,
            first.seats or 0,
            first.plan or "",
            first.currency or "",
            first.known,
        )
        dates = (first.signed or 0, first.replaces is not None, first.kind)
        return (self.start, *content, first.product, *dates, str(self.contract_id))

    def fact_days(self) -> set[int]:
        """Days on which something about the line becomes known."""
        days: set[int] = set()
        for version in self.versions:
            facts = (version.paid, version.cancelled, version.notice_given, version.deleted, version.loss_recorded)
            days.update(max(version.known, day) for day in (version.known, *facts) if day is not None)
            if version.valid_from is not None:
                days.update(max(version.known, day) for day in (version.valid_from - 1, version.valid_from))
        return days

    def known_version(self, day: int) -> Version:
        """Newest version known on `day`."""
        newest = self.versions[0]
        for version in self.versions:
            if version.known <= day:
                newest = version
        return newest

    def version_in_force(self, day: int, known: int) -> Version:
        """Version in force on `day`, as known on day `known`: the newest one that had come into effect.

        The first version is in force from the start; a later one from its `valid_from`, or from the day on which it
        became known. A pause changes neither seats nor money.
        """
        in_force = self.versions[0]
        for version in self.versions[1:]:
            if version.known <= known and version.effective <= day and version.kind != "pause":
                in_force = version
        return in_force


def read_lines(contracts: ir.Table, known_until: int, policy: Policy) -> list[Line]:
    """Lines of the contracts known before the day `known_until`, ordered by content; columns may be missing."""
    lines: dict[Hashable, list[Line]] = defaultdict(list)
    versions = [v for row in _read_rows(contracts) if (v := _version(row, policy)).known < known_until]
    for version in sorted(versions, key=_version_order):
        _add_version(lines[version.contract_id], version)
    return sorted((line for group in lines.values() for line in group), key=lambda line: line.key)


def _read_rows(contracts: ir.Table) -> list[dict[str, Any]]:
    known_at = TABLES["contracts"].known_at(contracts).cast("timestamp")
    present = [name for name in CONTRACT_COLUMNS if name in contracts.columns]
    columns = contracts.select(
        **{name: contracts[name].cast("timestamp") if name in INSTANTS else contracts[name] for name in present},
        known_at=known_at,
    ).to_pyarrow()
    missing = dict.fromkeys(set(CONTRACT_COLUMNS) - set(present))
    return [missing | row for row in columns.to_pylist()]


def _version(row: Mapping[str, Any], policy: Policy) -> Version:
    """The version that a row describes; the days on which later facts became known are kept apart."""
    contracts = policy.contracts
    days = {name: _day(row[name]) for name in INSTANTS}
    start = day_number(row["start_date"])
    means_end = contracts.cancelled_means == "end"
    if _is_before_contract(days):
        days["cancelled_at"] = None
    product = str(row["product"] or DEFAULT_PRODUCT)
    notices = [day for day in (days["notice_given_at"], None if means_end else days["cancelled_at"]) if day is not None]
    return Version(
        known=day_number(row["known_at"]),
        valid_from=days["valid_from"],
        is_dated=days["valid_from"] is not None or days["recorded_at"] is not None,
        contract_id=row["contract_id"],
        account_id=row["account_id"],
        product=contracts.product_names.get(product, product),
        plan=row["plan"],
        start=start,
        end=OPEN_END if days["end_date"] is None or days["end_date"] >= LAST_END else days["end_date"],
        arr=math.nan if row["arr"] is None else float(row["arr"]),
        currency=row["currency"],
        seats=row["seats"],
        signed=days["signed_at"],
        paid=days["paid_at"],
        cancelled=days["cancelled_at"] if means_end else None,
        notice_given=min(notices, default=None),
        deleted=days["deleted_at"],
        kind=row["kind"] or "subscription",
        subscription=row["subscription_id"],
        order=row["order_id"],
        replaces=row["replaces_contract_id"],
        notice_days=row["notice_days"],
        auto_renew=row["auto_renew"],
        signed_at=row["signed_at"],
        paid_at=row["paid_at"],
        cancelled_at=None if days["cancelled_at"] is None else row["cancelled_at"],
        loss_reason=row["loss_reason"],
        lost_to=row["lost_to"],
        loss_recorded=days["loss_recorded_at"],
        sold_by=row["sold_by"],
    )


def _is_before_contract(days: Mapping[str, Any]) -> bool:
    """True if a cancellation is dated before both the signature and the start: it cancelled something else."""
    cancelled, signed = days["cancelled_at"], days["signed_at"]
    return cancelled is not None and signed is not None and cancelled < min(signed, days["start_date"])


def _day(instant: datetime | date | None) -> int | None:
    return None if instant is None else day_number(instant)


def _version_order(version: Version) -> tuple[Any, ...]:
    """Order in which versions became known; the content decides among those of one day."""
    valid_from = version.start if version.valid_from is None else version.valid_from
    amount = version.sortable_amount
    return (version.known, valid_from, version.start, version.end, amount, version.seats or 0, version.product)


def _add_version(lines: list[Line], version: Version) -> None:
    """Add a version to the line of the same id that it describes, or as a line of its own."""
    line = _line_of(lines, version)
    if line is None:
        lines.append(Line(version.contract_id, version.product, version.start, [version]))
    else:
        line.versions.append(version)


def _line_of(lines: list[Line], version: Version) -> Line | None:
    same_start = [line for line in lines if line.start == version.start]
    for line in same_start:
        if line.product == version.product:
            return line
    for line in same_start:
        if line.versions[-1].known < version.known:
            return line
    if same_start or not lines:
        return None
    before = max(lines, key=lambda line: line.start)
    newest = before.versions[-1]
    end = newest.end
    if newest.cancelled is not None and newest.cancelled <= version.known:
        end = min(end, newest.cancelled)
    first_start = end - ADJACENT_DAYS if version.is_dated else before.start + 1
    return None if version.start >= max(first_start, before.start + 1) else before


USUAL_TERMS, FEWEST_TERMS = 20, 5
"""Number of terms from which the share with a payment date is taken, as far as there are so many, and the least."""


class PaymentShare:
    """Share of terms with a payment date, by which payment is asked of a term or not (R1)."""

    def __init__(self, lines: list[Line]) -> None:
        terms: dict[tuple[int, Any, str, int], tuple[int, int, int]] = {}
        for line in lines:
            first = line.versions[0]
            if first.kind in ("pause", "one_off") or all(version.arr == 0 for version in line.versions):
                continue
            key = (line.start, first.account_id, line.product, first.end)
            paid, known, deleted = terms.get(key, (OPEN_END, OPEN_END, -OPEN_END))
            payments = [max(v.paid, v.known) for v in line.versions if v.paid is not None]
            deletions = [max(v.deleted, v.known) for v in line.versions if v.deleted is not None]
            terms[key] = (
                min([paid, *payments]),
                min(known, first.known),
                max(deleted, min(deletions, default=OPEN_END)),
            )
        days = np.array(sorted((key[0], *days) for key, days in terms.items()), np.int64).reshape(-1, 4)
        self._starts, self._paid, self._known, self._deleted = days.T
        """Start of each term, and days on which its payment, the term itself and its deletion became known."""
        self._cache: dict[tuple[int, int], float] = {}

    def share(self, start: int, day: int) -> float:
        """Share, on the first of the month of `day`, of the terms that started in the year before the month of `start`.

        Where fewer than `USUAL_TERMS` started in that year, the last `USUAL_TERMS` before it count; fewer than
        `FEWEST_TERMS` in all say nothing: 0. Several rows of one product with the same dates are one term; one
        that was deleted by then is none.
        """
        first, known = month_start(start), month_start(day)
        if (first, known) not in self._cache:
            known_terms = (self._starts < first) & (self._known < known) & (known <= self._deleted)
            earlier = np.flatnonzero(known_terms)
            of_year = int((self._starts[earlier] >= first - DAYS_PER_YEAR).sum())
            terms = earlier[-max(of_year, USUAL_TERMS) :]
            paid = int((self._paid[terms] < known).sum())
            self._cache[first, known] = paid / len(terms) if len(terms) >= FEWEST_TERMS else 0.0
        return self._cache[first, known]
