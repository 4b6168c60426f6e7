"""The features of `contact`: contacts with the customer, and their initiators."""

from __future__ import annotations

from tests.oracle.known import AccountView, Row, mean, quantize, share


def is_ours(touch: Row, view: AccountView) -> bool:
    """True if a contact is an action of our staff (M5)."""
    return touch["initiated_by"] != "customer" and touch["kind"] in view.policy.actions.touchpoint_kinds


class Contact:
    """Features of the family; methods are named after their functions."""

    def __init__(self, view: AccountView) -> None:
        self.view = view
        self.all = view.rows("touchpoints")
        self.year = self.within(365)

    def within(self, days: int) -> list[Row]:
        return [t for t in self.all if self.view.inside(t["occurred_at"], days)]

    def ago(self, touches: list[Row]) -> list[int]:
        return [self.view.days_ago(t["occurred_at"]) for t in touches]

    # --- the features --------------------------------------------------------------------------

    def contacts_total(self, days):
        return len(self.within(days))

    def contacts_by(self, kind):
        return len([t for t in self.within(180) if t["kind"] == kind])

    def days_since(self, kind):
        return min(self.ago([t for t in self.year if t["kind"] == kind]), default=366)

    def months_with_contact(self):
        return len({min((days - 1) // 30, 11) for days in self.ago(self.year)})

    def contact_back_loading(self):
        elapsed = self.view.renewal["term_age"]
        return mean([quantize(1 - days / elapsed) for days in self.ago(self.all) if days <= elapsed])

    def customer_initiated_share(self):
        recent = self.within(180)
        return share(len([t for t in recent if t["initiated_by"] == "customer"]), len(recent))

    def days_since_customer_contact(self):
        return min(self.ago([t for t in self.year if not is_ours(t, self.view)]), default=366)

    def customer_contacts_total(self, days):
        return len([t for t in self.within(days) if not is_ours(t, self.view)])
