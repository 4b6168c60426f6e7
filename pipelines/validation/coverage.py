"""What configured words and patterns leave out: those that match nothing, and what none of them matches.

Titles, roles and names of features are quoted and nothing else of a person; an e-mail address in their place is not.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import ibis
import ibis.expr.types as ir
from ibis import _

from renewals.features.patterns import PatternList, name_patterns, normalize_text, split_words, word_patterns
from renewals.features.policy import Policy, Stakeholders
from renewals.features.usage_windows import level_of
from renewals.pipelines.storage.notices import Notice
from renewals.pipelines.validation.context import CheckContext, count_rows
from renewals.pipelines.validation.grading import distinct_texts
from renewals.reports.sanitize import make_printable, truncate

MAX_QUOTE_LENGTH = 60
"""Characters of a title, a feature or a pattern that are quoted."""
MAX_EXAMPLES = 5
"""Of several titles, features or patterns so many are quoted."""
PERSON_KEY = ["account_id", "user_id"]
MIN_KNOWN_SHARE = 0.01
"""A smaller share of events by known people is a fault: who keeps contacts alone in `people` still knows some users."""
WILDCARD = "*"


@dataclass
class Coverage:
    """What was found: `facts` in numbers, `warnings` that ask for a change, and `notes` of what may be as it should."""

    facts: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)
    """What a reader of the list must know of it."""

    def add(self, line: str, needs_action: bool) -> None:
        """Add a line: a warning if it asks for a change, else a note."""
        (self.warnings if needs_action else self.notes).append(line)


def find_gaps(context: CheckContext, names: Collection[str]) -> Coverage:
    """What the settings leave out of the clean tables of these names."""
    found, policy = Coverage(), context.job.settings
    tables = {name: context.clean_table(name) for name in names if name in ("accounts", "people", "usage_events")}
    _find_unknown_managers(tables["accounts"], policy.list.capacity.managers, found)
    if "people" in tables:
        _find_people_without_tier(tables["people"], policy, found)
    if "usage_events" in tables:
        _find_unclassified_features(tables["usage_events"], policy, found)
    if {"people", "usage_events"} <= tables.keys() and count_rows(tables["people"]):
        _find_unknown_users(tables["usage_events"], tables["people"], found)
    return found


def _find_unknown_managers(accounts: ir.Table, managers: Iterable[str], coverage: Coverage) -> None:
    """Managers with a capacity of their own who manage no account; by their place, for a name is personal."""
    there = {normalize_text(name or "") for name in accounts.select("csm").distinct().to_pyarrow()["csm"].to_pylist()}
    places = [place for place, name in enumerate(managers, start=1) if normalize_text(name) not in there]
    if places:
        words = f"{len(places):,} names match no csm of accounts: number {', '.join(map(str, places[:MAX_EXAMPLES]))}"
        coverage.add(f"list.capacity.managers: {words}{' …' if len(places) > MAX_EXAMPLES else ''}", needs_action=True)


# --- people and the words of tiers -----------------------------------------------------------------


def _find_people_without_tier(people: ir.Table, policy: Policy, coverage: Coverage) -> None:
    """People without a tier, and words that match no title and no role; nothing where every tier was given."""
    persons = people.group_by(PERSON_KEY).agg(
        given=_.tier.max(), effective_tier=_.effective_tier.max(), text=ibis.coalesce(_.title, _.role).max()
    )
    if not count_rows(persons.filter(_.given.isnull())):
        return
    _find_unused_patterns(people, policy, coverage)
    total, without = count_rows(persons), persons.filter(_.effective_tier.isnull())
    titles = without.filter(_.text.notnull()).group_by("text").agg(count=_.count())
    missing, different = count_rows(without), count_rows(titles)
    coverage.facts["people"] = {"people": total, "without_tier": missing, "titles_without_tier": different}
    if missing:
        examples = (
            f"; most frequent of {different:,} titles or roles: {_most_frequent(titles, 'people')}" if different else ""
        )
        words = f"people: {missing:,} of {total:,} match no word of stakeholders.tiers and have no tier{examples}"
        coverage.add(words, needs_action=2 * missing > total)
    if missing == total:
        coverage.notices.append(Notice("tiers_unknown"))


def _find_unused_patterns(people: ir.Table, policy: Policy, coverage: Coverage) -> None:
    """Of the words that come with the program none is called useless, unless all are: no company has all titles."""
    lists = {f"stakeholders.tiers.{tier}": word_patterns(words) for tier, words in policy.stakeholders.tiers.items()}
    shipped = {f"stakeholders.tiers.{tier}": words for tier, words in Stakeholders().tiers.items()}
    count, left = _unmatched_patterns(lists, map(split_words, chain.from_iterable(distinct_texts(people))))
    what = "title or role"
    if not count:
        return
    if (
        left.keys()
        == {name for name in lists if _count_patterns(lists[name])}
        == set(_lists_without_match(lists, left))
    ):
        coverage.add(f"{_no_match_message(lists, list(left), what)}; {count:,} were met", needs_action=True)
        return
    for name, patterns in left.items():
        if own := [text for text in patterns if text not in shipped.get(name, ())]:
            coverage.add(_unmatched_message(name, lists[name], own, what), needs_action=True)


# --- features and their patterns -------------------------------------------------------------------


def _find_unclassified_features(events: ir.Table, policy: Policy, coverage: Coverage) -> None:
    """Patterns that match no feature, and features of no level."""
    counts = events.group_by(text="feature").agg(count=_.count())
    features = counts.to_pyarrow()["text"].to_pylist()
    levels = {f"usage.levels.{level}": patterns for level, patterns in policy.usage.levels.items()}
    named = {"usage.north_star": policy.usage.north_star, "usage.core_workflow": policy.usage.core_workflow, **levels}
    lists = {name: name_patterns(patterns) for name, patterns in named.items()}
    count, left = _unmatched_patterns(lists, map(normalize_text, features))
    if dead := _lists_without_match(lists, left):
        words = f"{_no_match_message(lists, dead, 'feature')}; {count:,} were met: {_most_frequent(counts, 'events')}"
        coverage.add(f"{words}. {_consequence(lists, dead)}", needs_action=True)
        if "usage.north_star" in dead:
            coverage.notices.append(
                Notice("all_use_active" if _has_wildcard(lists["usage.north_star"]) else "no_use_active")
            )
        left = {name: patterns for name, patterns in left.items() if name not in dead}
    for name, patterns in left.items():
        coverage.add(_unmatched_message(name, lists[name], patterns, "feature"), needs_action=True)
    without = [feature for feature in features if not level_of(normalize_text(feature), policy)]
    if len(without) < count:
        _find_features_without_level(counts, without, coverage)


def _find_features_without_level(counts: ir.Table, features: list[str], coverage: Coverage) -> None:
    """Features that no level names, and their share of the events."""
    rows = counts.join(ibis.memtable({"text": features}, schema={"text": "string"}), "text")
    missing, total = (int(t["count"].sum().fill_null(0).to_pyarrow().as_py()) for t in (rows, counts))
    coverage.facts["usage_events"] = {
        "events": total,
        "events_without_level": missing,
        "features_without_level": len(features),
    }
    if features:
        words = f"usage.levels: {len(features):,} features belong to no level, with {missing:,} of {total:,} events"
        coverage.add(f"{words}: {_most_frequent(rows, 'events')}", needs_action=2 * missing > total)


def _consequence(lists: Mapping[str, PatternList], empty_lists: Iterable[str]) -> str:
    """What follows where nothing matches, and what to do."""
    active = "every action counts as active use, log-ins too", "no use counts as active"
    said = {
        "usage.north_star": active[not _has_wildcard(lists["usage.north_star"])],
        "usage.core_workflow": "nothing counts as the core workflow",
    }
    effects = dict.fromkeys(
        said.get(name, f"no use counts as {name.removeprefix('usage.levels.')}") for name in empty_lists
    )
    return f"Until you name your own features there, {', '.join(effects)}"


# --- events of people who are not known --------------------------------------------------------------


def _find_unknown_users(events: ir.Table, people: ir.Table, coverage: Coverage) -> None:
    """How many of the events that name a user are by somebody in `people`."""
    users = events.filter(_.user_id.notnull()).group_by(PERSON_KEY).agg(count=_.count())
    known = users.semi_join(people, PERSON_KEY)
    total, there = (int(t["count"].sum().fill_null(0).to_pyarrow().as_py()) for t in (users, known))
    coverage.facts["users"] = {"events": total, "events_of_people": there}
    words = f"usage_events: {there:,} of {total:,} events are by a person in people (by account_id and user_id)"
    if there < MIN_KNOWN_SHARE * total:
        coverage.add(
            f"{words}, so use by tier is not known: write user_id alike in both, letter by letter", needs_action=True
        )
        coverage.notices.append(Notice("users_unknown", {"known": there, "total": total}))
    elif 2 * there < total:
        coverage.add(words, needs_action=False)


# --- patterns that match nothing -----------------------------------------------------------------------


def _unmatched_patterns(lists: Mapping[str, PatternList], texts: Iterable[str]) -> tuple[int, dict[str, list[str]]]:
    """How many normalized texts there are, and the patterns of each list that match none of them."""
    left = [(name, pattern) for name, own in lists.items() for pattern in own.patterns]
    count = 0
    for text in texts:
        count += 1
        left = [(name, pattern) for name, pattern in left if not pattern.occurs_in(text)]
    by_list: dict[str, list[str]] = defaultdict(list)
    for name, pattern in left:
        by_list[name].append(pattern.text)
    return count, dict(by_list)


def _lists_without_match(lists: Mapping[str, PatternList], unmatched: Mapping[str, list[str]]) -> list[str]:
    """The lists of which no pattern matches anything, `*` apart."""
    return [name for name, patterns in unmatched.items() if len(patterns) == _count_patterns(lists[name])]


def _count_patterns(patterns: PatternList) -> int:
    return sum(pattern.text != WILDCARD for pattern in patterns.patterns)


def _has_wildcard(patterns: PatternList) -> bool:
    return any(pattern.text == WILDCARD for pattern in patterns.patterns)


def _no_match_message(lists: Mapping[str, PatternList], empty_lists: list[str], item: str) -> str:
    count = sum(_count_patterns(lists[name]) for name in empty_lists)
    return f"{', '.join(empty_lists)}: none of the {count:,} patterns matches a {item}"


def _unmatched_message(name: str, patterns: PatternList, unmatched: list[str], item: str) -> str:
    quoted = _quote_list(unmatched[:MAX_EXAMPLES], len(unmatched))
    return f"{name}: {len(unmatched):,} of {_count_patterns(patterns):,} patterns match no {item}: {quoted}"


def _most_frequent(counts: ir.Table, item: str) -> str:
    """The most frequent texts with their counts, as a line of words."""
    rows = counts.order_by(ibis.desc("count"), "text").limit(10 * MAX_EXAMPLES).to_pyarrow().to_pylist()
    shown = [row for row in rows if "@" not in row["text"]][:MAX_EXAMPLES]
    if not shown:
        return "none that may be shown"
    return ", ".join(_format_counts(shown, item)) + (", …" if count_rows(counts) > len(shown) else "")


def _format_counts(rows: list[dict[str, Any]], item: str) -> Iterator[str]:
    for place, row in enumerate(rows):
        yield f"{_quote(row['text'])} ({row['count']:,}{f' {item}' if not place else ''})"


def _quote_list(texts: list[str], total: int) -> str:
    return ", ".join(map(_quote, texts)) + (", …" if total > len(texts) else "")


def _quote(text: str) -> str:
    return '"' + truncate(" ".join(make_printable(text).split()), MAX_QUOTE_LENGTH, "…") + '"'
