"""The features of `stakeholders`: who was there, in which tier, and what each of them did."""

from __future__ import annotations

import unicodedata
from datetime import datetime

from tests.oracle.contact import is_ours
from tests.oracle.known import Row, Then, felt, mean, share
from tests.oracle.use import Use

DECIDERS = ("S", "A")


def tier_of(person: Row, then: Then) -> str | None:
    """As given, or by the first tier a word of which stands in the title, or else in the role (S1)."""
    if person["tier"] is not None:
        return person["tier"]
    for text in (person["title"], person["role"]):
        for tier in ("S", "A", "B"):
            words = then.policy.stakeholders.tiers.get(tier, ())
            if text is not None and _meant(text, words):
                return tier
    return None


def _meant(text: str, words: tuple[str, ...]) -> bool:
    wanted = any(_stands_in(word, text) for word in words if word[0] != "!")
    return wanted and not any(_stands_in(word[1:], text) for word in words if word[0] == "!")


def _stands_in(word: str, text: str) -> bool:
    """Whether a word stands somewhere in a text, at each end open, in such a script, or at the end of a word."""
    looked_for, signs = alike(word.strip("*")), f" {alike(text)} "
    opens = word[0] == "*" or _without_spaces(looked_for[0])
    closes = word[-1] == "*" or _without_spaces(looked_for[-1])
    places = [place for place in range(1, len(signs)) if signs.startswith(looked_for, place)]
    return any(
        (opens or _ends_word(signs[place - 1])) and (closes or _ends_word(signs[place + len(looked_for)]))
        for place in places
    )


def alike(text: str) -> str:
    """A text without case and width, and without the marks above and below letters."""
    parts = unicodedata.normalize("NFD", unicodedata.normalize("NFKC", text).casefold())
    return unicodedata.normalize("NFC", "".join(sign for sign in parts if unicodedata.combining(sign) < 200))


def _ends_word(sign: str) -> bool:
    return not sign.isalnum() or _without_spaces(sign)


def _without_spaces(sign: str) -> bool:
    """Thai and its neighbours, Chinese, Japanese and Korean."""
    return any(first <= sign <= last for first, last in ("\u0e00\u0eff", "\u3005\u9fff", "\uac00\ud7a3"))


def people_then(then: Then) -> dict[str, Row]:
    """Each person's newest stretch that had begun, and of its versions the one that arrived last."""
    chosen: dict[str, Row] = {}
    for row in sorted(then.rows("people"), key=_newness):
        chosen[row["user_id"]] = row
    return chosen


def _newness(row: Row) -> tuple:
    long_ago = datetime(1, 1, 1)
    return (row["valid_from"] or long_ago, row["recorded_at"] or row["valid_from"] or long_ago)


class Stakeholders:
    """The features of the family, under their functions' names."""

    def __init__(self, then: Then) -> None:
        self.then = then
        self.use = Use(then)
        self.people = people_then(then)
        self.tier = {user: tier_of(row, then) for user, row in self.people.items()}
        self.touches = [t for t in then.rows("touchpoints") if then.inside(t["occurred_at"], 365)]

    def here(self, user: str) -> bool:
        return self.people[user]["valid_to"] is None

    def of_tier(self, *tiers: str) -> set[str]:
        return {user for user, tier in self.tier.items() if tier in tiers}

    def days_of_use(self, users: set[str], days: int) -> int:
        return len([1 for user, _ in self.use.person_days(self.use.within(days)) if user in users])

    def met(self, users: set[str], days: int) -> list[Row]:
        return [t for t in self.touches if t["user_id"] in users and self.then.inside(t["occurred_at"], days)]

    # --- the features --------------------------------------------------------------------------

    def people_known(self, tier):
        return len([user for user in self.of_tier(tier) if self.here(user)])

    def people_active(self, tier, days):
        return len(self.use.people(self.use.key(self.use.within(days))) & self.of_tier(tier))

    def use_days(self, tier, days):
        return self.days_of_use(self.of_tier(tier), days)

    def use_days_per_person(self, tier, days):
        there = {user for user in self.of_tier(tier) if self.here(user)}
        return share(self.days_of_use(there, days), len(there))

    def share_of_use(self, tier):
        return share(self.days_of_use(self.of_tier(tier), 90), self.days_of_use(set(self.people), 90))

    def tier_usage_vs_baseline(self, tier):
        quick, slow = (self.days_of_use(self.of_tier(tier), days) / days for days in (90, 365))
        return share(quick - slow, quick + slow)

    def days_since_use(self, tier):
        events = [e for e in self.use.within(365) if e["user_id"] in self.of_tier(tier)]
        return min((self.then.days_ago(e["occurred_at"]) for e in events), default=366)

    def days_since_contact(self, tier):
        met = self.met(self.of_tier(tier), 365)
        return min((self.then.days_ago(t["occurred_at"]) for t in met), default=366)

    def contacts(self, tier, days):
        return len(self.met(self.of_tier(tier), days))

    def customer_contacts(self, tier, days):
        return len([t for t in self.met(self.of_tier(tier), days) if not is_ours(t, self.then)])

    def decision_makers_contacted_share(self, days):
        there = [user for user in self.of_tier(*DECIDERS) if self.here(user)]
        return mean([float(bool(self.met({user}, days))) for user in there])

    def people_left(self, tier, days):
        left = [self.people[user]["valid_to"] for user in self.of_tier(tier)]
        return len([instant for instant in left if self.then.inside(instant, days)])

    def departures_decayed(self, tier):
        left = [self.people[user]["valid_to"] for user in self.of_tier(tier)]
        return sum(felt(self.then.days_ago(instant)) for instant in left if instant is not None)

    def sponsors_silent(self):
        silent = self.then.policy.stakeholders.silent_days
        deciders = {user for user in self.of_tier(*DECIDERS) if self.here(user)}
        once, lately = (self.use.people(self.use.within(days)) for days in (365, silent))
        return len(deciders & once - lately)

    def steady_roles(self):
        days: dict[str, set] = {}
        for user, day in self.use.person_days(self.use.key(self.use.within(28))):
            days.setdefault(user, set()).add(day)
        enough = self.then.policy.usage.steady_days
        steady = {user for user in self.people if self.here(user) and len(days.get(user, ())) >= enough}
        return len({alike(self.people[user]["role"] or "").strip() for user in steady} - {""})
