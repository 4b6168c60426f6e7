"""The features of `sentiment`: survey answers, and their follow-up."""

from __future__ import annotations

from datetime import timedelta

from tests.oracle.known import AccountView, Row, first, hours, mean, quantize, share
from tests.oracle.stakeholders import people_as_of, tier_of


class Sentiment:
    """Features of the family; methods are named after their functions."""

    def __init__(self, view: AccountView) -> None:
        self.view = view
        self.surveys = view.rows("surveys")
        self.tiers = {user: tier_of(row, view) for user, row in people_as_of(view).items()}

    def scores(self, kind: str, days: int, before: int = 0) -> list[Row]:
        scored = [s for s in self.surveys if s["kind"] == kind and s["score"] is not None]
        return [s for s in scored if self.view.inside(s["answered_at"], days, before)]

    def answered_or_overdue(self) -> list[Row]:
        """Surveys of a year that were answered, or unanswered for more than two weeks."""
        year = [s for s in self.surveys if self.view.inside(first(s, ("sent_at", "answered_at")), 365)]
        waited = [self.view.days_ago(first(s, ("sent_at", "answered_at"))) > 14 for s in year]
        return [s for s, long in zip(year, waited, strict=True) if s["answered_at"] is not None or long]

    def average(self, surveys: list[Row]) -> float | None:
        return mean([quantize(s["score"]) for s in surveys])

    # --- the features --------------------------------------------------------------------------

    def survey_score(self, survey_kind, days):
        return self.average(self.scores(survey_kind, days))

    def nps_of(self, tier):
        return self.average([s for s in self.scores("nps", 365) if self.tiers.get(s["user_id"]) == tier])

    def nps_change(self):
        now, before = self.average(self.scores("nps", 180)), self.average(self.scores("nps", 180, before=180))
        return None if now is None or before is None else now - before

    def survey_response_rate(self):
        surveys = self.answered_or_overdue()
        return share(len([s for s in surveys if s["answered_at"] is not None]), len(surveys))

    def low_scores_without_follow_up(self):
        low = [s for s in self.scores("nps", 365) if s["score"] <= 6]
        low += [s for s in self.scores("csat", 365) if s["score"] <= 2]
        two_weeks_ago = self.view.t - timedelta(days=14)
        return len([s for s in low if s["followed_up_at"] is None and s["answered_at"] < two_weeks_ago])

    def newest(self, *kinds):
        """Answers of the newest day with an answer, within a year."""
        answers = [s for kind in kinds for s in self.scores(kind, 365)]
        days = min((self.view.days_ago(s["answered_at"]) for s in answers), default=None)
        return [s for s in answers if self.view.days_ago(s["answered_at"]) == days]

    def latest_survey_score(self, survey_kind):
        return self.average(self.newest(survey_kind))

    def survey_score_range(self, survey_kind):
        scores = [s["score"] for s in self.scores(survey_kind, 365)]
        return max(scores) - min(scores) if scores else None

    def survey_response_rate_of(self, tier):
        surveys = [s for s in self.answered_or_overdue() if self.tiers.get(s["user_id"]) == tier]
        return share(len([s for s in surveys if s["answered_at"] is not None]), len(surveys))

    def survey_response_days(self):
        year = [s for s in self.surveys if self.view.inside(first(s, ("sent_at", "answered_at")), 365)]
        waited = [hours(s["sent_at"], s["answered_at"]) for s in year]
        return mean([quantize(h / 24) for h in waited if h is not None])

    def days_since_survey_response(self):
        return min((self.view.days_ago(s["answered_at"]) for s in self.newest("nps", "csat")), default=366)
