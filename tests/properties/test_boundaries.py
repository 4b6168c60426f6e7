"""Limits of time for each feature: strictly before `as_of`, and half-open windows `[as_of - days, as_of)`."""

from __future__ import annotations

from collections import defaultdict
from datetime import date, datetime, timedelta
from typing import Any

import pytest

from renewals.features.policy import SEVERITIES, TICKET_KINDS, TIERS
from renewals.features.registry import FAMILIES
from tests.oracle.known import midnight
from tests.oracle.worlds import World, by_account, differences, engine, values_match, world
from tests.properties.accounts import POLICY, TICK

AS_OF = date(2024, 9, 1)
NOW = midnight(AS_OF)
DAY = timedelta(days=1)
LONG_AGO = datetime(2023, 1, 1)
DAYS = sorted({f.params["days"] for family in FAMILIES.values() for f in family.features if "days" in f.params})


def answers(**tables: Any) -> dict:
    return by_account_each(engine((AS_OF,), POLICY).answers(world(**tables)))


def by_account_each(answers: dict) -> dict:
    return {name: by_account(answer) for name, answer in answers.items()}


def contract_row(account: str, **more: Any) -> dict[str, Any]:
    begins = {"start_date": LONG_AGO + 300 * DAY, "end_date": NOW + 200 * DAY, "signed_at": LONG_AGO}
    return {"contract_id": f"{account}-c", "account_id": account, "arr": 5000.0, "seats": 10} | begins | more


def people_of(account: str) -> list[dict[str, Any]]:
    rows = [{"account_id": account, "user_id": tier, "tier": tier, "role": f"role {tier}"} for tier in TIERS]
    return [row | {"recorded_at": LONG_AGO} for row in rows]


# --- windows -----------------------------------------------------------------------------------


def everything_at(account: str, instant: datetime) -> dict[str, list[dict[str, Any]]]:
    """Rows of everything that a window can count, all at one instant, with later facts of the same instant."""
    events = [{"user_id": tier, "feature": "send.mail", "occurred_at": instant, "duration_s": 60.0} for tier in TIERS]
    contacts = [{"user_id": tier, "kind": "call", "initiated_by": "customer", "occurred_at": instant} for tier in TIERS]
    tickets = [
        {"ticket_id": f"{account}-{kind}-{severity}", "kind": kind, "severity": severity, "opened_at": instant}
        | dict.fromkeys(("resolved_at", "first_response_at", "escalated_at"), instant)
        | {"reopened_at": instant + TICK, "due_at": instant - DAY}
        for kind in TICKET_KINDS
        for severity in SEVERITIES
    ]
    surveys = [
        {"user_id": "S", "kind": kind, "score": 2.0, "sent_at": instant, "answered_at": instant}
        for kind in ("nps", "csat")
    ]
    goals = [{"goal": "save an hour", "set_at": instant, "achieved_at": instant}]
    left = [{"user_id": f"left {tier}", "tier": tier, "recorded_at": LONG_AGO, "valid_to": instant} for tier in TIERS]
    rows = {
        "usage_events": events,
        "touchpoints": contacts,
        "tickets": tickets,
        "surveys": surveys,
        "value_goals": goals,
    }
    rows["people"] = left
    rows["interventions"] = [{"playbook": "call the boss", "started_at": instant}]
    rows["referrals"] = [{"referred_at": instant, "converted_at": instant}]
    rows["trials"] = [{"requested_at": instant, "started_at": instant, "finished_at": instant}]
    return {name: [{"account_id": account} | row for row in table_rows] for name, table_rows in rows.items()}


@pytest.fixture(scope="module")
def edge_answers() -> dict:
    """For each window length, one account with events on its first instant and one with events just before it."""
    tables: dict[str, list] = defaultdict(list)
    for days in DAYS:
        for side, instant in (("inside", NOW - days * DAY), ("outside", NOW - days * DAY - TICK)):
            account = f"{side} {days}"
            tables["contracts"].append(contract_row(account))
            tables["people"] += people_of(account)
            for name, rows in everything_at(account, instant).items():
                tables[name] += rows
    return answers(**tables)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_window_starts_on_its_first_instant(family, edge_answers):
    """An event exactly `days` days ago is inside; one microsecond earlier it is outside."""
    rows_by_account = edge_answers[family]
    windowed = [feature for feature in FAMILIES[family].features if "days" in feature.params]
    unchanged = []
    for feature in windowed:
        inside, outside = (rows_by_account[f"{side} {feature.params['days']}", AS_OF] for side in ("inside", "outside"))
        if values_match(inside[feature.name], outside[feature.name]):
            unchanged.append(feature.name)
    assert unchanged == []


def test_a_year_starts_on_its_first_instant():
    """Days since the last use or contact cover 365 days; 366 means none in that time."""
    inside, outside = (
        everything_at(account, NOW - 365 * DAY - slip) for account, slip in (("in", DAY * 0), ("out", TICK))
    )
    both = {name: inside[name] + outside[name] for name in inside}
    both["people"] += people_of("in") + people_of("out")
    rows_by_account = answers(contracts=[contract_row("in"), contract_row("out")], **both)
    for family, name in (("usage", "days_since_last_use"), ("stakeholders", "days_since_contact_s")):
        assert [rows_by_account[family][account, AS_OF][name] for account in ("in", "out")] == [365, 366]


# --- strictly before as_of ---------------------------------------------------------------------

ARRIVALS: dict[str, dict[str, Any]] = {
    "accounts": {"account_name": "Acme Ltd", "created_at": LONG_AGO},
    "contracts": contract_row("acme", contract_id="next", product="more"),
    "usage_events": {"user_id": "S", "feature": "send.mail", "occurred_at": NOW - 40 * DAY},
    "people": {"user_id": "new", "tier": "S", "valid_from": LONG_AGO},
    "tickets": {"ticket_id": "t", "kind": "bug", "severity": "high", "opened_at": NOW - 40 * DAY},
    "touchpoints": {"user_id": "S", "kind": "call", "occurred_at": NOW - 40 * DAY},
    "surveys": {"user_id": "S", "kind": "nps", "sent_at": NOW - 40 * DAY},
    "value_goals": {"goal": "save an hour", "set_at": NOW - 40 * DAY},
    "interventions": {"playbook": "call the boss", "started_at": NOW - 40 * DAY},
    "referrals": {"referred_at": NOW - 40 * DAY},
    "trials": {"requested_at": NOW - 40 * DAY},
    "rates": {"currency": "EUR", "rate": 2.0},
}
"""A row of each table that the answers use, with an event long ago; the known time is added."""

ARRIVES = {"contracts": "signed_at", "rates": "date"}


def answers_of_acme(**more: list) -> World:
    tables = {"contracts": [contract_row("acme", currency="EUR")], "people": people_of("acme")}
    return engine((AS_OF,), POLICY).answers(
        world(**{**tables, **{n: tables.get(n, []) + rows for n, rows in more.items()}})
    )


@pytest.mark.parametrize("table", ARRIVALS)
def test_a_row_known_at_as_of_has_no_effect_and_just_before_it_has(table):
    arrives = ARRIVES.get(table, "recorded_at")
    row = ({"account_id": "acme"} if table != "rates" else {}) | ARRIVALS[table]
    without, at, before = (
        answers_of_acme(),
        *(answers_of_acme(**{table: [row | {arrives: when}]}) for when in (NOW, NOW - TICK)),
    )
    assert differences(without, at) == []
    assert differences(without, before) != []


HAPPENS = {
    "usage_events": "occurred_at",
    "tickets": "opened_at",
    "touchpoints": "occurred_at",
    "surveys": "sent_at",
    "value_goals": "set_at",
    "interventions": "started_at",
    "referrals": "referred_at",
    "trials": "requested_at",
}


ANSWERED = {"surveys": {"score": 3.0, "answered_at": NOW - DAY / 2}}
"""A survey without an answer counts only after two weeks."""


@pytest.mark.parametrize("table", HAPPENS)
def test_an_event_at_as_of_has_no_effect_although_it_arrived_before(table):
    happens = HAPPENS[table]
    row = {"account_id": "acme"} | ARRIVALS[table] | ANSWERED.get(table, {}) | {"recorded_at": LONG_AGO}
    without, at, before = (
        answers_of_acme(),
        *(answers_of_acme(**{table: [row | {happens: when}]}) for when in (NOW, NOW - TICK)),
    )
    assert differences(without, at) == []
    assert differences(without, before) != []


LATER_FACTS = {
    ("contracts", "paid_at"): contract_row("acme", product="more", contract_id="x"),
    ("contracts", "cancelled_at"): contract_row("acme", product="more", contract_id="x"),
    ("people", "valid_to"): {"user_id": "new", "tier": "S", "valid_from": LONG_AGO},
    **{
        ("tickets", column): ARRIVALS["tickets"]
        for column in ("first_response_at", "resolved_at", "reopened_at", "escalated_at")
    },
    ("surveys", "answered_at"): ARRIVALS["surveys"] | {"score": 3.0},
    ("value_goals", "achieved_at"): ARRIVALS["value_goals"],
    ("referrals", "converted_at"): ARRIVALS["referrals"],
    ("trials", "finished_at"): ARRIVALS["trials"],
}


@pytest.mark.parametrize(("table", "column"), LATER_FACTS)
def test_a_later_fact_at_as_of_is_masked_and_just_before_it_is_not(table, column):
    row = {"account_id": "acme"} | LATER_FACTS[table, column]
    without, at, before = (answers_of_acme(**{table: [row | {column: when}]}) for when in (None, NOW, NOW - TICK))
    assert differences(without, at) == []
    assert differences(without, before) != []
