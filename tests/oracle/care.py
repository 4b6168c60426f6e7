"""The features of `care`: playbooks started for the account."""

from __future__ import annotations

from tests.oracle.known import AccountView, decay_weight


class Care:
    """Features of the family; methods are named after their functions."""

    def __init__(self, view: AccountView) -> None:
        self.view = view
        self.started = [row for row in view.rows("interventions") if view.inside(row["started_at"], 730)]

    # --- the features --------------------------------------------------------------------------

    def playbooks_started(self, days):
        return len([row for row in self.started if self.view.inside(row["started_at"], days)])

    def playbooks_decayed(self):
        return sum(decay_weight(self.view.days_ago(row["started_at"])) for row in self.started)
