"""The features of `value`: goals agreed with the customer, and value shown."""

from __future__ import annotations

from tests.oracle.known import Row, Then, felt, share


class Value:
    """The features of the family, under their functions' names."""

    def __init__(self, then: Then) -> None:
        self.then = then
        self.goals = then.rows("value_goals")

    def overdue(self, goal: Row) -> bool:
        return goal["due_at"] is not None and goal["due_at"] < self.then.t

    # --- the features --------------------------------------------------------------------------

    def goals_set(self):
        return len([g for g in self.goals if self.then.inside(g["set_at"], 365)])

    def goals_reached(self, days):
        return len([g for g in self.goals if self.then.inside(g["achieved_at"], days)])

    def goals_reached_decayed(self):
        reached = [g["achieved_at"] for g in self.goals if g["achieved_at"] is not None]
        return sum(felt(self.then.days_ago(instant), 365) for instant in reached)

    def goals_overdue(self):
        late = [g for g in self.goals if self.overdue(g) and g["achieved_at"] is None]
        return len([g for g in late if self.then.inside(g["set_at"], 730)])

    def goals_reached_share(self):
        judged = [g for g in self.goals if self.overdue(g) or g["achieved_at"] is not None]
        return share(len([g for g in judged if g["achieved_at"] is not None]), len(judged))

    def days_since_report_or_review(self):
        shown = [t for t in self.then.rows("touchpoints") if t["kind"] in ("value_report", "review")]
        return min(
            (self.then.days_ago(t["occurred_at"]) for t in shown if self.then.inside(t["occurred_at"], 365)),
            default=366,
        )

    def reports_and_reviews(self):
        shown = [t for t in self.then.rows("touchpoints") if t["kind"] in ("value_report", "review")]
        return len([t for t in shown if self.then.inside(t["occurred_at"], 365)])

    def goals_open(self):
        return len([g for g in self.goals if g["achieved_at"] is None and self.then.inside(g["set_at"], 730)])
