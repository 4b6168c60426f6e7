"""What our people log of what they do moves nothing that a model reads (domain M5)."""

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
from tests.properties.laws import SEEDS, at, joined, project

PLAYS = ("win_back_sponsor", "value_report", "call the boss")
LAST = DATES[-1]


def logged(accounts: list[Any], moment: datetime, random: Random) -> World:
    """An action of each kind for every account, logged within the days before `moment`."""

    def when() -> datetime:
        return moment - timedelta(days=random.randint(0, 13), seconds=random.randint(1, 86_399))

    def met(kind: str) -> dict[str, Any]:
        user, by = random.choice((None, "u1", "u2", "u3", "u9")), random.choice((None, "us"))
        return {"user_id": user, "kind": kind, "initiated_by": by, "occurred_at": when()}

    return world(
        interventions=[{"account_id": a, "playbook": play, "started_at": when()} for a in accounts for play in PLAYS],
        touchpoints=[{"account_id": a, **met(kind)} for a in accounts for kind in CONTACT_KINDS],
        surveys=[{"account_id": a, "user_id": "u1", "kind": k, "sent_at": when()} for a in accounts for k in SURVEYS],
        value_goals=[{"account_id": a, "goal": "save an hour", "set_at": when(), "due_at": due(moment, random)}
                     for a in accounts],
    )  # fmt: skip


SURVEYS = ("nps", "csat")


def due(moment: datetime, random: Random) -> datetime | None:
    """A date by which a goal is to be reached: still to come, or none."""
    return random.choice((None, moment + timedelta(days=random.randint(0, 200))))


def followed_up(made: World, moment: datetime) -> World:
    """The world, with every answer that had come by then followed up just before `moment`."""
    just_before = moment - timedelta(seconds=1)
    own = [
        survey | {"followed_up_at": just_before}
        if survey["answered_at"] is not None and survey["answered_at"] < moment
        else survey
        for survey in made["surveys"]
    ]
    return made | {"surveys": own}


def read_by_models(answers: dict[str, Answer]) -> dict[str, Answer]:
    """The spine and the columns of the families that a model may read."""
    actions = action_features()
    return {
        name: {key: {c: v for c, v in row.items() if c not in actions} for key, row in rows.items()}
        for name, rows in answers.items()
        if name == "spine" or name in FAMILIES
    }


@given(seeds=SEEDS)
def test_no_logged_action_moves_what_a_model_reads(seeds):
    made, random = settle(seeds), Random(sum(seeds))
    accounts = sorted({row["account_id"] for row in made["contracts"]})
    busy = followed_up(joined(made, logged(accounts, at(LAST), random)), at(LAST))
    before, after = project().answers(made), project().answers(busy)
    assert differences(read_by_models(before), read_by_models(after)) == []
    assert differences(before, after) != []


@pytest.mark.parametrize("table", ["interventions", "touchpoints", "surveys", "value_goals"])
def test_what_is_logged_is_shown(table):
    """Every kind of row moves a figure that is shown, or moves none for a reason: a survey just sent is none yet."""
    made = settle(range(60))
    accounts = sorted({row["account_id"] for row in made["contracts"]})
    rows = logged(accounts, at(LAST), Random(7))[table]
    found = differences(project().answers(made), project().answers(made | {table: made[table] + rows}))
    moved = {line.split(": ")[1].split(" is ")[0] for line in found}
    assert moved <= action_features()
    assert bool(moved) == (table != "surveys")


def test_a_follow_up_is_shown():
    made = settle(range(60))
    found = differences(project().answers(made), project().answers(followed_up(made, at(LAST))))
    assert {line.split(": ")[1].split(" is ")[0] for line in found} == {"low_scores_without_follow_up"}
