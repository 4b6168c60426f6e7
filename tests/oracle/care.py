"""The features of `care`: what was done for the account."""

from __future__ import annotations

from tests.oracle.known import Then, felt


class Care:
    """The features of the family, under their functions' names."""

    def __init__(self, then: Then) -> None:
        self.then = then
        self.begun = [row for row in then.rows("interventions") if then.inside(row["started_at"], 730)]

    # --- the features --------------------------------------------------------------------------

    def playbooks_started(self, days):
        return len([row for row in self.begun if self.then.inside(row["started_at"], days)])

    def playbooks_decayed(self):
        return sum(felt(self.then.days_ago(row["started_at"])) for row in self.begun)
