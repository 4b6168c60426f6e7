"""Stakeholder features on 2026-03-01: Sue decides, Al runs a department, Bea works with the product."""

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
"""Eve's departure was recorded five days late; the person `new` joins tomorrow."""

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
def engagement(company):
    return company(people=PEOPLE, usage_events=USES, touchpoints=CONTACTS)


def tiers(name: str, days: int | None = None) -> list[str]:
    return [f"{name}_{tier}" + (f"_{days}d" if days else "") for tier in "sab"]


def test_people_known(engagement):
    """Eve has left and `new` has not joined; Dan has no tier."""
    assert engagement("stakeholders", *tiers("people_known")) == {"acme": [1, 1, 1], "quiet": [0, 0, 0]}


def test_active_people_and_days_of_use(engagement):
    """A `look` is not a key action, so Sue is not active; Eve, who left, was active within 90 days (S2, S4)."""
    assert engagement("stakeholders", *tiers("people_active", 28)) == {"acme": [0, 1, 1], "quiet": [0, 0, 0]}
    assert engagement("stakeholders", *tiers("people_active", 90)) == {"acme": [1, 1, 1], "quiet": [0, 0, 0]}
    assert engagement("stakeholders", *tiers("use_days", 180)) == {"acme": [2, 2, 2], "quiet": [0, 0, 0]}


def test_days_of_use_per_present_person(engagement):
    """Sue is the only present decision maker, with one day of use; Eve's use before she left is excluded."""
    assert engagement("stakeholders", *tiers("use_days_per_person", 365)) == {"acme": [1, 2, 2], "quiet": [None] * 3}
    assert engagement("stakeholders", *tiers("use_days_per_person", 28)) == {"acme": [0, 2, 2], "quiet": [None] * 3}


def test_a_decision_maker_without_use_has_zero_days(company):
    """Sue is the only known person, and only an unknown user uses the product: 0 days, not null."""
    only_sue, unknown_user = PEOPLE[: PEOPLE.index("    acme       | al ")], USES.replace("| sue     |", "| sam     |")
    assert (
        company(people=only_sue, usage_events=unknown_user)("stakeholders", "use_days_per_person_s_365d")["acme"] == 0
    )


def test_share_of_use_by_tier(engagement):
    """Six person-days in 90 days: one of Eve, two of Al, two of Bea and one of Dan, who has no tier."""
    expected = [pytest.approx(n / 6) for n in (1, 2, 2)]
    assert engagement("stakeholders", *tiers("share_of_use")) == {"acme": expected, "quiet": [None] * 3}


def test_use_of_a_tier_compared_with_its_year(engagement):
    """S: one day in 90 days compared with two in 365; A: both days of the year are in the last 90."""
    quick, slow = 1 / 90, 2 / 365
    pace = pytest.approx((quick - slow) / (quick + slow))
    assert engagement("stakeholders", "tier_usage_vs_baseline_s") == {"acme": pace, "quiet": None}


def test_days_since_use_and_contact(engagement):
    assert engagement("stakeholders", *tiers("days_since_use")) == {"acme": [50, 18, 1], "quiet": [366] * 3}
    assert engagement("stakeholders", *tiers("days_since_contact")) == {"acme": [101, 9, 366], "quiet": [366] * 3}


def test_contacts_by_tier(engagement):
    """The email without a user counts for no tier."""
    assert engagement("stakeholders", *tiers("contacts", 180)) == {"acme": [1, 2, 0], "quiet": [0, 0, 0]}
    assert engagement("stakeholders", *tiers("customer_contacts", 90)) == {"acme": [0, 1, 0], "quiet": [0, 0, 0]}


def test_share_of_decision_makers_contacted(engagement):
    """Sue and Al are present; within 90 days only Al had a contact, within 180 both (S2)."""
    columns = ["decision_makers_contacted_share_90d", "decision_makers_contacted_share_180d"]
    assert engagement("stakeholders", *columns) == {"acme": [0.5, 1], "quiet": [None, None]}


def test_departures_and_silent_sponsors(engagement):
    """Eve left in January; Sue used the product in November, not in the 60 days since (S3)."""
    columns = ["people_left_s_90d", "people_left_a_365d", "sponsors_silent"]
    assert engagement("stakeholders", *columns) == {"acme": [1, 0, 1], "quiet": [0, 0, 0]}


def test_the_weight_of_a_departure_decays(engagement):
    """Eve left 45 days ago: the weight of her departure is 0.84."""
    weight = round(1024 * 0.5 ** (45 / 180)) / 1024
    assert engagement("stakeholders", "departures_decayed_s", "departures_decayed_a") == {
        "acme": [weight, 0],
        "quiet": [0, 0],
    }


def test_roles_in_steady_use(engagement):
    """Al in sales and Bea in support were active on two of 28 days, which is the limit for steady use here (J3)."""
    assert engagement("stakeholders", "steady_roles") == {"acme": 2, "quiet": 0}


def test_a_departure_recorded_late_is_not_known(company):
    """Eve left in January, but this was recorded in March: on the as-of date she is present."""
    people = PEOPLE.replace("2026-01-20", "2026-03-01")
    features = company(people=people, usage_events=USES, touchpoints=CONTACTS)
    assert features("stakeholders", "people_known_s", "people_left_s_365d")["acme"] == [2, 0]


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
    """A pattern does not match a part of a longer name: a `coo` decides, a `cooperator` does not (S1)."""
    assert grade(title, role, Policy()) == tier


def test_tier_patterns_are_configured():
    """Case and punctuation do not matter; higher tiers are matched first, in any order of configuration."""
    patterns = Stakeholders(tiers={"A": ("leiter",), "S": ("Schulleiter", "Leiter/Verwaltung")})
    policy = Policy(stakeholders=patterns)
    graded = [grade(title, "", policy) for title in ("SCHULLEITER", "Leiter Verwaltung", "Leiter Einkauf", "CEO")]
    assert graded == ["S", "S", "A", None]


@pytest.mark.parametrize("title", ["assistant to the CEO", "Assistant to the Director", "总经理助理"])
def test_an_assistant_does_not_have_the_tier_of_the_manager(title):
    assert grade(title, "", Policy()) is None


def test_an_exclusion_applies_to_one_tier():
    policy = Policy(stakeholders=Stakeholders(tiers={"S": ("ceo", "!assistant"), "B": ("assistant",)}))
    assert [grade(title, "", policy) for title in ("CEO", "Assistant to the CEO")] == ["S", "B"]


def test_blanks_are_no_role():
    assert text_rows([" "], Policy()) == [{"text": " ", "tier": None, "normalized": None}]


def grade(title: str, role: str, policy: Policy) -> str | None:
    people = ibis.memtable({"title": [title], "role": [role], "tier": [None]}, schema=dict.fromkeys(COLUMNS, "string"))
    texts = ibis.memtable(text_rows({title, role}, policy), schema=TEXT_TYPES)
    (row,) = ibis.duckdb.connect().to_pyarrow(stakeholders.grade_people(people, texts)).to_pylist()
    return row["effective_tier"]
