"""Usage far below the account's own baseline and season (U4)."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from statistics import NormalDist

import ibis
import ibis.expr.types as ir
from ibis import _

from renewals.features.alert import CURRENT_DAYS
from renewals.features.family import KEY
from renewals.features.point_in_time import Calendar, DayRange, day_masks, exclude_periods
from renewals.features.policy import Policy
from renewals.features.usage_windows import days_in_range
from renewals.features.versions import accounts_as_of

BASELINE_DAYS, SEASON_LAG_DAYS = 84, 364
COMPARISON_RANGES = {
    "now": DayRange(0, CURRENT_DAYS),
    "before": DayRange(CURRENT_DAYS, CURRENT_DAYS + BASELINE_DAYS),
    "year_now": DayRange(SEASON_LAG_DAYS, SEASON_LAG_DAYS + CURRENT_DAYS),
    "year_before": DayRange(SEASON_LAG_DAYS + CURRENT_DAYS, SEASON_LAG_DAYS + CURRENT_DAYS + BASELINE_DAYS),
}
"""Four weeks, the twelve weeks before them, and the same a year ago; whole weeks, so that each range has the same
share of weekends."""
PRIOR_PERSON_DAYS = 50.0
"""Weight of the prior of a seasonal ratio, in person-days: a ratio observed on this many counts half."""


def activity(person_days: ir.Table, dates: Iterable[date], policy: Policy) -> ir.Table:
    """Person-days with a north-star action in each of `COMPARISON_RANGES`: one row per (account_id, as_of).

    Quiet periods are left out; the columns `length_*` count the days that remain. Person-days are counted, not
    actions, because one person can make hundreds of actions in an hour.
    """
    calendar, quiet = Calendar(dates, (), COMPARISON_RANGES), policy.alerts.quiet_ranges
    active = exclude_periods(person_days.filter(_.north_star > 0), quiet)
    bits = day_masks(active, ("account_id", "user_id"), calendar, {})
    in_ranges = bits.join(calendar.range_masks(COMPARISON_RANGES), ["bucket", "known_from"]).group_by(*KEY)
    counts = in_ranges.agg(**{name: days_in_range(_.any_day, name) for name in COMPARISON_RANGES})
    return counts.join(calendar.range_lengths(COMPARISON_RANGES, quiet), "as_of")


def usage_drop(activity: ir.Table, accounts: ir.Table, spine: ir.Table, policy: Policy) -> ir.Table:
    """Alert where active person-days fall far below what the account's own pace and season predict (U4).

    The season is the change of other accounts of the region over the same days, corrected by how much the account's
    own change differed from theirs a year ago. The season can excuse a drop and never causes one: an account that does
    not grow with the others has lost nothing. Absolute levels of other accounts are not used. There is no alert where
    quiet periods leave too few days.
    """
    rules = policy.alerts
    rows = _add_expected_share(activity, accounts, spine)
    expected = rows.before * rows.share
    dropped = (rows.now <= (1 - rules.min_usage_drop) * expected) & (expected >= rules.min_expected_person_days)
    enough_days = (rows.length_now * 2 >= CURRENT_DAYS) & (rows.length_before * 2 >= BASELINE_DAYS)
    significant = _poisson_z_score(rows.now, rows.before, rows.share) <= NormalDist().inv_cdf(rules.max_p_value)
    return rows.mutate(expected=expected).filter(dropped & enough_days & significant).select(
        *KEY, started_ago=ibis.literal(CURRENT_DAYS), latest_cause_ago=ibis.null("int64"), count=ibis.null("int64"),
        tier=ibis.null("string"), value="now", expected="expected",
    )  # fmt: skip


def _poisson_z_score(count: ir.NumericValue, before: ir.NumericValue, share: ir.FloatingValue) -> ir.FloatingValue:
    """Distance of a count from `share` of another count, in standard deviations.

    Both are treated as Poisson counts; the square roots of these have equal variance (Huffman 1984).
    """
    expected = ((before + 0.375) * share).sqrt()
    return 2.0 * ((count + 0.375).cast("float64").sqrt() - expected) / (1.0 + share).sqrt()


def _add_expected_share(activity: ir.Table, accounts: ir.Table, spine: ir.Table) -> ir.Table:
    """Add `share`, the expected ratio of `now` to `before`: one row per (account_id, as_of)."""
    regions = accounts_as_of(accounts, spine).select(*KEY, "region")
    rows = activity.join(spine.select(*KEY, "account_age"), KEY)
    rows = rows.left_join(regions, KEY, rname="{name}_placed")
    steady = {year: rows[f"length_{year}now"] / rows[f"length_{year}before"].nullif(0) for year in ("", "year_")}
    rows = rows.mutate(
        pace=rows.before * steady[""],
        year_pace=rows.year_before * steady["year_"],
        steady=steady[""],
        year_steady=steady["year_"],
        settled=rows.account_age >= CURRENT_DAYS + BASELINE_DAYS,
        year_settled=rows.account_age >= SEASON_LAG_DAYS + CURRENT_DAYS + BASELINE_DAYS,
    )
    season, year_season = (_seasonal_ratio(rows, year) for year in ("", "year_"))
    account_ratio = (rows.year_now + PRIOR_PERSON_DAYS * year_season) / (rows.year_pace + PRIOR_PERSON_DAYS)
    account_ratio = account_ratio / year_season
    eased = ibis.least(season * rows.year_settled.ifelse(account_ratio, 1.0), 1.0)
    return rows.mutate(share=rows.steady * eased)


def _seasonal_ratio(rows: ir.Table, prefix: str) -> ir.FloatingValue:
    """Change of other accounts between the two ranges: of the region, shrunk towards all accounts."""
    all_accounts = _peer_ratio(rows, prefix, ["as_of"], ibis.literal(1.0))
    return _peer_ratio(rows, prefix, ["as_of", "region"], all_accounts)


def _peer_ratio(rows: ir.Table, prefix: str, peer_group: list[str], prior: ir.FloatingValue) -> ir.FloatingValue:
    """Ratio of the sums over the other accounts of a group; integers are summed, so that row order has no effect."""
    now, before = (
        _sum_over_peers(rows[f"{prefix}settled"].ifelse(rows[f"{prefix}{name}"], 0), peer_group)
        for name in ("now", "before")
    )
    return (now + PRIOR_PERSON_DAYS * prior) / (before * rows[f"{prefix}steady"] + PRIOR_PERSON_DAYS)


def _sum_over_peers(count: ir.NumericValue, peer_group: list[str]) -> ir.NumericValue:
    """Sum over a group without the account itself."""
    return count.sum().over(group_by=peer_group) - count
