"""The features of `fit`: the account's own row, as known."""

from __future__ import annotations

from tests.oracle.known import Then


class Fit:
    """The features of the family, under their functions' names."""

    def __init__(self, then: Then) -> None:
        (self.account,) = then.rows("accounts") or ({},)

    def industry(self):
        return self.account.get("industry")

    def region(self):
        return self.account.get("region")

    def channel(self):
        return self.account.get("channel")

    def employees(self):
        return self.account.get("employee_count")
