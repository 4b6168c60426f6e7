"""The features of `fit`: the account's row as known, and earlier outcomes of similar customers."""

from __future__ import annotations

from datetime import timedelta

from tests.oracle.known import AccountView, mean
from tests.oracle.outcomes import DIMENSIONS, OUTCOMES
from tests.oracle.terms import Commitment, observation


class Fit:
    """Features of the family; methods are named after their functions."""

    def __init__(self, view: AccountView) -> None:
        (account,) = view.rows("accounts") or ({},)
        self.account = account if account.get("deleted_at") is None else {}
        self.final_outcomes = [o for o in OUTCOMES if o["matured_at"] < view.t and o["account_id"] != view.account_id]
        seen = observation(view)
        start = view.as_of - timedelta(days=seen["account_age"])
        self.dimensions = {name: self.account.get(name) for name in ("industry", "region", "channel")}
        self.dimensions |= {"size_band": seen["size_band"], "cohort": str(start.year)}
        self.dimensions["plan"] = Commitment(view, seen).main.row["plan"]

    def industry(self):
        return self.account.get("industry")

    def region(self):
        return self.account.get("region")

    def channel(self):
        return self.account.get("channel")

    def employee_count(self):
        return self.account.get("employee_count")

    def base(self):
        return mean([o["renewed"] for o in self.final_outcomes])

    def similar_customers_renewal_rate(self, dimension):
        if self.base() is None:
            return None
        value = self.dimensions[dimension]
        outcomes = [o["renewed"] for o in self.final_outcomes if value is not None and o[dimension] == value]
        return (sum(outcomes) + 30 * self.base()) / (len(outcomes) + 30)

    def similar_customers_lift(self):
        return (
            None
            if self.base() is None
            else mean([self.similar_customers_renewal_rate(name) for name in DIMENSIONS]) - self.base()
        )

    # These worlds have no parent accounts, so that each account can be computed alone; test_fit.py tests parents.

    def related_accounts_lost_renewals(self):
        return 0

    def related_accounts_renewal_rate(self):
        return None
