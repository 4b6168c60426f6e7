"""Grading of people in any script, and warnings of `check` for patterns and values without a match."""

from __future__ import annotations

import json
import unicodedata

import pytest

from renewals.features.policy import Stakeholders
from renewals.pipelines.stages.prepare.check import check
from renewals.pipelines.storage.notices import Notice
from tests.pipelines.validation.test_check import certificate, clean, company, job

ACCOUNTS = """
    account_id | csm
    acme       | Zoë Müller
    quiet      | Bo
"""
TITLES = ("Geschäftsführer", "GESCHÄFTSFÜHRER", "Directeur général", "Директор", "대표이사", "Sachbearbeiter")
TIER_PATTERNS = {"S": ["Geschäftsführer", "directeur général", "代表取締役", "대표"], "A": ["директор"]}


def people(*titles: str, role: str = "", tier: str = "") -> str:
    rows = (f"acme | p{k} | {title} | {role} | {tier}" for k, title in enumerate(titles))
    return "\n".join(["account_id | user_id | title | role | tier", *rows])


def events(*features: str) -> str:
    rows = (f"acme | p{k} | {feature} | 2024-02-{k + 1:02d}" for k, feature in enumerate(features))
    return "\n".join(["account_id | user_id | feature | occurred_at", *rows])


@pytest.fixture
def checked(tmp_path):
    """Function `checked(settings, people=…, usage_events=…)` that runs `check` and returns its warnings and notes."""

    def run(settings=None, **tables):
        folder = company(tmp_path / "in", accounts=ACCOUNTS, **{"usage_events": events("report"), **tables})
        result = check(job(folder, tmp_path / "data", **(settings or {})))
        return result["warnings"], result["coverage"]

    run.data = tmp_path / "data"
    return run


def tiers(data) -> dict:
    return {row["user_id"]: row["effective_tier"] for row in clean(data, "people")}


# --- grading -----------------------------------------------------------------------------------------


def test_tier_comes_from_title_then_role_in_any_script(checked):
    decomposed = unicodedata.normalize("NFD", "Geschäftsführer")
    checked({"stakeholders": {"tiers": TIER_PATTERNS}}, people=people(*TITLES, decomposed, role="Директор по продажам"))
    assert tiers(checked.data) == dict(
        zip((f"p{k}" for k in range(7)), ["S", "S", "S", "A", "S", "A", "S"], strict=True)
    )


def test_a_tier_in_the_data_is_unchanged(checked):
    checked(people=people("CEO", "clerk", tier="B"))
    assert tiers(checked.data) == {"p0": "B", "p1": "B"}


def test_grading_preserves_the_number_of_rows(checked):
    """A title may also be a role, and occur in many rows."""
    checked(people=people("CEO", "CEO", "seller", "seller", role="seller"))
    assert tiers(checked.data) == {"p0": "S", "p1": "S", "p2": None, "p3": None}


def test_normalized_role_ignores_case_and_blanks(checked):
    rows = "account_id | user_id | role\nacme | a | Sales\nacme | b | SALES\nacme | c |   sales\nacme | d | "
    checked(people=rows)
    assert [row["role_normalized"] for row in clean(checked.data, "people")] == ["sales", "sales", "sales", None]
    assert clean(checked.data, "people")[0]["role"] == "Sales", "the column `role` is unchanged"


def test_changed_patterns_change_the_tier(checked):
    for pattern, tier in (("ceo", "S"), ("cfo", None)):
        checked({"stakeholders": {"tiers": {"S": [pattern]}}}, people=people("CEO"))
        assert tiers(checked.data) == {"p0": tier}


def test_texts_are_graded_in_batches(checked, monkeypatch):
    monkeypatch.setattr("renewals.pipelines.validation.grading.BATCH_SIZE", 2)
    checked(people=people(*(f"director of {k}" for k in range(9)), "clerk"))
    assert list(tiers(checked.data).values()) == ["A"] * 9 + [None]


# --- patterns that match nothing ---------------------------------------------------------------------


def test_patterns_that_match_no_title_cause_a_warning(checked):
    warned, _ = checked({"stakeholders": {"tiers": TIER_PATTERNS}}, people=people(*TITLES))
    assert warned == ['stakeholders.tiers.S: 1 of 4 patterns match no title or role: "代表取締役"']


def test_an_exclusion_that_matches_nothing_causes_a_warning(checked):
    settings = {"stakeholders": {"tiers": {"S": ["ceo", "!temp"], "A": ["clerk"]}}}
    warned, _ = checked(settings, people=people("CEO", "clerk"))
    assert warned == ['stakeholders.tiers.S: 1 of 2 patterns match no title or role: "!temp"']


def test_default_patterns_that_match_nothing_cause_no_warning(checked):
    patterns = Stakeholders().tiers | {"B": ("analyst", "Sachbearbeiter", "Praktikant")}
    warned, noted = checked({"stakeholders": {"tiers": patterns}}, people=people("CEO", "Sachbearbeiter"))
    assert warned == ['stakeholders.tiers.B: 1 of 3 patterns match no title or role: "Praktikant"']
    assert noted == []


def test_tiers_without_any_match_cause_a_warning_and_a_notice(checked):
    warned, _ = checked(people=people("Geschäftsführer", "Sachbearbeiter", "Sachbearbeiter", role="Kunde"))
    assert warned == [
        "stakeholders.tiers.S, stakeholders.tiers.A, stakeholders.tiers.B: none of the 33 patterns matches a title or "
        "role; the data have 3",
        "people: 3 of 3 match no pattern of stakeholders.tiers and have no tier; most frequent of 2 titles or roles: "
        '"Sachbearbeiter" (2 people), "Geschäftsführer" (1)',
    ]
    assert certificate(checked.data)["notices"] == [{"code": "tiers_unknown", "values": {}}]


def test_people_without_title_and_role_have_no_tier(checked):
    warned, _ = checked({"stakeholders": {"tiers": {"B": ["*"]}}}, people="account_id | user_id\nacme | p0")
    assert warned == ["people: 1 of 1 match no pattern of stakeholders.tiers and have no tier"]


def test_patterns_cause_no_warning_if_every_tier_is_in_the_data(checked):
    assert checked(people=people("Sachbearbeiter", tier="B")) == ([], [])


def test_a_few_people_without_a_tier_are_a_note(checked):
    warned, noted = checked(people=people("CEO", "CFO", "Sachbearbeiter"))
    assert warned == []
    assert noted == [
        "people: 1 of 3 match no pattern of stakeholders.tiers and have no tier; most frequent of 1 titles or roles: "
        '"Sachbearbeiter" (1 people)'
    ]
    assert certificate(checked.data)["coverage"]["people"] == {"people": 3, "titles_without_tier": 1, "without_tier": 1}


def test_an_address_in_place_of_a_title_is_not_quoted(checked):
    warned, noted = checked(people=people("CEO", "CTO", "ann@acme.example", "CFO\x07"))
    assert "example" not in json.dumps([warned, noted])


@pytest.mark.parametrize(("star", "code"), [(["*"], "all_use_active"), ([], "no_use_active")])
def test_patterns_of_another_product_cause_a_warning_and_a_notice(checked, star, code):
    """Case 55: event names of an analytics tracker with patterns of another product."""
    usage = {
        "north_star": [*star, "task.done", "!login"],
        "core_workflow": ["workflow.*"],
        "levels": {"act": ["task.*"]},
    }
    warned, _ = checked({"usage": usage}, usage_events=events("Log In", "Report Viewed", "Log In"))
    active = "every action counts as active use, including log-ins" if star else "no use counts as active"
    assert warned == [
        "usage.north_star, usage.core_workflow, usage.levels.act: none of the 4 patterns matches a feature; the data "
        'have 2: "Log In" (2 events), "Report Viewed" (1). Until this setting names your features, '
        f"{active}, nothing counts as the core workflow, no use counts as act"
    ]
    assert certificate(checked.data)["notices"] == [{"code": code, "values": {}}]


def test_warning_for_a_pattern_without_match_and_note_for_features_without_level(checked):
    usage = {"north_star": ["*", "!login"], "core_workflow": ["send", "sned"], "levels": {"act": ["send"]}}
    warned, noted = checked({"usage": usage}, usage_events=events("send", "Login", "login", "send", "send"))
    assert warned == ['usage.core_workflow: 1 of 2 patterns match no feature: "sned"']
    assert noted == ['usage.levels: 2 features belong to no level, with 2 of 5 events: "Login" (1 events), "login" (1)']


def test_a_single_star_causes_no_warning(checked):
    assert checked({"usage": {"north_star": ["*"]}}, usage_events=events("send")) == ([], [])


# --- people of another system, managers --------------------------------------------------------------


def test_events_without_known_people_cause_a_warning_and_a_notice(checked):
    """Case 29: user ids have capitals in the CRM and small letters in the product."""
    rows = "account_id | user_id | tier\nacme | P0 | S\nacme | P1 | B"
    warned, _ = checked(people=rows, usage_events=events("send", "send"))
    assert warned == [
        "usage_events: 0 of 2 events are by a person in people (by account_id and user_id), so usage by tier is "
        "unknown: write user_id identically in both tables"
    ]
    notice = {"code": "users_unknown", "values": {"known": 0, "total": 2}}
    assert certificate(checked.data)["notices"] == [notice]


def test_an_empty_people_table_causes_no_warning(tmp_path):
    """Case 37: an optional table may have no rows."""
    folder = company(tmp_path / "in", accounts=ACCOUNTS, usage_events=events("send", "send"))
    (folder / "people.csv").write_text("account_id,user_id,tier\n")
    result = check(job(folder, tmp_path / "data"))
    assert result["warnings"] == [] == result["coverage"]


def test_a_few_known_users_are_a_note(checked):
    """In many companies `people` contains only the contacts of the account managers."""
    warned, noted = checked(people="account_id | user_id | tier\nacme | p0 | S", usage_events=events("a", "b", "c"))
    assert warned == [] == certificate(checked.data)["notices"]
    assert noted == ["usage_events: 1 of 3 events are by a person in people (by account_id and user_id)"]


def test_a_person_of_another_account_is_unknown(checked):
    rows = "account_id | user_id | tier\nquiet | p0 | S"
    assert len(checked(people=rows, usage_events=events("send"))[0]) == 1
    assert checked(people=rows.replace("quiet", "acme"), usage_events=events("send")) == ([], [])


@pytest.mark.parametrize("code", ["all_use_active", "no_use_active", "tiers_unknown", "users_unknown"])
def test_a_notice_has_a_text_in_every_language(code):
    english, chinese = (Notice(code, {"known": 1, "total": 12_000}).text(language) for language in ("en", "zh"))
    assert english != chinese
    assert ("12,000" in english) == ("12,000" in chinese) == (code == "users_unknown")


def test_a_manager_capacity_without_accounts_causes_a_warning(checked):
    names = {"zoe MÜLLER": {"accounts": 3}, "Nobody Here": {"accounts": 2}}
    warned, _ = checked({"list": {"capacity": {"managers": names}}})
    assert warned == ["list.capacity.managers: 1 names match no csm in accounts: number 2"]
