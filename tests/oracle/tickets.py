"""The features of `tickets`: what each ticket looked like on the day."""

from __future__ import annotations

from datetime import datetime, timedelta

from tests.oracle.known import Row, Then, addable, hours, mean, share


class Tickets:
    """The features of the family, under their functions' names."""

    def __init__(self, then: Then) -> None:
        self.then = then
        self.all = then.rows("tickets")

    def opened(self, days: int) -> list[Row]:
        return [t for t in self.all if self.then.inside(t["opened_at"], days)]

    @staticmethod
    def is_open(ticket: Row) -> bool:
        closed, again = ticket["resolved_at"], ticket["reopened_at"]
        return closed is None or (again is not None and again > closed)

    def answered_by(self, ticket: Row) -> datetime:
        """When it was first answered; a ticket closed without a word is answered by that; today at the latest."""
        return ticket["first_response_at"] or ticket["resolved_at"] or self.then.t

    def late(self, ticket: Row) -> bool:
        limit = self.then.policy.tickets.limits[ticket["severity"]]
        respond_by = ticket["opened_at"] + timedelta(hours=limit.first_response_hours)
        resolve_by = ticket["due_at"] or ticket["opened_at"] + timedelta(hours=limit.resolution_hours)
        return self.answered_by(ticket) > respond_by or (ticket["resolved_at"] or self.then.t) > resolve_by

    # --- the features --------------------------------------------------------------------------

    def tickets_opened(self, kind, severity, days):
        return len([t for t in self.opened(days) if t["kind"] == kind and t["severity"] == severity])

    def tickets_total(self, days):
        return len(self.opened(days))

    def first_response_hours(self, days):
        answered = [t for t in self.opened(days) if t["first_response_at"] is not None]
        return mean([addable(hours(t["opened_at"], t["first_response_at"])) for t in answered])

    def resolution_hours(self, days):
        closed = [t for t in self.all if self.then.inside(t["resolved_at"], days)]
        return mean([addable(hours(t["opened_at"], t["resolved_at"])) for t in closed])

    def sla_breaches(self, days):
        return len([t for t in self.opened(days) if self.late(t)])

    def sla_breach_share(self, days):
        return share(self.sla_breaches(days), len(self.opened(days)))

    def backlog(self):
        return len([t for t in self.all if self.is_open(t)])

    def backlog_age(self):
        return max((self.then.days_ago(t["opened_at"]) for t in self.all if self.is_open(t)), default=0)

    def backlog_of(self, severity):
        return len([t for t in self.all if self.is_open(t) and t["severity"] == severity])

    def tickets_reopened(self, days):
        return len([t for t in self.opened(days) if t["reopened_at"] is not None])

    def tickets_escalated(self, days):
        return len([t for t in self.opened(days) if t["escalated_at"] is not None])

    def requests_unanswered(self):
        asked = [t for t in self.opened(365) if t["kind"] == "request"]
        return len([t for t in asked if t["first_response_at"] is None and t["resolved_at"] is None])
