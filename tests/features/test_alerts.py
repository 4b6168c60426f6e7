"""Alerts on 2026-03-01, and which of them are new; quiet has no activity at all."""

from __future__ import annotations

from datetime import date, timedelta
from itertools import chain
from typing import Any

import ibis
import pytest

from renewals.features import alert_registry as rules
from renewals.features.policy import Policy
from tests.oracle.drawn import AS_OF, POLICY, RUNNING, drawn_rows
from tests.oracle.worlds import Row, alert_engine, world

DAYS = {"now": range(1, 29), "before": range(29, 113), "year_now": range(365, 393), "year_before": range(393, 477)}
"""Periods, in days before the as-of date."""
SETTLED = """
    account_id | contract_id | start_date | end_date   | arr   | seats
    acme       | acme-1      | 2024-06-01 | 2026-06-01 | 12000 | 10
    other      | other-1     | 2024-06-01 | 2026-06-01 | 12000 | 10
"""


def alerts_of(code: str, policy: Policy = POLICY, without: tuple[str, ...] = (), **tables: Any) -> dict[str, Row]:
    """Alerts of one rule by account; a table is drawn text or rows."""
    texts = {"contracts": RUNNING, **tables}
    rows = {name: drawn_rows(name, table) if isinstance(table, str) else table for name, table in texts.items()}
    alerts = alert_engine((AS_OF,), policy, without).alerts(world(**rows), policy)
    return {row["account_id"]: row for row in alerts if row["code"] == code}


def with_rules(**changed: Any) -> Policy:
    """The policy with some alert rules replaced."""
    return POLICY.model_copy(update={"alerts": POLICY.alerts.model_validate(changed)})


def use(account: str = "acme", **counts: int) -> list[Row]:
    """So many active person-days in each period, spread over its days by a dozen people."""
    return [
        {"account_id": account, "user_id": f"u{number // len(days)}", "feature": "send",
         "occurred_at": AS_OF - timedelta(days=days[number % len(days)])}
        for name, count in counts.items()
        for days in (DAYS[name],)
        for number in range(count)
    ]  # fmt: skip


def drop(events: list[Row], policy: Policy = POLICY, **tables: Any) -> dict[str, Row]:
    return alerts_of("usage_drop", policy, usage_events=events, **{"contracts": SETTLED, **tables})


# --- use ----------------------------------------------------------------------------------------


def test_half_of_the_expected_use_is_a_drop_and_slightly_more_is_not():
    """180 person-days in twelve weeks give an expectation of 60 in four weeks."""
    assert drop(use(before=180, now=31)) == {}
    acme = drop(use(before=180, now=30))["acme"]
    assert (acme["value"], acme["expected"]) == (30, pytest.approx(60))
    assert (acme["started_on"], acme["latest_cause_on"], acme["count"], acme["tier"]) == (
        date(2026, 2, 1),
        None,
        None,
        None,
    )


def test_the_share_of_a_drop_is_configured():
    assert drop(use(before=180, now=35)) == {}
    assert set(drop(use(before=180, now=35), with_rules(min_usage_drop=0.4))) == {"acme"}


def test_a_drop_by_chance_is_no_alert():
    """5 of 12 in four weeks: two of a hundred such accounts have this by chance."""
    assert drop(use(before=36, now=5)) == {}
    assert set(drop(use(before=36, now=5), with_rules(max_p_value=0.05))) == {"acme"}


def test_a_tiny_account_has_no_usage_drop():
    assert drop(use(before=27, now=0)) == {}
    assert set(drop(use(before=27, now=0), with_rules(min_expected_person_days=9))) == {"acme"}


def test_person_days_count_and_not_actions_per_day():
    """Thousands of actions on one day must not hide the use of the remaining days."""
    busy = [row | {"quantity": 1e6} if row["user_id"] == "u0" else row for row in use(before=180, now=60)]
    assert drop(busy) == {}
    looks = [row | {"feature": "look"} for row in use(now=60)]
    assert set(drop(use(before=180) + looks)) == {"acme"}, "a look is not a key action"


def test_a_drop_of_all_accounts_is_seasonal():
    """The `other` account, ten times as large, halved its use too, so half is expected."""
    both = use(before=180, now=30) + use("other", before=1800, now=300)
    assert drop(both) == {}
    assert drop(use(before=180, now=30) + use("other", before=1800, now=600))["acme"]["expected"] == pytest.approx(60)


def test_the_level_of_the_remaining_accounts_does_not_matter():
    """The `other` account has a tenth of the use and is stable."""
    assert set(drop(use(before=180, now=20) + use("other", before=18, now=6))) == {"acme"}


def test_the_season_is_that_of_the_region_if_it_has_enough_data():
    accounts = """
        account_id | region
        acme       | north
        other      | south
    """
    both = use(before=180, now=25) + use("other", before=18000, now=3000)
    same = accounts.replace("south", "north")
    assert drop(both, accounts=same) == {}
    separate = drop(both, accounts=accounts)
    assert separate == {}, "alone in its region, the expectation uses all accounts"
    neighbours = accounts.rstrip() + "\n        third | north"
    third = SETTLED.rstrip() + "\n    third | third-1 | 2024-06-01 | 2026-06-01 | 12000 | 10"
    steady = both + use("third", before=1800, now=600)
    assert set(drop(steady, contracts=third, accounts=neighbours)) == {"acme"}


def test_the_season_of_the_account_a_year_ago_is_expected_again():
    """The account paused in the same weeks a year ago while `other` did not, so a pause is expected again."""
    last_year = use(year_before=1800, year_now=100) + use("other", year_before=1800, year_now=600)
    now = use(before=180, now=15) + use("other", before=1800, now=600)
    assert set(drop(now)) == {"acme"}
    assert drop(now + last_year) == {}


def test_a_season_before_the_account_was_a_customer_does_not_count():
    """Bought in between: its use a year ago was its start."""
    late = SETTLED.replace("acme-1      | 2024-06-01", "acme-1      | 2025-01-15")
    last_year = use(year_before=1800, year_now=100) + use("other", year_before=1800, year_now=600)
    now = use(before=180, now=15) + use("other", before=1800, now=600)
    assert set(drop(now + last_year, contracts=late)) == {"acme"}


def test_missing_growth_is_not_a_drop():
    assert drop(use(before=180, now=60) + use("other", before=1800, now=2400)) == {}
    last_year = use(year_before=1800, year_now=2400) + use("other", year_before=1800, year_now=600)
    assert drop(last_year + use(before=180, now=60) + use("other", before=1800, now=600)) == {}


def test_growth_of_a_new_account_does_not_hide_a_season():
    """Two accounts halved their use, which is the season; a third, ten weeks old, grew by as much."""
    young = SETTLED.rstrip() + "\n    young | young-1 | 2025-12-20 | 2026-06-01 | 12000 | 10"
    two = use(before=180, now=30) + use("other", before=1800, now=300)
    assert drop(two + use("young", before=10, now=900), contracts=young) == {}
    old = young.replace("2025-12-20", "2024-06-01")
    assert "acme" in drop(two + use("young", before=10, now=900), contracts=old)


def rest(first: str, last: str) -> Policy:
    return with_rules(quiet_periods=[{"first": first, "last": last}])


def test_a_drop_in_a_quiet_period_is_no_alert():
    """Use of February 1st to 13th is missing because of holidays; the other days are as busy as before."""
    resting = [row for row in use(before=180, now=60) if not "2026-02-01" <= str(row["occurred_at"]) <= "2026-02-14"]
    assert set(drop(resting, with_rules(min_usage_drop=0.4))) == {"acme"}
    policy = rest("2026-02-01", "2026-02-14").alerts.model_copy(update={"min_usage_drop": 0.4})
    assert drop(resting, POLICY.model_copy(update={"alerts": policy})) == {}


def test_a_quiet_period_does_not_hide_a_drop_on_the_remaining_days():
    assert drop(use(before=180, now=16), rest("2026-02-01", "2026-02-14"))["acme"]["expected"] == pytest.approx(30)


def test_no_alert_if_less_than_half_of_the_days_remain():
    assert set(drop(use(before=180), rest("2026-02-01", "2026-02-14"))) == {"acme"}
    assert drop(use(before=180), rest("2026-02-01", "2026-02-15")) == {}


# --- sponsors -----------------------------------------------------------------------------------

LEAVERS = """
    account_id | user_id | tier | valid_from | valid_to   | recorded_at
    acme       | sue     | S    | 2025-01-01 |            | 2025-01-01
    acme       | al      | A    | 2025-01-01 | 2026-02-10 | 2025-01-01
    acme       | bea     | B    | 2025-01-01 | 2026-02-20 | 2025-01-01
    acme       | old     | S    | 2025-01-01 | 2025-12-30 | 2025-01-01
    acme       | eve     | S    | 2025-01-01 |            | 2025-01-01
    acme       | eve     | S    | 2025-01-01 | 2025-11-01 | 2026-02-25
    acme       | due     | S    | 2025-01-01 | 2026-03-01 | 2025-01-01
    quiet      | bob     | B    | 2025-01-01 | 2026-02-20 | 2025-01-01
"""


def test_a_sponsor_who_left_is_lost():
    """Al left; Eve's departure in November was recorded on 25 February. `old` left 61 days ago, `due` leaves today."""
    lost = alerts_of("sponsor_lost", people=LEAVERS)
    assert set(lost) == {"acme"}
    acme = lost["acme"]
    assert (acme["count"], acme["tier"]) == (2, "S")
    assert (acme["started_on"], acme["latest_cause_on"]) == (date(2025, 11, 1), date(2026, 2, 25))


def test_a_lost_sponsor_is_reported_for_the_configured_days():
    assert alerts_of("sponsor_lost", with_rules(expire_days=61), people=LEAVERS)["acme"]["count"] == 3


SPONSORS = """
    account_id | user_id | tier | valid_from | valid_to
    acme       | sue     | S    | 2025-01-01 |
    acme       | bea     | B    | 2025-01-01 |
    acme       | gone    | A    | 2025-01-01 | 2026-01-20
    quiet      | sam     | A    | 2025-01-01 |
"""


def visits(user: str, last: int, count: int, account: str = "acme") -> list[Row]:
    """Visits on consecutive days: how many, and how many days ago the last one was."""
    day = {"account_id": account, "user_id": user, "feature": "look"}
    return [day | {"occurred_at": AS_OF - timedelta(days=last + number)} for number in range(count)]


def silent(*events: list[Row], policy: Policy = POLICY, **tables: Any) -> dict[str, Row]:
    return alerts_of("sponsor_silent", policy, people=SPONSORS, usage_events=[*chain(*events)], **tables)


def test_a_sponsor_is_silent_when_frequent_visits_stop():
    """Sue visited on 30 of 212 days until 61 days ago: eight or nine visits are missing."""
    acme = silent(visits("sue", 61, 30))["acme"]
    assert (acme["count"], acme["tier"], acme["value"]) == (1, "S", 61)
    assert (acme["started_on"], acme["latest_cause_on"]) == (date(2025, 12, 30), date(2026, 2, 28))
    assert silent(visits("sue", 60, 30)) == {}


def test_staff_and_those_who_left_are_not_silent():
    assert silent(visits("bea", 61, 30), visits("gone", 61, 30)) == {}


def test_a_rare_visitor_is_not_silent():
    """Visits expected in 61 days: 5.8 after 20 in 212 days, 6.04 after 21."""
    assert silent(visits("sue", 61, 20)) == {}
    assert set(silent(visits("sue", 61, 21))) == {"acme"}
    assert set(silent(visits("sue", 61, 20), policy=with_rules(missed_visits=5))) == {"acme"}


def test_a_sponsor_with_a_contact_is_not_silent():
    contacts = """
        account_id | user_id | kind  | occurred_at
        acme       | sue     | visit | 2026-01-10
    """
    assert silent(visits("sue", 61, 30), touchpoints=contacts) == {}
    assert set(silent(visits("sue", 61, 30), touchpoints=contacts.replace("2026-01-10", "2025-06-10"))) == {"acme"}


def test_silence_is_not_reported_for_ever():
    assert set(silent(visits("sue", 120, 60))) == {"acme"}
    assert silent(visits("sue", 121, 60)) == {}


def test_without_touchpoints_only_use_counts():
    assert set(
        alerts_of("sponsor_silent", without=("touchpoints",), people=SPONSORS, usage_events=visits("sue", 61, 30))
    )


# --- first value --------------------------------------------------------------------------------

BOUGHT = """
    account_id | contract_id | start_date | end_date   | arr   | seats
    acme       | acme-1      | 2026-01-30 | 2026-09-01 | 12000 | 8
    quiet      | quiet-1     | 2026-01-31 | 2026-09-01 | 12000 | 8
    older      | older-1     | 2025-11-30 | 2026-09-01 | 12000 | 8
    seatless   | sea-1       | 2026-01-10 | 2026-09-01 | 12000 |
"""


def test_first_value_is_missed_on_the_thirtieth_day():
    """Quiet is a day younger, `older` bought 91 days ago, and `seatless` has no known seats."""
    one = [{"account_id": "acme", "user_id": "ann", "feature": "send", "occurred_at": date(2026, 2, 5)}]
    missed = alerts_of("first_value_missed", contracts=BOUGHT, usage_events=one)
    assert set(missed) == {"acme"}
    acme = missed["acme"]
    assert (acme["value"], acme["expected"], acme["count"]) == (0.125, 0.25, 1)
    assert (acme["started_on"], acme["latest_cause_on"]) == (date(2026, 1, 30), date(2026, 3, 1))
    assert alerts_of("first_value_missed", contracts=BOUGHT, usage_events=[*one, one[0] | {"user_id": "bob"}]) == {}
    assert set(alerts_of("first_value_missed", with_rules(expire_days=61), contracts=BOUGHT)) == {"acme", "older"}


# --- tickets ------------------------------------------------------------------------------------


def ticket(**columns: Any) -> dict[str, Row]:
    row = {"account_id": "acme", "ticket_id": "1", "kind": "bug", "severity": "high", **columns}
    return alerts_of("sla_breach", tickets=[row])


def test_a_high_ticket_without_an_answer_for_four_hours_is_a_breach():
    acme = ticket(opened_at=date(2026, 2, 27))["acme"]
    assert (acme["count"], acme["value"], acme["started_on"]) == (1, 1, date(2026, 2, 27))
    opened = AS_OF - timedelta(days=1)
    late = drawn_rows("tickets", f"opened_at\n{opened} 19:59:59")[0]["opened_at"]
    assert set(ticket(opened_at=late)) == {"acme"}
    assert ticket(opened_at=late + timedelta(seconds=1)) == {}
    assert ticket(opened_at=date(2026, 2, 27), severity="medium", first_response_at=date(2026, 2, 27)) == {}


def test_an_answer_in_time_leaves_two_days_to_close_it():
    answered = {"opened_at": date(2026, 2, 25), "first_response_at": date(2026, 2, 25)}
    assert ticket(**answered)["acme"]["started_on"] == date(2026, 2, 27)
    assert ticket(**answered, resolved_at=date(2026, 2, 27)) == {}
    assert ticket(**answered, due_at=date(2026, 3, 2)) == {}, "the due date of the ticket is used first"


def test_a_recent_breach_is_reported_although_the_ticket_was_resolved():
    served = {"first_response_at": date(2026, 2, 18), "resolved_at": date(2026, 2, 18)}
    acme = ticket(opened_at=date(2026, 2, 15), **served)["acme"]
    assert (acme["value"], acme["latest_cause_on"]) == (0, date(2026, 2, 15))
    assert ticket(opened_at=date(2026, 2, 14), **served) == {}, "more than 14 days ago"
    assert set(ticket(opened_at=date(2026, 2, 12), first_response_at=date(2026, 2, 18))) == {"acme"}, "still open"


def test_an_open_breach_is_reported_until_it_expires():
    assert set(ticket(opened_at=date(2025, 12, 31))) == {"acme"}
    assert ticket(opened_at=date(2025, 12, 29), due_at=date(2025, 12, 30)) == {}


def test_severities_are_configured():
    rows = [{"account_id": "acme", "ticket_id": "1", "kind": "bug", "severity": "low", "opened_at": date(2026, 2, 20)}]
    assert alerts_of("sla_breach", tickets=rows) == {}
    assert set(alerts_of("sla_breach", with_rules(severities=["low", "high"]), tickets=rows)) == {"acme"}


# --- surveys ------------------------------------------------------------------------------------


def answer(policy: Policy = POLICY, without: tuple[str, ...] = (), **columns: Any) -> dict[str, Row]:
    row = {"account_id": "acme", "user_id": "al", "kind": "nps", "score": 6.0, **columns}
    rows = [row | {"sent_at": row["answered_at"]}]
    texts = {} if "people" in without else {"people": LEAVERS}
    return alerts_of("low_score_not_followed_up", policy, without, surveys=rows, **texts)


def test_a_low_score_without_follow_up_for_two_weeks():
    acme = answer(answered_at=date(2026, 2, 14))["acme"]
    assert (acme["count"], acme["tier"], acme["value"]) == (1, "A", 6)
    assert (acme["started_on"], acme["latest_cause_on"]) == (date(2026, 2, 14), date(2026, 2, 28))
    assert answer(answered_at=date(2026, 2, 15)) == {}
    assert answer(answered_at=date(2026, 2, 14), score=7.0) == {}
    assert answer(answered_at=date(2026, 2, 14), followed_up_at=date(2026, 2, 27)) == {}
    assert set(answer(answered_at=date(2026, 2, 14), followed_up_at=date(2026, 3, 1))) == {"acme"}
    assert set(answer(answered_at=date(2026, 2, 14), kind="csat", score=2.0)) == {"acme"}


def test_a_low_score_is_reported_until_it_expires():
    assert set(answer(answered_at=date(2025, 12, 17))) == {"acme"}
    assert answer(answered_at=date(2025, 12, 16)) == {}


def test_without_people_an_answer_has_no_tier():
    assert answer(without=("people",), answered_at=date(2026, 2, 14))["acme"]["tier"] is None


# --- list of rules, and new alerts --------------------------------------------------------------


def test_the_codes_are_those_of_the_data_contract_in_its_order():
    """Alerts that the contract does not name follow."""
    assert rules.ALERT_CODES[:6] == (
        "usage_drop", "sponsor_lost", "sponsor_silent", "first_value_missed", "sla_breach", "low_score_not_followed_up",
    )  # fmt: skip


def test_a_rule_with_a_missing_table_gives_no_alert():
    bare = alert_engine((AS_OF,), POLICY, ("people", "tickets", "surveys", "touchpoints"))
    codes = {row["code"] for row in bare.alerts(world(contracts=drawn_rows("contracts", BOUGHT)))}
    assert codes & set(rules.ALERT_CODES[:6]) == {"first_value_missed"}


ALERT_COLUMNS = {
    "account_id": "string",
    "as_of": "date",
    "day": "int32",
    "code": "string",
    "started_on": "date",
    "latest_cause_on": "date",
}
FIGURE_COLUMNS = {"count": "int64", "tier": "string", "value": "float64", "expected": "float64"}
REPORTED_COLUMNS = {"account_id": "string", "code": "string", "latest_cause_on": "date", "first_reported_on": "date"}


def news(newest: str | None, *reported: tuple[str | None, str], cooldown_days: int = 30) -> tuple[bool, date]:
    """(is_new, first_reported_on) of an alert of 2026-03-01 after these earlier reports."""
    day = (AS_OF - date(1970, 1, 1)).days
    row = {
        "account_id": "acme",
        "as_of": AS_OF,
        "day": day,
        "code": "sponsor_lost",
        "latest_cause_on": newest,
        "started_on": AS_OF,
    }
    alerts = ibis.memtable([row | dict.fromkeys(FIGURE_COLUMNS)], schema=ALERT_COLUMNS | FIGURE_COLUMNS)
    before = [
        {"account_id": "acme", "code": "sponsor_lost", "latest_cause_on": n, "first_reported_on": d}
        for n, d in reported
    ]
    unrelated = {
        "account_id": "acme",
        "code": "sla_breach",
        "latest_cause_on": "2026-02-28",
        "first_reported_on": "2026-02-28",
    }
    reported_before = ibis.memtable([*before, unrelated], schema=REPORTED_COLUMNS)
    (one,) = (
        ibis.duckdb.connect()
        .to_pyarrow(rules.flag_new(alerts, reported_before, with_rules(cooldown_days=cooldown_days)))
        .to_pylist()
    )
    return one["is_new"], one["first_reported_on"]


def test_an_alert_without_an_earlier_report_is_new():
    assert news("2026-02-10") == (True, AS_OF)


def test_the_same_cause_is_not_new_within_the_cooldown():
    assert news("2026-01-10", ("2026-01-10", "2026-01-31")) == (False, date(2026, 1, 31))
    assert news("2026-01-10", ("2026-01-10", "2026-01-30")) == (True, AS_OF)


def test_a_newer_cause_is_new_at_once():
    assert news("2026-02-10", ("2026-01-10", "2026-02-20")) == (True, AS_OF)
    assert news("2026-01-10", ("2026-02-10", "2026-02-20")) == (False, date(2026, 2, 20)), "one of two has come back"


def test_alerts_without_a_cause_date_have_the_same_cause():
    assert news(None, (None, "2026-02-01")) == (False, date(2026, 2, 1))


def test_the_newest_of_several_reports_counts():
    assert news("2026-01-10", ("2026-01-10", "2026-01-10"), ("2026-01-10", "2026-02-01")) == (False, date(2026, 2, 1))
