"""Find gaps in configured patterns: patterns that match no value, and values that no pattern matches.

Messages quote titles, roles and feature names, but nothing else about a person; texts with an e-mail address are left
out.
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
"""Maximum number of characters quoted of a title, feature or pattern."""
MAX_EXAMPLES = 5
"""Maximum number of titles, features or patterns quoted."""
PERSON_KEY = ["account_id", "user_id"]
MIN_KNOWN_SHARE = 0.01
"""A smaller share of events by known people is an error; if `people` has only contacts, some users are still known."""
WILDCARD = "*"


@dataclass
class Coverage:
    """Findings: `facts` in numbers, `warnings` that ask for a change, and `notes` on what may be intended."""

    facts: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)
    """Notices for readers of the list."""

    def add(self, line: str, needs_action: bool) -> None:
        """Add a message as a warning if it asks for a change, else as a note."""
        (self.warnings if needs_action else self.notes).append(line)


def find_gaps(context: CheckContext, names: Collection[str]) -> Coverage:
    """Find the gaps in the settings for these clean tables."""
    coverage, policy = Coverage(), context.job.settings
    tables = {name: context.clean_table(name) for name in names if name in ("accounts", "people", "usage_events")}
    _find_unknown_managers(tables["accounts"], policy.list.capacity.managers, coverage)
    if "people" in tables:
        _find_people_without_tier(tables["people"], policy, coverage)
    if "usage_events" in tables:
        _find_unclassified_features(tables["usage_events"], policy, coverage)
    if {"people", "usage_events"} <= tables.keys() and count_rows(tables["people"]):
        _find_unknown_users(tables["usage_events"], tables["people"], coverage)
    return coverage


def _find_unknown_managers(accounts: ir.Table, managers: Iterable[str], coverage: Coverage) -> None:
    """Find managers with a configured capacity but no account; reported by position, because a name is personal."""
    existing = {
        normalize_text(name or "") for name in accounts.select("csm").distinct().to_pyarrow()["csm"].to_pylist()
    }
    positions = [position for position, name in enumerate(managers, start=1) if normalize_text(name) not in existing]
    if positions:
        message = (
            f"{len(positions):,} names match no csm in accounts: number {', '.join(map(str, positions[:MAX_EXAMPLES]))}"
        )
        coverage.add(
            f"list.capacity.managers: {message}{' …' if len(positions) > MAX_EXAMPLES else ''}", needs_action=True
        )


# --- people and the patterns of tiers --------------------------------------------------------------


def _find_people_without_tier(people: ir.Table, policy: Policy, coverage: Coverage) -> None:
    """Find people without a tier and patterns without a match; skipped if every person has a tier in the source."""
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
        message = f"people: {missing:,} of {total:,} match no pattern of stakeholders.tiers and have no tier{examples}"
        coverage.add(message, needs_action=2 * missing > total)
    if missing == total:
        coverage.notices.append(Notice("tiers_unknown"))


def _find_unused_patterns(people: ir.Table, policy: Policy, coverage: Coverage) -> None:
    """Find patterns that match no title or role.

    A default pattern is not reported unless no pattern at all matches, because no company has all titles.
    """
    lists = {f"stakeholders.tiers.{tier}": word_patterns(texts) for tier, texts in policy.stakeholders.tiers.items()}
    defaults = {f"stakeholders.tiers.{tier}": texts for tier, texts in Stakeholders().tiers.items()}
    count, unmatched = _unmatched_patterns(lists, map(split_words, chain.from_iterable(distinct_texts(people))))
    item = "title or role"
    if not count:
        return
    if (
        unmatched.keys()
        == {name for name in lists if _count_patterns(lists[name])}
        == set(_lists_without_match(lists, unmatched))
    ):
        coverage.add(f"{_no_match_message(lists, list(unmatched), item)}; the data have {count:,}", needs_action=True)
        return
    for name, patterns in unmatched.items():
        if configured := [text for text in patterns if text not in defaults.get(name, ())]:
            coverage.add(_unmatched_message(name, lists[name], configured, item), needs_action=True)


# --- features and their patterns -------------------------------------------------------------------


def _find_unclassified_features(events: ir.Table, policy: Policy, coverage: Coverage) -> None:
    """Find patterns that match no feature, and features without a level."""
    counts = events.group_by(text="feature").agg(count=_.count())
    features = counts.to_pyarrow()["text"].to_pylist()
    levels = {f"usage.levels.{level}": patterns for level, patterns in policy.usage.levels.items()}
    patterns_by_list = {
        "usage.north_star": policy.usage.north_star,
        "usage.core_workflow": policy.usage.core_workflow,
        **levels,
    }
    lists = {name: name_patterns(patterns) for name, patterns in patterns_by_list.items()}
    count, unmatched = _unmatched_patterns(lists, map(normalize_text, features))
    if empty_lists := _lists_without_match(lists, unmatched):
        most_frequent = _most_frequent(counts, "events")
        message = f"{_no_match_message(lists, empty_lists, 'feature')}; the data have {count:,}: {most_frequent}"
        coverage.add(f"{message}. {_consequence(lists, empty_lists)}", needs_action=True)
        if "usage.north_star" in empty_lists:
            coverage.notices.append(
                Notice("all_use_active" if _has_wildcard(lists["usage.north_star"]) else "no_use_active")
            )
        unmatched = {name: patterns for name, patterns in unmatched.items() if name not in empty_lists}
    for name, patterns in unmatched.items():
        coverage.add(_unmatched_message(name, lists[name], patterns, "feature"), needs_action=True)
    without = [feature for feature in features if not level_of(normalize_text(feature), policy)]
    if len(without) < count:
        _find_features_without_level(counts, without, coverage)


def _find_features_without_level(counts: ir.Table, features: list[str], coverage: Coverage) -> None:
    """Report the features without a level and their share of the events."""
    rows = counts.join(ibis.memtable({"text": features}, schema={"text": "string"}), "text")
    missing, total = (int(t["count"].sum().fill_null(0).to_pyarrow().as_py()) for t in (rows, counts))
    coverage.facts["usage_events"] = {
        "events": total,
        "events_without_level": missing,
        "features_without_level": len(features),
    }
    if features:
        message = f"usage.levels: {len(features):,} features belong to no level, with {missing:,} of {total:,} events"
        coverage.add(f"{message}: {_most_frequent(rows, 'events')}", needs_action=2 * missing > total)


def _consequence(lists: Mapping[str, PatternList], empty_lists: Iterable[str]) -> str:
    """Sentence on the effect of pattern lists without any match, and what to do."""
    effects_of_north_star = "every action counts as active use, including log-ins", "no use counts as active"
    effect_by_list = {
        "usage.north_star": effects_of_north_star[not _has_wildcard(lists["usage.north_star"])],
        "usage.core_workflow": "nothing counts as the core workflow",
    }
    effects = dict.fromkeys(
        effect_by_list.get(name, f"no use counts as {name.removeprefix('usage.levels.')}") for name in empty_lists
    )
    return f"Until this setting names your features, {', '.join(effects)}"


# --- events of unknown users -----------------------------------------------------------------------


def _find_unknown_users(events: ir.Table, people: ir.Table, coverage: Coverage) -> None:
    """Compare the users of the events with `people`; warn if almost no event is by a known person."""
    users = events.filter(_.user_id.notnull()).group_by(PERSON_KEY).agg(count=_.count())
    known = users.semi_join(people, PERSON_KEY)
    total, known_events = (int(t["count"].sum().fill_null(0).to_pyarrow().as_py()) for t in (users, known))
    coverage.facts["users"] = {"events": total, "events_of_people": known_events}
    message = (
        f"usage_events: {known_events:,} of {total:,} events are by a person in people (by account_id and user_id)"
    )
    if known_events < MIN_KNOWN_SHARE * total:
        coverage.add(
            f"{message}, so usage by tier is unknown: write user_id identically in both tables", needs_action=True
        )
        coverage.notices.append(Notice("users_unknown", {"known": known_events, "total": total}))
    elif 2 * known_events < total:
        coverage.add(message, needs_action=False)


# --- patterns that match nothing -----------------------------------------------------------------------


def _unmatched_patterns(lists: Mapping[str, PatternList], texts: Iterable[str]) -> tuple[int, dict[str, list[str]]]:
    """The number of normalized texts, and the patterns of each list that match none of them."""
    unmatched = [(name, pattern) for name, pattern_list in lists.items() for pattern in pattern_list.patterns]
    count = 0
    for text in texts:
        count += 1
        unmatched = [(name, pattern) for name, pattern in unmatched if not pattern.occurs_in(text)]
    by_list: dict[str, list[str]] = defaultdict(list)
    for name, pattern in unmatched:
        by_list[name].append(pattern.text)
    return count, dict(by_list)


def _lists_without_match(lists: Mapping[str, PatternList], unmatched: Mapping[str, list[str]]) -> list[str]:
    """Names of the lists in which no pattern except `*` matches anything."""
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
    """The most frequent texts with their counts, as one line."""
    rows = counts.order_by(ibis.desc("count"), "text").limit(10 * MAX_EXAMPLES).to_pyarrow().to_pylist()
    shown = [row for row in rows if "@" not in row["text"]][:MAX_EXAMPLES]
    if not shown:
        return "none that can be shown (e-mail addresses)"
    return ", ".join(_format_counts(shown, item)) + (", …" if count_rows(counts) > len(shown) else "")


def _format_counts(rows: list[dict[str, Any]], item: str) -> Iterator[str]:
    for place, row in enumerate(rows):
        yield f"{_quote(row['text'])} ({row['count']:,}{f' {item}' if not place else ''})"


def _quote_list(texts: list[str], total: int) -> str:
    return ", ".join(map(_quote, texts)) + (", …" if total > len(texts) else "")


def _quote(text: str) -> str:
    return '"' + truncate(" ".join(make_printable(text).split()), MAX_QUOTE_LENGTH, "…") + '"'
