"""Rows in which our staff logs its actions do not change anything that a model reads (domain M5)."""

from __future__ import annotations

from datetime import datetime, timedelta
from random import Random
from typing import Any

import pytest
from hypothesis import given

from renewals.features.policy import CONTACT_KINDS
from renewals.features.registry import FAMILIES, action_features
from tests.oracle.worlds import Answer, World, differences, world
from tests.properties.accounts import DATES, settle
from tests.properties.laws import SEEDS, at, merge_worlds, project

PLAYS = ("win_back_sponsor", "value_report", "call the boss")
LAST = DATES[-1]


def logged_actions(accounts: list[Any], moment: datetime, random: Random) -> World:
    """An action of each kind for every account, logged within the days before `moment`."""

    def when() -> datetime:
        return moment - timedelta(days=random.randint(0, 13), seconds=random.randint(1, 86_399))

    def touchpoint(kind: str) -> dict[str, Any]:
        user, by = random.choice((None, "u1", "u2", "u3", "u9")), random.choice((None, "us"))
        return {"user_id": user, "kind": kind, "initiated_by": by, "occurred_at": when()}

    return world(
        interventions=[{"account_id": a, "playbook": play, "started_at": when()} for a in accounts for play in PLAYS],
        touchpoints=[{"account_id": a, **touchpoint(kind)} for a in accounts for kind in CONTACT_KINDS],
        surveys=[{"account_id": a, "user_id": "u1", "kind": k, "sent_at": when()} for a in accounts for k in SURVEYS],
        value_goals=[{"account_id": a, "goal": "save an hour", "set_at": when(), "due_at": due_date(moment, random)}
                     for a in accounts],
    )  # fmt: skip


SURVEYS = ("nps", "csat")


def due_date(moment: datetime, random: Random) -> datetime | None:
    """Due date of a goal: in the future, or None."""
    return random.choice((None, moment + timedelta(days=random.randint(0, 200))))


def with_follow_ups(base_world: World, moment: datetime) -> World:
    """The world with every answer known by then followed up just before `moment`."""
    just_before = moment - timedelta(seconds=1)
    surveys = [
        survey | {"followed_up_at": just_before}
        if survey["answered_at"] is not None and survey["answered_at"] < moment
        else survey
        for survey in base_world["surveys"]
    ]
    return base_world | {"surveys": surveys}


def read_by_models(answers: dict[str, Answer]) -> dict[str, Answer]:
    """The spine and the family columns that a model may read."""
    actions = action_features()
    return {
        name: {key: {c: v for c, v in row.items() if c not in actions} for key, row in rows.items()}
        for name, rows in answers.items()
        if name == "spine" or name in FAMILIES
    }


@given(seeds=SEEDS)
def test_logged_actions_do_not_change_columns_that_models_read(seeds):
    base_world, random = settle(seeds), Random(sum(seeds))
    accounts = sorted({row["account_id"] for row in base_world["contracts"]})
    busy_world = with_follow_ups(merge_worlds(base_world, logged_actions(accounts, at(LAST), random)), at(LAST))
    before, after = project().answers(base_world), project().answers(busy_world)
    assert differences(read_by_models(before), read_by_models(after)) == []
    assert differences(before, after) != []


@pytest.mark.parametrize("table", ["interventions", "touchpoints", "surveys", "value_goals"])
def test_logged_actions_change_columns_of_actions(table):
    """Every kind of row changes a column of actions, except a survey just sent, which does not count yet."""
    base_world = settle(range(60))
    accounts = sorted({row["account_id"] for row in base_world["contracts"]})
    rows = logged_actions(accounts, at(LAST), Random(7))[table]
    lines = differences(
        project().answers(base_world), project().answers(base_world | {table: base_world[table] + rows})
    )
    changed = {line.split(": ")[1].split(" is ")[0] for line in lines}
    assert changed <= action_features()
    assert bool(changed) == (table != "surveys")


def test_a_follow_up_changes_a_column_of_actions():
    base_world = settle(range(60))
    lines = differences(project().answers(base_world), project().answers(with_follow_ups(base_world, at(LAST))))
    assert {line.split(": ")[1].split(" is ")[0] for line in lines} == {"low_scores_without_follow_up"}
