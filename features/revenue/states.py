"""Terms as known on each day: a row for each stretch of days in which nothing about a term changes."""

from __future__ import annotations

from datetime import datetime, time
from typing import Any, NamedTuple

from renewals.features.revenue.contract_lines import OPEN_END
from renewals.features.revenue.settlement import Settlement
from renewals.features.revenue.terms import Term
from renewals.features.revenue.valuation import day_date


class TermState(NamedTuple):
    """What is known of a term, for days on which it counts."""

    account_id: Any
    contract_id: Any
    product: str
    plan: str | None
    start_date: int
    end_date: int
    renewal_date: int
    """End of the last step of its ramp, else its own end."""
    arr: float | None
    """Amount a year; None: unknown."""
    currency: str | None
    seats: int | None
    auto_renew: bool | None
    signed_at: datetime | None
    paid_at: datetime | None
    cancelled_at: datetime | None
    notice_days: int | None
    notice_given: int | None
    replaced_at: int | None
    """Start of what continues it, as known."""
    signed_ahead: bool
    """True if it is followed by a further term, as known."""
    rolling: bool
    is_open: bool
    """True while its outcome is not final and nothing follows it: its customer is not lost yet."""


class StateLog:
    """States of the terms of one family, by the days from which and until which they hold."""

    def __init__(self, settlement: Settlement) -> None:
        self._settlement = settlement
        self._revision = -1
        self._open: dict[int, tuple[int, TermState]] = {}
        self.rows: list[tuple[Term, int, int | None, TermState]] = []
        """Term, first day, first day after it or None, and state. A state of day t rests on what was known before t."""

    def update(self) -> None:
        """Take over the states after a settled day: they hold from the next day on."""
        if self._revision == self._settlement.revision:
            return
        self._revision = self._settlement.revision
        day = self._settlement.day + 1
        for term in self._settlement.terms:
            held = self._open.get(term.number)
            state = self._state(term, day)
            if held is not None and held[1] == state:
                continue
            if held is not None:
                self.rows.append((term, held[0], day, held[1]))
                del self._open[term.number]
            if state is not None:
                self._open[term.number] = (day, state)

    def close(self) -> None:
        """Add the states that still hold."""
        terms = {term.number: term for term in self._settlement.terms}
        self.rows += [(terms[number], first, None, state) for number, (first, state) in self._open.items()]

    def _state(self, term: Term, day: int) -> TermState | None:
        """State of a term on `day`; None if it does not count."""
        settlement = self._settlement
        if not term.is_live:
            return None
        version = term.version
        terms_after = [pair.new.start for pair in term.new_pairs]
        in_force = term.line.version_in_force(day, settlement.day)
        last = settlement.last_step(term)
        return TermState(
            account_id=settlement.account(term, day),
            contract_id=term.line.contract_id,
            product=version.product,
            plan=in_force.plan,
            start_date=term.start,
            end_date=term.end,
            renewal_date=last.end,
            arr=0.0 if settlement.is_paused(term, day) else in_force.arr if in_force.has_amount else None,
            currency=in_force.currency,
            seats=in_force.seats,
            auto_renew=version.auto_renew,
            signed_at=version.signed_at,
            paid_at=version.paid_at if settlement.is_paid(term) else None,
            cancelled_at=_stopped_at(term),
            notice_days=version.notice_days,
            notice_given=_known(version.notice_given, settlement.day),
            replaced_at=min(terms_after, default=term.renewed_in_place),
            signed_ahead=any(pair.kind == "renewal" for pair in term.new_pairs),
            rolling=settlement.is_rolling(term),
            is_open=term.final is None and not term.new_pairs,
        )


def _known(day: int | None, known: int) -> int | None:
    return day if day is not None and day <= known else None


def _stopped_at(term: Term) -> datetime | None:
    """Instant of the cancellation or deletion of a term; None if it is not known to have been stopped."""
    if term.stop is None or term.stop >= OPEN_END:
        return None
    if term.version.cancelled == term.stop:
        return term.version.cancelled_at
    return datetime.combine(day_date(term.stop), time())
