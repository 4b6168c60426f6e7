"""The features of `adoption`: who came to the product, and how long after the start."""

from __future__ import annotations

from datetime import date, timedelta

from tests.oracle.known import Then
from tests.oracle.terms import observation, terms
from tests.oracle.use import NOBODY, Use


class Adoption:
    """The features of the family, under their functions' names."""

    def __init__(self, then: Then) -> None:
        self.then = then
        self.start = then.as_of - timedelta(days=observation(then)["account_age"])
        self.firsts = self._firsts(Use(then))

    @staticmethod
    def _firsts(use: Use) -> dict[str, date]:
        """The day of each person's first key action."""
        firsts: dict[str, date] = {}
        for event in use.key(use.events):
            person, day = event["user_id"] or NOBODY, event["occurred_at"].date()
            firsts[person] = min(day, firsts.get(person, day))
        return firsts

    def first_value(self):
        if (self.then.as_of - self.start).days < 30:
            return None
        first_terms = [t for t in terms(self.then) if t.begun and t.row["start_date"].date() == self.start]
        seats = max((t.row["seats"] for t in first_terms if t.row["seats"] is not None), default=None)
        active = [day for day in self.firsts.values() if (day - self.start).days < 30]
        return len(active) / seats if seats else None

    def first_value_missed(self):
        share = self.first_value()
        return None if share is None else int(share < 0.25)

    def days_to_first_use(self):
        after = [(day - self.start).days for day in self.firsts.values()]
        return max(0, min(after, default=366)) if not after or min(after) < 366 else 366

    def new_people(self, days):
        return len([day for day in self.firsts.values() if 1 <= (self.then.as_of - day).days <= days])
