"""What the customer did, out of the tables in which our people log what they do themselves (domain M5).

A table of the contract marked `actions` moves whenever a manager logs something. A feature that reads it is an action:
it is computed and shown, and no model reads it. The tables made here hold only the rows and columns that no action of
ours can move, so that what the customer did stays evidence.

customer_touchpoints   contacts that the customer began, or of a kind that is no action of ours
                       (`actions.touchpoint_kinds`)
survey_outcomes        answers, and surveys left without one for two weeks; not when we sent them or followed them up
goal_outcomes          goals reached, and goals whose date has passed; not that we agreed on one
"""

from __future__ import annotations

import ibis
import ibis.expr.types as ir
from ibis import _

from renewals.features.point_in_time import as_of_rows, days_ago
from renewals.features.policy import Policy

NONRESPONSE_DAYS = 14
"""A survey sent more than so many days ago and not answered is a silence of the customer (T3)."""


def customer_touchpoints(touchpoints: ir.Table, policy: Policy) -> ir.Table:
    """The touchpoints that are no action of ours, one row per touchpoint; who began one is not known: we did."""
    by_customer = (touchpoints.initiated_by == "customer").fill_null(False)
    return touchpoints.filter(by_customer | touchpoints.kind.notin(policy.actions.touchpoint_kinds))


def survey_outcomes(surveys: ir.Table, spine: ir.Table) -> ir.Table:
    """One row per (account_id, as_of, survey answered or left without an answer by then), with `answered_ago`.

    `followed_up_at` is blank: whether somebody acted on an answer is our doing.
    """
    known = as_of_rows("surveys", surveys, spine)
    blank = ibis.null(known.followed_up_at.type())
    known = known.mutate(answered_ago=days_ago(known, known.answered_at), followed_up_at=blank)
    return known.filter(_.answered_at.notnull() | (_.days_ago > NONRESPONSE_DAYS))


def goal_outcomes(value_goals: ir.Table, spine: ir.Table) -> ir.Table:
    """One row per (account_id, as_of, goal reached or due by then), with the days since either."""
    known = as_of_rows("value_goals", value_goals, spine)
    known = known.mutate(due_ago=days_ago(known, known.due_at), reached_ago=days_ago(known, known.achieved_at))
    return known.filter(_.achieved_at.notnull() | (_.due_ago >= 1))
