"""The features of `fit`: the account's own row, as known, and how others sold alike had fared."""

from __future__ import annotations

from datetime import timedelta

from tests.oracle.known import Then, mean
from tests.oracle.outcomes import HOW, OUTCOMES
from tests.oracle.terms import Commitment, observation


class Fit:
    """The features of the family, under their functions' names."""

    def __init__(self, then: Then) -> None:
        (self.account,) = then.rows("accounts") or ({},)
        self.others = [o for o in OUTCOMES if o["matured_at"] < then.t and o["account_id"] != then.account_id]
        seen = observation(then)
        begun = then.as_of - timedelta(days=seen["account_age"])
        self.how = {name: self.account.get(name) for name in ("industry", "region", "channel")}
        self.how |= {"size_band": seen["size_band"], "cohort": str(begun.year)}
        self.how["plan"] = Commitment(then).main.row["plan"]

    def industry(self):
        return self.account.get("industry")

    def region(self):
        return self.account.get("region")

    def channel(self):
        return self.account.get("channel")

    def employee_count(self):
        return self.account.get("employee_count")

    def base(self):
        return mean([o["renewed"] for o in self.others])

    def similar_customers_renewal_rate(self, dimension):
        if self.base() is None:
            return None
        own = self.how[dimension]
        alike = [o["renewed"] for o in self.others if own is not None and o[dimension] == own]
        return (sum(alike) + 30 * self.base()) / (len(alike) + 30)

    def similar_customers_lift(self):
        return (
            None
            if self.base() is None
            else mean([self.similar_customers_renewal_rate(name) for name in HOW]) - self.base()
        )

    # In these worlds nobody has a parent: each account is told of alone. `tests/features/families/test_fit.py` has
    # families.

    def related_accounts_lost_renewals(self):
        return 0

    def related_accounts_renewal_rate(self):
        return None
