"""The features of `tickets`: each ticket as known on the day."""

from __future__ import annotations

from datetime import datetime, timedelta

from tests.oracle.known import AccountView, Row, hours, mean, quantize, share


class Tickets:
    """Features of the family; methods are named after their functions."""

    def __init__(self, view: AccountView) -> None:
        self.view = view
        self.all = view.rows("tickets")

    def opened(self, days: int) -> list[Row]:
        return [t for t in self.all if self.view.inside(t["opened_at"], days)]

    @staticmethod
    def is_open(ticket: Row) -> bool:
        closed, again = ticket["resolved_at"], ticket["reopened_at"]
        return closed is None or (again is not None and again > closed)

    def answered_by(self, ticket: Row) -> datetime:
        """Time of the first answer; the resolution if there was none; the as-of date if neither is known."""
        return ticket["first_response_at"] or ticket["resolved_at"] or self.view.t

    def late(self, ticket: Row) -> bool:
        limit = self.view.policy.tickets.limits[ticket["severity"]]
        respond_by = ticket["opened_at"] + timedelta(hours=limit.first_response_hours)
        resolve_by = ticket["due_at"] or ticket["opened_at"] + timedelta(hours=limit.resolution_hours)
        return self.answered_by(ticket) > respond_by or (ticket["resolved_at"] or self.view.t) > resolve_by

    # --- the features --------------------------------------------------------------------------

    def tickets_opened(self, kind, severity, days):
        return len([t for t in self.opened(days) if t["kind"] == kind and t["severity"] == severity])

    def tickets_total(self, days):
        return len(self.opened(days))

    def first_response_hours(self, days):
        answered = [t for t in self.opened(days) if t["first_response_at"] is not None]
        return mean([quantize(hours(t["opened_at"], t["first_response_at"])) for t in answered])

    def resolution_hours(self, days):
        closed = [t for t in self.all if self.view.inside(t["resolved_at"], days)]
        return mean([quantize(hours(t["opened_at"], t["resolved_at"])) for t in closed])

    def sla_breaches(self, days):
        return len([t for t in self.opened(days) if self.late(t)])

    def sla_breach_share(self, days):
        return share(self.sla_breaches(days), len(self.opened(days)))

    def backlog(self):
        return len([t for t in self.all if self.is_open(t)])

    def backlog_age(self):
        return max((self.view.days_ago(t["opened_at"]) for t in self.all if self.is_open(t)), default=0)

    def backlog_of(self, severity):
        return len([t for t in self.all if self.is_open(t) and t["severity"] == severity])

    def tickets_reopened(self, days):
        return len([t for t in self.opened(days) if t["reopened_at"] is not None])

    def tickets_escalated(self, days):
        return len([t for t in self.opened(days) if t["escalated_at"] is not None])

    def requests_unanswered(self):
        requests = [t for t in self.opened(365) if t["kind"] == "request"]
        return len([t for t in requests if t["first_response_at"] is None and t["resolved_at"] is None])
