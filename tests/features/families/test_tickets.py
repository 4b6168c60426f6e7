"""Support as it stood on 2026-03-01, whatever was written into the tickets since (T1, T2)."""

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
"""Within 4 and 48 hours a high one is answered and closed, a medium within 24 and 240, a low within 48 and 720."""


@pytest.fixture(scope="module")
def support(company):
    return company(tickets=TICKETS)


def test_what_was_asked(support):
    """Ticket 8 was opened on the date itself: not yet known."""
    totals = [f"tickets_total_{w}d" for w in (7, 28, 90, 180)]
    assert support("tickets", *totals) == {"acme": [2, 3, 4, 6], "quiet": [0, 0, 0, 0]}
    kinds = ["tickets_opened_bug_high_90d", "tickets_opened_question_low_90d", "tickets_opened_request_medium_180d"]
    assert support("tickets", *kinds) == {"acme": [2, 2, 2], "quiet": [0, 0, 0]}


def test_how_long_it_took(support):
    """Answers in 90 days after 24, 24 and 6 hours; closed in 90 days: 1 after 48, 3 after 48 and 6 after 396 days."""
    expected = [pytest.approx(18), pytest.approx((48 + 48 + 396 * 24) / 3)]
    assert support("tickets", "first_response_hours_90d", "resolution_hours_90d") == {
        "acme": expected,
        "quiet": [None, None],
    }


def test_time_limits_passed(support):
    """1 was answered late, 2 has waited too long; 4 too; 5 was closed without a word, within its time to answer."""
    assert support("tickets", "sla_breaches_90d", "sla_breaches_180d") == {"acme": [2, 3], "quiet": [0, 0]}
    assert support("tickets", "sla_breach_share_180d") == {"acme": 0.5, "quiet": None}


def test_a_ticket_with_a_promise_of_its_own(company):
    """Promised for the 20th and closed on the 21st: late, though low tickets have a month."""
    tickets = """
        account_id | ticket_id | kind | severity | opened_at  | first_response_at | resolved_at | due_at
        acme       | 1         | bug  | low      | 2026-02-18 | 2026-02-18        | 2026-02-21  | 2026-02-20
        acme       | 2         | bug  | low      | 2026-02-18 | 2026-02-18        | 2026-02-20  | 2026-02-20
    """
    assert company(tickets=tickets)("tickets", "sla_breaches_90d")["acme"] == 1


def test_what_is_open(support):
    """2 and 4 were never closed, 3 was opened again, and 7 is closed only tomorrow."""
    columns = ["backlog", "backlog_age", "backlog_of_high"]
    assert support("tickets", *columns) == {"acme": [4, 151, 1], "quiet": [0, 0, 0]}


def test_reopened_and_escalated_as_known(support):
    """7 is opened again and escalated later: not seen."""
    columns = ["tickets_reopened_90d", "tickets_escalated_90d"]
    assert support("tickets", *columns) == {"acme": [1, 1], "quiet": [0, 0]}


def test_requests_nobody_answered(support):
    """4 has no answer; 5 was at least closed."""
    assert support("tickets", "requests_unanswered") == {"acme": 1, "quiet": 0}
