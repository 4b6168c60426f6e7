"""Customer behaviour in the tables in which our people log their own actions (domain M5).

A table of the data contract marked `logs_actions` changes whenever a manager logs something. A feature that reads it is
an action: it is computed and shown, but no model reads it. The tables built here contain only rows and columns that our
actions cannot change, so the customer's behaviour stays usable as evidence.

customer_touchpoints   contacts initiated by the customer, or of a kind that is no action of ours
                       (not in `actions.touchpoint_kinds`)
survey_outcomes        answers, and surveys unanswered for two weeks; not when we sent them or followed them up
goal_outcomes          goals reached, and goals past their due date; not the fact that we agreed on one
"""

from __future__ import annotations

import ibis
import ibis.expr.types as ir
from ibis import _

from renewals.features.point_in_time import as_of_rows, days_ago
from renewals.features.policy import Policy

NONRESPONSE_DAYS = 14
"""A survey sent more than this many days ago and not answered counts as a non-response of the customer (T3)."""


def customer_touchpoints(touchpoints: ir.Table, policy: Policy) -> ir.Table:
    """Touchpoints that are no action of ours, one row per touchpoint.

    A touchpoint whose initiator is missing counts as ours.
    """
    by_customer = (touchpoints.initiated_by == "customer").fill_null(False)
    return touchpoints.filter(by_customer | touchpoints.kind.notin(policy.actions.touchpoint_kinds))


def survey_outcomes(surveys: ir.Table, spine: ir.Table) -> ir.Table:
    """Surveys answered or without an answer so far, one row per (account_id, as_of, survey), with `answered_ago`.

    A survey without an answer is included from `NONRESPONSE_DAYS` on. `followed_up_at` is null: a follow-up is an
    action of ours.
    """
    known = as_of_rows("surveys", surveys, spine)
    blank = ibis.null(known.followed_up_at.type())
    known = known.mutate(answered_ago=days_ago(known, known.answered_at), followed_up_at=blank)
    return known.filter(_.answered_at.notnull() | (_.days_ago > NONRESPONSE_DAYS))


def goal_outcomes(value_goals: ir.Table, spine: ir.Table) -> ir.Table:
    """Goals reached or due by then, one row per (account_id, as_of, goal), with `due_ago` and `reached_ago`."""
    known = as_of_rows("value_goals", value_goals, spine)
    known = known.mutate(due_ago=days_ago(known, known.due_at), reached_ago=days_ago(known, known.achieved_at))
    return known.filter(_.achieved_at.notnull() | (_.due_ago >= 1))
