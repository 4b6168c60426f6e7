"""The features of `usage`, computed from all events for each feature."""

from __future__ import annotations

from collections import Counter, defaultdict

import numpy as np

from tests.oracle.known import AccountView, Row, mean, quantize, share
from tests.oracle.terms import terms

NOBODY = "nobody named"
"""User of events without a user: a machine, or people that the product does not distinguish."""


def quantity(event: Row) -> float:
    """Number of actions that an event counts for."""
    if event["quantity"] == 0:
        return 0.0
    return 1.0 if event["quantity"] is None else max(quantize(event["quantity"]), 1 / 1024)


def matches_any(feature: str, patterns: tuple[str, ...]) -> bool:
    """True if a product feature matches, in any case: `*` is any beginning or ending, `!` excludes."""

    def matches(pattern: str) -> bool:
        name, wanted = feature.lower(), pattern.lower()
        if wanted[0] == "*":
            return name.endswith(wanted[1:])
        return name.startswith(wanted[:-1]) if wanted[-1] == "*" else name == wanted

    wanted = [matches(p) for p in patterns if not p.startswith("!")]
    return any(wanted) and not any(matches(p[1:]) for p in patterns if p.startswith("!"))


class Use:
    """Features of the family; methods are named after their functions."""

    def __init__(self, view: AccountView) -> None:
        self.view, self.rules = view, view.policy.usage
        self.events = [event for event in view.rows("usage_events") if quantity(event) > 0]

    # --- parts of the features -----------------------------------------------------------------

    def within(self, days: int, before: int = 0) -> list[Row]:
        return [e for e in self.events if self.view.inside(e["occurred_at"], days, before)]

    def key(self, events: list[Row]) -> list[Row]:
        return [e for e in events if matches_any(e["feature"], self.rules.north_star)]

    def level(self, event: Row) -> int:
        for depth, name in ((3, "act"), (2, "analyse"), (1, "view")):
            if matches_any(event["feature"], self.rules.levels.get(name, ())):
                return depth
        return 0

    @staticmethod
    def people(events: list[Row]) -> set:
        return {e["user_id"] or NOBODY for e in events}

    @staticmethod
    def person_days(events: list[Row]) -> set:
        return {(e["user_id"] or NOBODY, e["occurred_at"].date()) for e in events}

    @staticmethod
    def count(events: list[Row]) -> float:
        return sum(quantity(e) for e in events)

    @staticmethod
    def change(now: float, earlier: float) -> float | None:
        return share(now - earlier, now + earlier)

    def deepest(self, days: int) -> dict:
        reached: dict = defaultdict(int)
        for event in self.within(days):
            person = event["user_id"] or NOBODY
            reached[person] = max(reached[person], self.level(event))
        return reached

    # --- the features --------------------------------------------------------------------------

    def active_people(self, days):
        return len(self.people(self.key(self.within(days))))

    def people_with_any_use(self, days):
        return len(self.people(self.within(days)))

    def active_days(self, days):
        return len({e["occurred_at"].date() for e in self.key(self.within(days))})

    def key_actions(self, days):
        return self.count(self.key(self.within(days)))

    def key_action_share(self, days):
        return share(self.count(self.key(self.within(days))), self.count(self.within(days)))

    def core_workflow_share(self, days):
        core = [e for e in self.within(days) if matches_any(e["feature"], self.rules.core_workflow)]
        return share(self.count(core), self.count(self.within(days)))

    def features_used(self, days):
        return len({e["feature"] for e in self.within(days)})

    def people_at_act_level(self, days):
        return len([level for level in self.deepest(days).values() if level == 3])

    def usage_depth(self, days):
        return mean([level for level in self.deepest(days).values() if level > 0])

    def session_minutes(self, days):
        seconds = sum(quantize(e["duration_s"] or 0) for e in self.within(days))
        return share(seconds / 60, len(self.person_days(self.within(days)))) if seconds else None

    def use_days_per_user(self, days):
        return share(len(self.person_days(self.within(days))), len(self.people(self.within(days))))

    def seat_activation(self, days):
        seats = [t.row["seats"] for t in terms(self.view) if t.running and t.row["seats"] is not None]
        return share(self.active_people(days), max(seats)) if seats else None

    def active_people_change(self, days):
        before = self.people(self.key(self.within(days, before=days)))
        return self.change(self.active_people(days), len(before))

    def key_actions_change(self, days):
        return self.change(self.key_actions(days), self.count(self.key(self.within(days, before=days))))

    def usage_vs_baseline(self, days):
        return self.change(self.key_actions(days) / days, self.key_actions(365) / 365)

    def days_since_last_use(self):
        return min((self.view.days_ago(e["occurred_at"]) for e in self.within(365)), default=366)

    def active_people_in_year(self):
        return self.active_people(365)

    def lapsed_people_share(self):
        year, recent = (self.people(self.key(self.within(days))) for days in (365, 90))
        return share(len(year - recent), len(year))

    def busiest_person_share(self):
        events = self.key(self.within(90))
        per_person = [self.count([e for e in events if (e["user_id"] or NOBODY) == p]) for p in self.people(events)]
        return share(max(per_person, default=0), self.count(events))

    def usage_depth_change(self):
        now, earlier = (self._mean_depth(before) for before in (0, 90))
        return None if now is None or earlier is None else now - earlier

    def _mean_depth(self, before):
        reached: dict = defaultdict(int)
        for event in self.within(90, before):
            person = event["user_id"] or NOBODY
            reached[person] = max(reached[person], self.level(event))
        return mean([level for level in reached.values() if level > 0])

    # --- month by month ------------------------------------------------------------------------

    def key_days(self, days, before=0):
        return {e["occurred_at"].date() for e in self.key(self.within(days, before))}

    def months(self):
        """Days with a key action in six periods of four weeks, the newest first; None without any use in the year."""
        return [len(self.key_days(28, 28 * k)) for k in range(6)] if self.within(365) else None

    def activity_trend(self):
        months = self.months()
        return months and np.polyfit([-k for k in range(6)], months, 1)[0]

    def activity_variability(self):
        months = self.months()
        return share(float(np.std(months)), float(np.mean(months))) if months else None

    def active_days_year_over_year(self):
        last_year = len(self.key_days(28, 336))
        return self.change(len(self.key_days(28)), last_year) if last_year else None

    def busiest_weekday_share(self):
        days = self.key_days(90)
        return share(max(Counter(day.weekday() for day in days).values(), default=0), len(days))
