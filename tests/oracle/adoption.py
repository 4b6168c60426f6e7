"""The features of `adoption`: new users of the product and the days from the start to their first use."""

from __future__ import annotations

from datetime import date, timedelta

from tests.oracle.known import AccountView, share
from tests.oracle.stakeholders import people_as_of, tier_of
from tests.oracle.terms import observation, terms
from tests.oracle.use import NOBODY, Use


class Adoption:
    """Features of the family; methods are named after their functions."""

    def __init__(self, view: AccountView) -> None:
        self.view = view
        self.start = view.as_of - timedelta(days=observation(view)["account_age"])
        use = Use(view)
        self.firsts = self._firsts(use)
        self.recent = use.people(use.key(use.within(90)))

    @staticmethod
    def _firsts(use: Use) -> dict[str, date]:
        """The day of each person's first key action."""
        firsts: dict[str, date] = {}
        for event in use.key(use.events):
            person, day = event["user_id"] or NOBODY, event["occurred_at"].date()
            firsts[person] = min(day, firsts.get(person, day))
        return firsts

    def seat_activation_by_day_30(self):
        return self.activated(30)

    def seat_activation_by_day_60(self):
        return self.activated(60)

    def core_users(self):
        return len(self.core())

    def core_users_active_share(self):
        return share(len(self.core() & self.recent), len(self.core()))

    def core(self):
        early = {user for user, day in self.firsts.items() if (day - self.start).days < 60}
        return {user for user, row in people_as_of(self.view).items() if tier_of(row, self.view) in ("A", "B")} & early

    def activated(self, by):
        if (self.view.as_of - self.start).days < by:
            return None
        first_terms = [t for t in terms(self.view) if t.started and t.row["start_date"].date() == self.start]
        seats = max((t.row["seats"] for t in first_terms if t.row["seats"] is not None), default=None)
        active = [day for day in self.firsts.values() if (day - self.start).days < by]
        return len(active) / seats if seats else None

    def first_value_missed(self):
        activated = self.seat_activation_by_day_30()
        return None if activated is None else int(activated < 0.25)

    def first_value_missed_in_first_term(self):
        missed, seen = self.first_value_missed(), observation(self.view)
        return None if missed is None else int(missed and seen["term_age"] >= seen["account_age"])

    def early_user_share(self):
        return self.share_within_30_days(self.firsts.values())

    def early_joiner_share(self):
        joined: dict[str, date] = {}
        for row in self.view.rows("people"):
            if row["valid_from"] is not None:
                day = row["valid_from"].date()
                joined[row["user_id"]] = min(day, joined.get(row["user_id"], day))
        return self.share_within_30_days(joined.values())

    def share_within_30_days(self, days):
        """Of days within 180 days of the start, the share within 30; None in onboarding and after the first term."""
        seen = observation(self.view)
        if seen["account_age"] < 60 or seen["term_age"] < seen["account_age"]:
            return None
        after = [(day - self.start).days for day in days]
        return share(len([a for a in after if a < 30]), len([a for a in after if a < 180]))

    def days_to_first_use(self):
        after = [(day - self.start).days for day in self.firsts.values()]
        return max(0, min(after, default=366)) if not after or min(after) < 366 else 366

    def newly_active_people(self, days):
        return len([day for day in self.firsts.values() if 1 <= (self.view.as_of - day).days <= days])
