"""Support features as known on 2026-03-01, without facts that were written into the tickets later (T1, T2)."""

from __future__ import annotations

import pytest

TICKETS = """
    account | ticket | kind     | severity | opened_at  | first_response_at | resolved_at | reopened_at | escalated_at
    acme    | 1      | bug      | high     | 2026-02-20 | 2026-02-21        | 2026-02-22  |             |
    acme    | 2      | bug      | high     | 2026-02-26 |                   |             |             | 2026-02-28
    acme    | 3      | question | low      | 2026-01-10 | 2026-01-11        | 2026-01-12  | 2026-01-20  |
    acme    | 4      | request  | medium   | 2025-10-01 |                   |             |             |
    acme    | 5      | request  | medium   | 2025-10-02 |                   | 2025-10-03  |             |
    acme    | 6      | bug      | low      | 2025-01-01 | 2025-01-02        | 2026-02-01  |             |
    acme    | 7      | question | low      | 2026-02-28 | 2026-02-28 06:00  | 2026-03-01  | 2026-03-02  | 2026-03-01
    acme    | 8      | bug      | high     | 2026-03-01 |                   |             |             |
"""
"""Limits of answer and resolution in hours: high 4 and 48, medium 24 and 240, low 48 and 720."""


@pytest.fixture(scope="module")
def support(company):
    return company(tickets=TICKETS)


def test_number_of_tickets(support):
    """Ticket 8 was opened on the as-of date, so it is not known yet."""
    totals = [f"tickets_total_{w}d" for w in (7, 28, 90, 180)]
    assert support("tickets", *totals) == {"acme": [2, 3, 4, 6], "quiet": [0, 0, 0, 0]}
    kinds = ["tickets_opened_bug_high_90d", "tickets_opened_question_low_90d", "tickets_opened_request_medium_180d"]
    assert support("tickets", *kinds) == {"acme": [2, 2, 2], "quiet": [0, 0, 0]}


def test_response_and_resolution_hours(support):
    """Answered after 24, 24 and 6 hours; resolved in 90 days: 1 and 3 after 48 hours each, 6 after 396 days."""
    expected = [pytest.approx(18), pytest.approx((48 + 48 + 396 * 24) / 3)]
    assert support("tickets", "first_response_hours_90d", "resolution_hours_90d") == {
        "acme": expected,
        "quiet": [None, None],
    }


def test_sla_breaches(support):
    """Ticket 1 was answered late, 2 and 4 have waited too long; 5 was resolved unanswered, within the limit."""
    assert support("tickets", "sla_breaches_90d", "sla_breaches_180d") == {"acme": [2, 3], "quiet": [0, 0]}
    assert support("tickets", "sla_breach_share_180d") == {"acme": 0.5, "quiet": None}


def test_the_due_date_of_a_ticket_replaces_the_limit(company):
    """Due on the 20th and resolved on the 21st: a breach, although the limit of a low ticket is 30 days."""
    tickets = """
        account_id | ticket_id | kind | severity | opened_at  | first_response_at | resolved_at | due_at
        acme       | 1         | bug  | low      | 2026-02-18 | 2026-02-18        | 2026-02-21  | 2026-02-20
        acme       | 2         | bug  | low      | 2026-02-18 | 2026-02-18        | 2026-02-20  | 2026-02-20
    """
    assert company(tickets=tickets)("tickets", "sla_breaches_90d")["acme"] == 1


def test_backlog(support):
    """Tickets 2 and 4 are unresolved, 3 was reopened, and 7 is resolved on the as-of date."""
    columns = ["backlog", "backlog_age", "backlog_of_high"]
    assert support("tickets", *columns) == {"acme": [4, 151, 1], "quiet": [0, 0, 0]}


def test_reopened_and_escalated_as_known(support):
    """Ticket 7 is reopened and escalated later: not known."""
    columns = ["tickets_reopened_90d", "tickets_escalated_90d"]
    assert support("tickets", *columns) == {"acme": [1, 1], "quiet": [0, 0]}


def test_unanswered_requests(support):
    """Ticket 4 has no answer; 5 was at least resolved."""
    assert support("tickets", "requests_unanswered") == {"acme": 1, "quiet": 0}
