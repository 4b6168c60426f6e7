"""What the rules say on 2026-03-01, and what of it is news; nothing ever happens at quiet."""

from __future__ import annotations

from datetime import date, timedelta
from itertools import chain
from typing import Any

import ibis
import pytest

from renewals.features import alert_registry as rules
from renewals.features.policy import Policy
from tests.oracle.drawn import AS_OF, POLICY, RUNNING, drawn
from tests.oracle.worlds import Row, ruled, world

DAYS = {"now": range(1, 29), "before": range(29, 113), "year_now": range(365, 393), "year_before": range(393, 477)}
"""The stretches in days before the date."""
SETTLED = """
    account_id | contract_id | start_date | end_date   | arr   | seats
    acme       | acme-1      | 2024-06-01 | 2026-06-01 | 12000 | 10
    other      | other-1     | 2024-06-01 | 2026-06-01 | 12000 | 10
"""


def told(code: str, policy: Policy = POLICY, without: tuple[str, ...] = (), **tables: Any) -> dict[str, Row]:
    """What one rule says of each account; tables are drawn, or rows."""
    given = {"contracts": RUNNING, **tables}
    rows = {name: drawn(name, own) if isinstance(own, str) else own for name, own in given.items()}
    found = ruled((AS_OF,), policy, without).alerts(world(**rows), policy)
    return {row["account_id"]: row for row in found if row["code"] == code}


def with_rules(**changed: Any) -> Policy:
    """The policy with other rules."""
    return POLICY.model_copy(update={"alerts": POLICY.alerts.model_validate(changed)})


def use(account: str = "acme", **counts: int) -> list[Row]:
    """So many active person-days in each stretch, spread over its days by a dozen people."""
    return [
        {"account_id": account, "user_id": f"u{number // len(days)}", "feature": "send",
         "occurred_at": AS_OF - timedelta(days=days[number % len(days)])}
        for name, count in counts.items()
        for days in (DAYS[name],)
        for number in range(count)
    ]  # fmt: skip


def drop(events: list[Row], policy: Policy = POLICY, **tables: Any) -> dict[str, Row]:
    return told("usage_drop", policy, usage_events=events, **{"contracts": SETTLED, **tables})


# --- use ----------------------------------------------------------------------------------------


def test_half_the_use_to_be_expected_is_a_drop_and_a_little_more_is_none():
    """180 person-days in twelve weeks lead to expect 60 in four."""
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


def test_a_drop_that_chance_may_bring_is_none():
    """5 of 12 in four weeks: two in a hundred such accounts would show it by chance alone."""
    assert drop(use(before=36, now=5)) == {}
    assert set(drop(use(before=36, now=5), with_rules(max_p_value=0.05))) == {"acme"}


def test_a_tiny_account_does_not_speak():
    assert drop(use(before=27, now=0)) == {}
    assert set(drop(use(before=27, now=0), with_rules(min_expected_person_days=9))) == {"acme"}


def test_it_is_people_s_days_that_count_and_not_what_one_does_in_a_day():
    """Without thousands of actions of one day the account would be as ever."""
    busy = [row | {"quantity": 1e6} if row["user_id"] == "u0" else row for row in use(before=180, now=60)]
    assert drop(busy) == {}
    looks = [row | {"feature": "look"} for row in use(now=60)]
    assert set(drop(use(before=180) + looks)) == {"acme"}, "a look is not a key action"


def test_what_everybody_did_is_a_season():
    """The other account, ten times as large, halved its use as well: then half is what was to be expected."""
    both = use(before=180, now=30) + use("other", before=1800, now=300)
    assert drop(both) == {}
    assert drop(use(before=180, now=30) + use("other", before=1800, now=600))["acme"]["expected"] == pytest.approx(60)


def test_the_level_of_others_does_not_enter():
    """The other one does a tenth, as steadily as ever."""
    assert set(drop(use(before=180, now=20) + use("other", before=18, now=6))) == {"acme"}


def test_a_season_is_that_of_the_region_where_it_tells_enough():
    accounts = """
        account_id | region
        acme       | north
        other      | south
    """
    both = use(before=180, now=25) + use("other", before=18000, now=3000)
    same = accounts.replace("south", "north")
    assert drop(both, accounts=same) == {}
    apart = drop(both, accounts=accounts)
    assert apart == {}, "in a region of its own, what all did is the best guess"
    neighbours = accounts.rstrip() + "\n        third | north"
    third = SETTLED.rstrip() + "\n    third | third-1 | 2024-06-01 | 2026-06-01 | 12000 | 10"
    steady = both + use("third", before=1800, now=600)
    assert set(drop(steady, contracts=third, accounts=neighbours)) == {"acme"}


def test_its_own_season_of_a_year_ago_is_expected_again():
    """It rested the same four weeks a year ago while the other went on, so it may again."""
    last_year = use(year_before=1800, year_now=100) + use("other", year_before=1800, year_now=600)
    now = use(before=180, now=15) + use("other", before=1800, now=600)
    assert set(drop(now)) == {"acme"}
    assert drop(now + last_year) == {}


def test_a_season_of_a_year_ago_that_the_account_did_not_live_through_does_not_count():
    """Bought between: what there was of it a year ago was its beginning."""
    late = SETTLED.replace("acme-1      | 2024-06-01", "acme-1      | 2025-01-15")
    last_year = use(year_before=1800, year_now=100) + use("other", year_before=1800, year_now=600)
    now = use(before=180, now=15) + use("other", before=1800, now=600)
    assert set(drop(now + last_year, contracts=late)) == {"acme"}


def test_who_does_not_grow_with_the_others_has_lost_nothing():
    assert drop(use(before=180, now=60) + use("other", before=1800, now=2400)) == {}
    last_year = use(year_before=1800, year_now=2400) + use("other", year_before=1800, year_now=600)
    assert drop(last_year + use(before=180, now=60) + use("other", before=1800, now=600)) == {}


def test_a_beginner_s_growth_hides_no_season():
    """Two halved their use, so that was the season; a third began ten weeks ago and makes up for both."""
    young = SETTLED.rstrip() + "\n    young | young-1 | 2025-12-20 | 2026-06-01 | 12000 | 10"
    two = use(before=180, now=30) + use("other", before=1800, now=300)
    assert drop(two + use("young", before=10, now=900), contracts=young) == {}
    old = young.replace("2025-12-20", "2024-06-01")
    assert "acme" in drop(two + use("young", before=10, now=900), contracts=old)


def rest(first: str, last: str) -> Policy:
    return with_rules(quiet_periods=[{"first": first, "last": last}])


def test_a_drop_in_a_quiet_period_is_none():
    """Everything of February until the 13th is missing, and those were holidays; the rest is as busy as ever."""
    resting = [row for row in use(before=180, now=60) if not "2026-02-01" <= str(row["occurred_at"]) <= "2026-02-14"]
    assert set(drop(resting, with_rules(min_usage_drop=0.4))) == {"acme"}
    policy = rest("2026-02-01", "2026-02-14").alerts.model_copy(update={"min_usage_drop": 0.4})
    assert drop(resting, POLICY.model_copy(update={"alerts": policy})) == {}


def test_a_quiet_period_does_not_hide_a_drop_of_the_other_days():
    assert drop(use(before=180, now=16), rest("2026-02-01", "2026-02-14"))["acme"]["expected"] == pytest.approx(30)


def test_with_less_than_half_of_the_days_left_nobody_can_tell():
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
    """Al left, and of Eve's leaving in November one heard on 25 February. Old left 61 days ago, Due leaves today."""
    lost = told("sponsor_lost", people=LEAVERS)
    assert set(lost) == {"acme"}
    acme = lost["acme"]
    assert (acme["count"], acme["tier"]) == (2, "S")
    assert (acme["started_on"], acme["latest_cause_on"]) == (date(2025, 11, 1), date(2026, 2, 25))


def test_a_loss_is_held_for_the_configured_days():
    assert told("sponsor_lost", with_rules(expire_days=61), people=LEAVERS)["acme"]["count"] == 3


SPONSORS = """
    account_id | user_id | tier | valid_from | valid_to
    acme       | sue     | S    | 2025-01-01 |
    acme       | bea     | B    | 2025-01-01 |
    acme       | gone    | A    | 2025-01-01 | 2026-01-20
    quiet      | sam     | A    | 2025-01-01 |
"""


def visits(user: str, last: int, count: int, account: str = "acme") -> list[Row]:
    """Visits on so many days in a row, the last of them so many days ago."""
    day = {"account_id": account, "user_id": user, "feature": "look"}
    return [day | {"occurred_at": AS_OF - timedelta(days=last + number)} for number in range(count)]


def silent(*events: list[Row], policy: Policy = POLICY, **tables: Any) -> dict[str, Row]:
    return told("sponsor_silent", policy, people=SPONSORS, usage_events=[*chain(*events)], **tables)


def test_a_sponsor_who_came_often_and_no_more_is_silent():
    """Sue came on 30 of the 212 days until 61 days ago: eight or nine visits are missing."""
    acme = silent(visits("sue", 61, 30))["acme"]
    assert (acme["count"], acme["tier"], acme["value"]) == (1, "S", 61)
    assert (acme["started_on"], acme["latest_cause_on"]) == (date(2025, 12, 30), date(2026, 2, 28))
    assert silent(visits("sue", 60, 30)) == {}


def test_staff_and_those_who_left_are_not_silent():
    assert silent(visits("bea", 61, 30), visits("gone", 61, 30)) == {}


def test_whoever_came_seldom_is_not_missed():
    """In 61 days at a pace of 20 in 212: 5.8 visits, of 21: 6.04."""
    assert silent(visits("sue", 61, 20)) == {}
    assert set(silent(visits("sue", 61, 21))) == {"acme"}
    assert set(silent(visits("sue", 61, 20), policy=with_rules(missed_visits=5))) == {"acme"}


def test_a_sponsor_who_is_met_is_not_silent():
    met = """
        account_id | user_id | kind  | occurred_at
        acme       | sue     | visit | 2026-01-10
    """
    assert silent(visits("sue", 61, 30), touchpoints=met) == {}
    assert set(silent(visits("sue", 61, 30), touchpoints=met.replace("2026-01-10", "2025-06-10"))) == {"acme"}


def test_silence_is_no_news_for_ever():
    assert set(silent(visits("sue", 120, 60))) == {"acme"}
    assert silent(visits("sue", 121, 60)) == {}


def test_without_meetings_use_alone_tells():
    assert set(told("sponsor_silent", without=("touchpoints",), people=SPONSORS, usage_events=visits("sue", 61, 30)))


# --- first value --------------------------------------------------------------------------------

BOUGHT = """
    account_id | contract_id | start_date | end_date   | arr   | seats
    acme       | acme-1      | 2026-01-30 | 2026-09-01 | 12000 | 8
    quiet      | quiet-1     | 2026-01-31 | 2026-09-01 | 12000 | 8
    older      | older-1     | 2025-11-30 | 2026-09-01 | 12000 | 8
    seatless   | sea-1       | 2026-01-10 | 2026-09-01 | 12000 |
"""


def test_first_value_is_missed_on_the_thirtieth_day():
    """Quiet is a day younger, older bought 91 days ago, and of seatless nobody knows the seats."""
    one = [{"account_id": "acme", "user_id": "ann", "feature": "send", "occurred_at": date(2026, 2, 5)}]
    missed = told("first_value_missed", contracts=BOUGHT, usage_events=one)
    assert set(missed) == {"acme"}
    acme = missed["acme"]
    assert (acme["value"], acme["expected"], acme["count"]) == (0.125, 0.25, 1)
    assert (acme["started_on"], acme["latest_cause_on"]) == (date(2026, 1, 30), date(2026, 3, 1))
    assert told("first_value_missed", contracts=BOUGHT, usage_events=[*one, one[0] | {"user_id": "bob"}]) == {}
    assert set(told("first_value_missed", with_rules(expire_days=61), contracts=BOUGHT)) == {"acme", "older"}


# --- tickets ------------------------------------------------------------------------------------


def ticket(**columns: Any) -> dict[str, Row]:
    row = {"account_id": "acme", "ticket_id": "1", "kind": "bug", "severity": "high", **columns}
    return told("sla_breach", tickets=[row])


def test_a_grave_ticket_without_an_answer_for_four_hours_is_a_breach():
    acme = ticket(opened_at=date(2026, 2, 27))["acme"]
    assert (acme["count"], acme["value"], acme["started_on"]) == (1, 1, date(2026, 2, 27))
    opened = AS_OF - timedelta(days=1)
    late = drawn("tickets", f"opened_at\n{opened} 19:59:59")[0]["opened_at"]
    assert set(ticket(opened_at=late)) == {"acme"}
    assert ticket(opened_at=late + timedelta(seconds=1)) == {}
    assert ticket(opened_at=date(2026, 2, 27), severity="medium", first_response_at=date(2026, 2, 27)) == {}


def test_an_answer_in_time_leaves_two_days_to_close_it():
    answered = {"opened_at": date(2026, 2, 25), "first_response_at": date(2026, 2, 25)}
    assert ticket(**answered)["acme"]["started_on"] == date(2026, 2, 27)
    assert ticket(**answered, resolved_at=date(2026, 2, 27)) == {}
    assert ticket(**answered, due_at=date(2026, 3, 2)) == {}, "its own promise comes first"


def test_a_limit_that_passed_just_now_speaks_though_the_ticket_was_served():
    served = {"first_response_at": date(2026, 2, 18), "resolved_at": date(2026, 2, 18)}
    acme = ticket(opened_at=date(2026, 2, 15), **served)["acme"]
    assert (acme["value"], acme["latest_cause_on"]) == (0, date(2026, 2, 15))
    assert ticket(opened_at=date(2026, 2, 14), **served) == {}, "more than 14 days ago"
    assert set(ticket(opened_at=date(2026, 2, 12), first_response_at=date(2026, 2, 18))) == {"acme"}, "still open"


def test_a_ticket_that_waits_for_ever_is_told_for_the_days_an_alert_is_held():
    assert set(ticket(opened_at=date(2025, 12, 31))) == {"acme"}
    assert ticket(opened_at=date(2025, 12, 29), due_at=date(2025, 12, 30)) == {}


def test_severities_are_configured():
    rows = [{"account_id": "acme", "ticket_id": "1", "kind": "bug", "severity": "low", "opened_at": date(2026, 2, 20)}]
    assert told("sla_breach", tickets=rows) == {}
    assert set(told("sla_breach", with_rules(severities=["low", "high"]), tickets=rows)) == {"acme"}


# --- surveys ------------------------------------------------------------------------------------


def answer(policy: Policy = POLICY, without: tuple[str, ...] = (), **columns: Any) -> dict[str, Row]:
    row = {"account_id": "acme", "user_id": "al", "kind": "nps", "score": 6.0, **columns}
    rows = [row | {"sent_at": row["answered_at"]}]
    given = {} if "people" in without else {"people": LEAVERS}
    return told("low_score_not_followed_up", policy, without, surveys=rows, **given)


def test_a_low_answer_nobody_took_up_in_a_fortnight():
    acme = answer(answered_at=date(2026, 2, 14))["acme"]
    assert (acme["count"], acme["tier"], acme["value"]) == (1, "A", 6)
    assert (acme["started_on"], acme["latest_cause_on"]) == (date(2026, 2, 14), date(2026, 2, 28))
    assert answer(answered_at=date(2026, 2, 15)) == {}
    assert answer(answered_at=date(2026, 2, 14), score=7.0) == {}
    assert answer(answered_at=date(2026, 2, 14), followed_up_at=date(2026, 2, 27)) == {}
    assert set(answer(answered_at=date(2026, 2, 14), followed_up_at=date(2026, 3, 1))) == {"acme"}
    assert set(answer(answered_at=date(2026, 2, 14), kind="csat", score=2.0)) == {"acme"}


def test_a_low_answer_is_held_and_then_let_go():
    assert set(answer(answered_at=date(2025, 12, 17))) == {"acme"}
    assert answer(answered_at=date(2025, 12, 16)) == {}


def test_without_people_an_answer_has_no_tier():
    assert answer(without=("people",), answered_at=date(2026, 2, 14))["acme"]["tier"] is None


# --- which rules, and what is news ----------------------------------------------------------------


def test_the_codes_are_the_contract_s_in_its_order():
    assert rules.ALERT_CODES == (
        "usage_drop", "sponsor_lost", "sponsor_silent", "first_value_missed", "sla_breach", "low_score_not_followed_up",
    )  # fmt: skip


def test_a_rule_whose_table_was_not_given_is_silent():
    bare = ruled((AS_OF,), POLICY, ("people", "tickets", "surveys", "touchpoints"))
    assert {row["code"] for row in bare.alerts(world(contracts=drawn("contracts", BOUGHT)))} == {"first_value_missed"}


FOUND = {
    "account_id": "string",
    "as_of": "date",
    "day": "int32",
    "code": "string",
    "started_on": "date",
    "latest_cause_on": "date",
}
FIGURES = {"count": "int64", "tier": "string", "value": "float64", "expected": "float64"}
SAID = {"account_id": "string", "code": "string", "latest_cause_on": "date", "first_reported_on": "date"}


def news(newest: str | None, *said: tuple[str | None, str], cooldown_days: int = 30) -> tuple[bool, date]:
    """Whether an alert of 2026-03-01 is new, and since when it has been told, after what was said before."""
    day = (AS_OF - date(1970, 1, 1)).days
    row = {
        "account_id": "acme",
        "as_of": AS_OF,
        "day": day,
        "code": "sponsor_lost",
        "latest_cause_on": newest,
        "started_on": AS_OF,
    }
    found = ibis.memtable([row | dict.fromkeys(FIGURES)], schema=FOUND | FIGURES)
    before = [
        {"account_id": "acme", "code": "sponsor_lost", "latest_cause_on": n, "first_reported_on": d} for n, d in said
    ]
    other = {
        "account_id": "acme",
        "code": "sla_breach",
        "latest_cause_on": "2026-02-28",
        "first_reported_on": "2026-02-28",
    }
    told_before = ibis.memtable([*before, other], schema=SAID)
    (one,) = (
        ibis.duckdb.connect()
        .to_pyarrow(rules.flag_new(found, told_before, with_rules(cooldown_days=cooldown_days)))
        .to_pylist()
    )
    return one["is_new"], one["first_reported_on"]


def test_what_was_not_told_before_is_new():
    assert news("2026-02-10") == (True, AS_OF)


def test_the_same_cause_is_not_told_twice_within_the_quiet_days():
    assert news("2026-01-10", ("2026-01-10", "2026-01-31")) == (False, date(2026, 1, 31))
    assert news("2026-01-10", ("2026-01-10", "2026-01-30")) == (True, AS_OF)


def test_a_newer_cause_is_news_at_once():
    assert news("2026-02-10", ("2026-01-10", "2026-02-20")) == (True, AS_OF)
    assert news("2026-01-10", ("2026-02-10", "2026-02-20")) == (False, date(2026, 2, 20)), "one of two has come back"


def test_a_state_without_a_day_of_its_own_is_the_same_cause():
    assert news(None, (None, "2026-02-01")) == (False, date(2026, 2, 1))


def test_of_several_lists_the_newest_word_counts():
    assert news("2026-01-10", ("2026-01-10", "2026-01-10"), ("2026-01-10", "2026-02-01")) == (False, date(2026, 2, 1))
