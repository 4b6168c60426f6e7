"""Who at the customer is engaged on 2026-03-01: Sue decides, Al runs a department, Bea works with it."""

from __future__ import annotations

import ibis
import pytest

from renewals.features.families import stakeholders
from renewals.features.families.stakeholders import TEXT_TYPES, text_rows
from renewals.features.policy import Policy, Stakeholders

PEOPLE = """
    account_id | user_id | title          | role    | tier | valid_from | valid_to   | recorded_at
    acme       | sue     | CEO            | owner   |      | 2025-01-01 |            | 2025-01-01
    acme       | al      | Sales Director | sales   |      | 2025-01-01 |            | 2025-01-01
    acme       | bea     |                | support | B    | 2025-01-01 |            | 2025-01-01
    acme       | dan     | clerk          | sales   |      | 2025-01-01 |            | 2025-01-01
    acme       | eve     | CFO            | finance |      | 2025-01-01 |            | 2025-01-01
    acme       | eve     | CFO            | finance |      | 2025-01-01 | 2026-01-15 | 2026-01-20
    acme       | new     | CTO            | it      |      | 2026-03-01 |            | 2026-02-01
"""
"""Eve's leaving was written down five days after it; New comes in tomorrow."""

USES = """
    account_id | user_id | feature | occurred_at
    acme       | sue     | look    | 2025-11-01
    acme       | al      | send    | 2026-02-10
    acme       | al      | send    | 2026-02-11
    acme       | bea     | send    | 2026-02-27
    acme       | bea     | send    | 2026-02-28
    acme       | dan     | look    | 2026-02-28
    acme       | eve     | send    | 2026-01-10
"""

COLUMNS = ("title", "role", "tier")

CONTACTS = """
    account_id | user_id | kind  | initiated_by | occurred_at
    acme       | sue     | visit | us           | 2025-11-20
    acme       | al      | call  | customer     | 2026-02-20
    acme       | al      | call  | us           | 2026-01-20
    acme       |         | email | us           | 2026-02-25
    acme       | eve     | visit | us           | 2025-03-01
"""


@pytest.fixture(scope="module")
def engaged(company):
    return company(people=PEOPLE, usage_events=USES, touchpoints=CONTACTS)


def tiers(name: str, days: int | None = None) -> list[str]:
    return [f"{name}_{tier}" + (f"_{days}d" if days else "") for tier in "sab"]


def test_who_is_there(engaged):
    """Eve has left and New has not come; Dan has no tier."""
    assert engaged("stakeholders", *tiers("people_known")) == {"acme": [1, 1, 1], "quiet": [0, 0, 0]}


def test_who_uses_it(engaged):
    """A look is not a key action, so Sue is not active; Eve, who left, was in 90 days (S2, S4)."""
    assert engaged("stakeholders", *tiers("people_active", 28)) == {"acme": [0, 1, 1], "quiet": [0, 0, 0]}
    assert engaged("stakeholders", *tiers("people_active", 90)) == {"acme": [1, 1, 1], "quiet": [0, 0, 0]}
    assert engaged("stakeholders", *tiers("use_days", 180)) == {"acme": [2, 2, 2], "quiet": [0, 0, 0]}


def test_use_by_each_of_those_who_are_there(engaged):
    """Of the deciders only Sue is there, who came once: what Eve did before she left is not hers."""
    assert engaged("stakeholders", *tiers("use_days_per_person", 365)) == {"acme": [1, 2, 2], "quiet": [None] * 3}
    assert engaged("stakeholders", *tiers("use_days_per_person", 28)) == {"acme": [0, 2, 2], "quiet": [None] * 3}


def test_a_decider_who_never_used_it_has_no_days_and_not_none(company):
    """Sue is all there is at the account, and only a stranger uses it."""
    alone, strangers = PEOPLE[: PEOPLE.index("    acme       | al ")], USES.replace("| sue     |", "| sam     |")
    assert company(people=alone, usage_events=strangers)("stakeholders", "use_days_per_person_s_365d")["acme"] == 0


def test_whose_use_it_is(engaged):
    """Six person-days in 90 days: one of Eve's, two of Al's, two of Bea's and one of Dan, who has no tier."""
    expected = [pytest.approx(n / 6) for n in (1, 2, 2)]
    assert engaged("stakeholders", *tiers("share_of_use")) == {"acme": expected, "quiet": [None] * 3}


def test_pace_of_a_tier_against_its_own_year(engaged):
    """S: one day in 90 against two in 365; A: both of its days of the year lie in the last 90."""
    quick, slow = 1 / 90, 2 / 365
    pace = pytest.approx((quick - slow) / (quick + slow))
    assert engaged("stakeholders", "tier_usage_vs_baseline_s") == {"acme": pace, "quiet": None}


def test_days_since_use_and_contact(engaged):
    assert engaged("stakeholders", *tiers("days_since_use")) == {"acme": [50, 18, 1], "quiet": [366] * 3}
    assert engaged("stakeholders", *tiers("days_since_contact")) == {"acme": [101, 9, 366], "quiet": [366] * 3}


def test_contacts_by_tier(engaged):
    """The email to nobody in particular counts for no tier."""
    assert engaged("stakeholders", *tiers("contacts", 180)) == {"acme": [1, 2, 0], "quiet": [0, 0, 0]}
    assert engaged("stakeholders", *tiers("customer_contacts", 90)) == {"acme": [0, 1, 0], "quiet": [0, 0, 0]}


def test_share_of_deciders_met(engaged):
    """Sue and Al are there; in 90 days only Al was met, in 180 both (S2)."""
    columns = ["decision_makers_contacted_share_90d", "decision_makers_contacted_share_180d"]
    assert engaged("stakeholders", *columns) == {"acme": [0.5, 1], "quiet": [None, None]}


def test_a_sponsor_who_left_and_one_gone_silent(engaged):
    """Eve left in January; Sue used it in November and not in the 60 days since (S3)."""
    columns = ["people_left_s_90d", "people_left_a_365d", "sponsors_silent"]
    assert engaged("stakeholders", *columns) == {"acme": [1, 0, 1], "quiet": [0, 0, 0]}


def test_a_departure_is_felt_for_a_year(engaged):
    """Eve left 45 days ago: of her going 0.84 is left."""
    felt = round(1024 * 0.5 ** (45 / 180)) / 1024
    assert engaged("stakeholders", "departures_decayed_s", "departures_decayed_a") == {
        "acme": [felt, 0],
        "quiet": [0, 0],
    }


def test_roles_in_steady_use(engaged):
    """Al in sales and Bea in support were active on two days of 28, which is steady here (J3)."""
    assert engaged("stakeholders", "steady_roles") == {"acme": 2, "quiet": 0}


def test_a_leaving_recorded_late_was_not_known(company):
    """Eve left in January, but nobody wrote it down before March: on the date she is still there."""
    people = PEOPLE.replace("2026-01-20", "2026-03-01")
    found = company(people=people, usage_events=USES, touchpoints=CONTACTS)
    assert found("stakeholders", "people_known_s", "people_left_s_365d")["acme"] == [2, 0]


@pytest.mark.parametrize(
    ("title", "role", "tier"),
    [
        ("CEO", "", "S"),
        ("Vice-President, Sales", "", "S"),
        ("Head of Sales", "", "S"),
        ("Head of Support", "", "A"),
        ("副总裁", "", "S"),
        ("销售经理", "", "A"),
        ("clerk", "senior buyer", "B"),
        ("clerk", "clerk", None),
        ("cooperator", "misleading", None),
    ],
)
def test_a_tier_is_read_from_the_title_and_then_the_role(title, role, tier):
    """By whole words: a coo decides and a cooperator does not (S1)."""
    assert grade(title, role, Policy()) == tier


def test_a_company_may_look_for_its_own_words():
    """Written as they please; the higher tier is looked for first, in whatever order they are listed."""
    own = Stakeholders(tiers={"A": ("leiter",), "S": ("Schulleiter", "Leiter/Verwaltung")})
    policy = Policy(stakeholders=own)
    graded = [grade(title, "", policy) for title in ("SCHULLEITER", "Leiter Verwaltung", "Leiter Einkauf", "CEO")]
    assert graded == ["S", "S", "A", None]


@pytest.mark.parametrize("title", ["assistant to the CEO", "Assistant to the Director", "总经理助理"])
def test_an_assistant_is_not_who_is_assisted(title):
    assert grade(title, "", Policy()) is None


def test_an_exclusion_leaves_the_other_tiers_alone():
    policy = Policy(stakeholders=Stakeholders(tiers={"S": ("ceo", "!assistant"), "B": ("assistant",)}))
    assert [grade(title, "", policy) for title in ("CEO", "Assistant to the CEO")] == ["S", "B"]


def test_blanks_are_no_role():
    assert text_rows([" "], Policy()) == [{"text": " ", "tier": None, "normalized": None}]


def grade(title: str, role: str, policy: Policy) -> str | None:
    people = ibis.memtable({"title": [title], "role": [role], "tier": [None]}, schema=dict.fromkeys(COLUMNS, "string"))
    texts = ibis.memtable(text_rows({title, role}, policy), schema=TEXT_TYPES)
    (row,) = ibis.duckdb.connect().to_pyarrow(stakeholders.grade_people(people, texts)).to_pylist()
    return row["effective_tier"]
