"""The features of `advocacy`: referrals sent by the customer, and trials."""

from __future__ import annotations

from tests.oracle.known import AccountView


class Advocacy:
    """Features of the family; methods are named after their functions."""

    def __init__(self, view: AccountView) -> None:
        self.view = view
        self.referrals, self.trials = view.rows("referrals"), view.rows("trials")

    def count(self, rows, column: str, days: int) -> int:
        return len([row for row in rows if self.view.inside(row[column], days)])

    # --- the features --------------------------------------------------------------------------

    def referrals_made(self, days):
        return self.count(self.referrals, "referred_at", days)

    def referrals_converted(self, days):
        return self.count(self.referrals, "converted_at", days)

    def trials_requested(self, days):
        return self.count(self.trials, "requested_at", days)

    def open_trials(self):
        return self.count([t for t in self.trials if t["finished_at"] is None], "requested_at", 180)

    def trials_finished(self, days):
        return self.count(self.trials, "finished_at", days)
