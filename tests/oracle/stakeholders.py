"""The features of `stakeholders`: people at the customer by tier, and the use and contacts of each."""

from __future__ import annotations

import unicodedata
from datetime import datetime

from tests.oracle.contact import is_ours
from tests.oracle.known import AccountView, Row, decay_weight, mean, share
from tests.oracle.use import Use

DECIDERS = ("S", "A")


def tier_of(person: Row, view: AccountView) -> str | None:
    """Recorded tier, or the first tier with a pattern that matches the title, or else the role (S1)."""
    if person["tier"] is not None:
        return person["tier"]
    for text in (person["title"], person["role"]):
        for tier in ("S", "A", "B"):
            patterns = view.policy.stakeholders.tiers.get(tier, ())
            if text is not None and _matches(text, patterns):
                return tier
    return None


def _matches(text: str, patterns: tuple[str, ...]) -> bool:
    wanted = any(_occurs_in(pattern, text) for pattern in patterns if pattern[0] != "!")
    return wanted and not any(_occurs_in(pattern[1:], text) for pattern in patterns if pattern[0] == "!")


def _occurs_in(pattern: str, text: str) -> bool:
    """True if a pattern occurs in a text; each end must be a boundary, unless `*` or the script opens it."""
    normalized_pattern, padded_text = normalized(pattern.strip("*")), f" {normalized(text)} "
    opens = pattern[0] == "*" or _has_no_spaces(normalized_pattern[0])
    closes = pattern[-1] == "*" or _has_no_spaces(normalized_pattern[-1])
    positions = [
        position for position in range(1, len(padded_text)) if padded_text.startswith(normalized_pattern, position)
    ]
    return any(
        (opens or _is_boundary(padded_text[position - 1]))
        and (closes or _is_boundary(padded_text[position + len(normalized_pattern)]))
        for position in positions
    )


def normalized(text: str) -> str:
    """Text without case, width, and marks above and below letters."""
    parts = unicodedata.normalize("NFD", unicodedata.normalize("NFKC", text).casefold())
    return unicodedata.normalize(
        "NFC", "".join(character for character in parts if unicodedata.combining(character) < 200)
    )


def _is_boundary(character: str) -> bool:
    return not character.isalnum() or _has_no_spaces(character)


def _has_no_spaces(character: str) -> bool:
    """True for scripts without spaces: Thai and its neighbours, Chinese, Japanese and Korean."""
    return any(first <= character <= last for first, last in ("\u0e00\u0eff", "\u3005\u9fff", "\uac00\ud7a3"))


def people_as_of(view: AccountView) -> dict[str, Row]:
    """By person, the row of the newest period that has started; of its versions the one that arrived last."""
    chosen: dict[str, Row] = {}
    for row in sorted(view.rows("people"), key=_newness):
        chosen[row["user_id"]] = row
    return chosen


def _newness(row: Row) -> tuple:
    long_ago = datetime(1, 1, 1)
    return (row["valid_from"] or long_ago, row["recorded_at"] or row["valid_from"] or long_ago)


class Stakeholders:
    """Features of the family; methods are named after their functions."""

    def __init__(self, view: AccountView) -> None:
        self.view = view
        self.use = Use(view)
        self.people = people_as_of(view)
        self.tier = {user: tier_of(row, view) for user, row in self.people.items()}
        self.touches = [t for t in view.rows("touchpoints") if view.inside(t["occurred_at"], 365)]

    def is_present(self, user: str) -> bool:
        return self.people[user]["valid_to"] is None

    def of_tier(self, *tiers: str) -> set[str]:
        return {user for user, tier in self.tier.items() if tier in tiers}

    def days_of_use(self, users: set[str], days: int) -> int:
        return len([1 for user, _ in self.use.person_days(self.use.within(days)) if user in users])

    def contacts_with(self, users: set[str], days: int) -> list[Row]:
        return [t for t in self.touches if t["user_id"] in users and self.view.inside(t["occurred_at"], days)]

    # --- the features --------------------------------------------------------------------------

    def people_known(self, tier):
        return len([user for user in self.of_tier(tier) if self.is_present(user)])

    def people_active(self, tier, days):
        return len(self.use.people(self.use.key(self.use.within(days))) & self.of_tier(tier))

    def use_days(self, tier, days):
        return self.days_of_use(self.of_tier(tier), days)

    def use_days_per_person(self, tier, days):
        present = {user for user in self.of_tier(tier) if self.is_present(user)}
        return share(self.days_of_use(present, days), len(present))

    def share_of_use(self, tier):
        return share(self.days_of_use(self.of_tier(tier), 90), self.days_of_use(set(self.people), 90))

    def tier_usage_vs_baseline(self, tier):
        quick, slow = (self.days_of_use(self.of_tier(tier), days) / days for days in (90, 365))
        return share(quick - slow, quick + slow)

    def days_since_use(self, tier):
        events = [e for e in self.use.within(365) if e["user_id"] in self.of_tier(tier)]
        return min((self.view.days_ago(e["occurred_at"]) for e in events), default=366)

    def days_since_contact(self, tier):
        touches = self.contacts_with(self.of_tier(tier), 365)
        return min((self.view.days_ago(t["occurred_at"]) for t in touches), default=366)

    def contacts(self, tier, days):
        return len(self.contacts_with(self.of_tier(tier), days))

    def customer_contacts(self, tier, days):
        return len([t for t in self.contacts_with(self.of_tier(tier), days) if not is_ours(t, self.view)])

    def decision_makers_contacted_share(self, days):
        present = [user for user in self.of_tier(*DECIDERS) if self.is_present(user)]
        return mean([float(bool(self.contacts_with({user}, days))) for user in present])

    def people_left(self, tier, days):
        left = [self.people[user]["valid_to"] for user in self.of_tier(tier)]
        return len([instant for instant in left if self.view.inside(instant, days)])

    def departures_decayed(self, tier):
        left = [self.people[user]["valid_to"] for user in self.of_tier(tier)]
        return sum(decay_weight(self.view.days_ago(instant)) for instant in left if instant is not None)

    def sponsors_silent(self):
        silent = self.view.policy.stakeholders.silent_days
        deciders = {user for user in self.of_tier(*DECIDERS) if self.is_present(user)}
        once, recently = (self.use.people(self.use.within(days)) for days in (365, silent))
        return len(deciders & once - recently)

    def steady_roles(self):
        days: dict[str, set] = {}
        for user, day in self.use.person_days(self.use.key(self.use.within(28))):
            days.setdefault(user, set()).add(day)
        enough = self.view.policy.usage.steady_days
        steady = {user for user in self.people if self.is_present(user) and len(days.get(user, ())) >= enough}
        return len({normalized(self.people[user]["role"] or "").strip() for user in steady} - {""})
