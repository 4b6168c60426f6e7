"""The features of `value`: goals agreed with the customer, and value reports."""

from __future__ import annotations

from tests.oracle.known import AccountView, Row, decay_weight, share


class Value:
    """Features of the family; methods are named after their functions."""

    def __init__(self, view: AccountView) -> None:
        self.view = view
        self.goals = view.rows("value_goals")

    def overdue(self, goal: Row) -> bool:
        return goal["due_at"] is not None and goal["due_at"] < self.view.t

    # --- the features --------------------------------------------------------------------------

    def goals_set(self):
        return len([g for g in self.goals if self.view.inside(g["set_at"], 365)])

    def goals_reached(self, days):
        return len([g for g in self.goals if self.view.inside(g["achieved_at"], days)])

    def goals_reached_decayed(self):
        reached = [g["achieved_at"] for g in self.goals if g["achieved_at"] is not None]
        return sum(decay_weight(self.view.days_ago(instant), 365) for instant in reached)

    def goals_overdue(self):
        late = [g for g in self.goals if self.overdue(g) and g["achieved_at"] is None]
        return len([g for g in late if self.view.inside(g["set_at"], 730)])

    def goals_reached_share(self):
        decided = [g for g in self.goals if self.overdue(g) or g["achieved_at"] is not None]
        return share(len([g for g in decided if g["achieved_at"] is not None]), len(decided))

    def days_since_report_or_review(self):
        shown = [t for t in self.view.rows("touchpoints") if t["kind"] in ("value_report", "review")]
        return min(
            (self.view.days_ago(t["occurred_at"]) for t in shown if self.view.inside(t["occurred_at"], 365)),
            default=366,
        )

    def reports_and_reviews(self):
        shown = [t for t in self.view.rows("touchpoints") if t["kind"] in ("value_report", "review")]
        return len([t for t in shown if self.view.inside(t["occurred_at"], 365)])

    def goals_open(self):
        return len([g for g in self.goals if g["achieved_at"] is None and self.view.inside(g["set_at"], 730)])
