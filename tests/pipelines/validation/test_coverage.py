"""`check` grades people in any script; it says which patterns match nothing, and what no pattern matches."""

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
WORDS = {"S": ["Geschäftsführer", "directeur général", "代表取締役", "대표"], "A": ["директор"]}


def people(*titles: str, role: str = "", tier: str = "") -> str:
    rows = (f"acme | p{k} | {title} | {role} | {tier}" for k, title in enumerate(titles))
    return "\n".join(["account_id | user_id | title | role | tier", *rows])


def events(*features: str) -> str:
    rows = (f"acme | p{k} | {feature} | 2024-02-{k + 1:02d}" for k, feature in enumerate(features))
    return "\n".join(["account_id | user_id | feature | occurred_at", *rows])


@pytest.fixture
def checked(tmp_path):
    """`checked(people=…, usage_events=…, settings=…)`: the warnings and notes of a check."""

    def run(settings=None, **tables):
        folder = company(tmp_path / "in", accounts=ACCOUNTS, **{"usage_events": events("report"), **tables})
        result = check(job(folder, tmp_path / "data", **(settings or {})))
        return result["warnings"], result["coverage"]

    run.data = tmp_path / "data"
    return run


def tiers(data) -> dict:
    return {row["user_id"]: row["effective_tier"] for row in clean(data, "people")}


# --- grading -----------------------------------------------------------------------------------------


def test_people_are_graded_by_title_then_role_in_any_script(checked):
    decomposed = unicodedata.normalize("NFD", "Geschäftsführer")
    checked({"stakeholders": {"tiers": WORDS}}, people=people(*TITLES, decomposed, role="Директор по продажам"))
    assert tiers(checked.data) == dict(
        zip((f"p{k}" for k in range(7)), ["S", "S", "S", "A", "S", "A", "S"], strict=True)
    )


def test_a_tier_that_was_given_stays(checked):
    checked(people=people("CEO", "clerk", tier="B"))
    assert tiers(checked.data) == {"p0": "B", "p1": "B"}


def test_every_row_of_a_person_stays_one_row(checked):
    """A title may be a role too, and stand in many rows."""
    checked(people=people("CEO", "CEO", "seller", "seller", role="seller"))
    assert tiers(checked.data) == {"p0": "S", "p1": "S", "p2": None, "p3": None}


def test_roles_are_compared_without_case_and_blanks(checked):
    rows = "account_id | user_id | role\nacme | a | Sales\nacme | b | SALES\nacme | c |   sales\nacme | d | "
    checked(people=rows)
    assert [row["role_normalized"] for row in clean(checked.data, "people")] == ["sales", "sales", "sales", None]
    assert clean(checked.data, "people")[0]["role"] == "Sales", "the role itself stays as it was given"


def test_other_words_grade_again(checked):
    for words, tier in (("ceo", "S"), ("cfo", None)):
        checked({"stakeholders": {"tiers": {"S": [words]}}}, people=people("CEO"))
        assert tiers(checked.data) == {"p0": tier}


def test_texts_are_graded_in_parts(checked, monkeypatch):
    monkeypatch.setattr("renewals.pipelines.validation.grading.BATCH_SIZE", 2)
    checked(people=people(*(f"director of {k}" for k in range(9)), "clerk"))
    assert list(tiers(checked.data).values()) == ["A"] * 9 + [None]


# --- words and patterns that match nothing -----------------------------------------------------------


def test_words_that_match_no_title_are_named_with_counts(checked):
    warned, _ = checked({"stakeholders": {"tiers": WORDS}}, people=people(*TITLES))
    assert warned == ['stakeholders.tiers.S: 1 of 4 patterns match no title or role: "代表取締役"']


def test_an_exclusion_that_excludes_nothing_is_named(checked):
    settings = {"stakeholders": {"tiers": {"S": ["ceo", "!temp"], "A": ["clerk"]}}}
    warned, _ = checked(settings, people=people("CEO", "clerk"))
    assert warned == ['stakeholders.tiers.S: 1 of 2 patterns match no title or role: "!temp"']


def test_words_that_come_with_the_program_are_not_complained_of(checked):
    own = Stakeholders().tiers | {"B": ("analyst", "Sachbearbeiter", "Praktikant")}
    warned, noted = checked({"stakeholders": {"tiers": own}}, people=people("CEO", "Sachbearbeiter"))
    assert warned == ['stakeholders.tiers.B: 1 of 3 patterns match no title or role: "Praktikant"']
    assert noted == []


def test_where_none_of_them_matches_that_is_said(checked):
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


def test_nothing_is_said_of_words_where_every_tier_was_given(checked):
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
def test_patterns_of_another_product_are_pointed_out(checked, star, code):
    """Case 55: the events are named as trackers name them, and the settings are those that came with the program."""
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


def test_single_patterns_that_match_nothing_and_features_of_no_level(checked):
    usage = {"north_star": ["*", "!login"], "core_workflow": ["send", "sned"], "levels": {"act": ["send"]}}
    warned, noted = checked({"usage": usage}, usage_events=events("send", "Login", "login", "send", "send"))
    assert warned == ['usage.core_workflow: 1 of 2 patterns match no feature: "sned"']
    assert noted == ['usage.levels: 2 features belong to no level, with 2 of 5 events: "Login" (1 events), "login" (1)']


def test_a_star_alone_is_never_useless(checked):
    assert checked({"usage": {"north_star": ["*"]}}, usage_events=events("send")) == ([], [])


# --- people of another system, managers --------------------------------------------------------------


def test_events_of_people_who_are_not_known(checked):
    """Case 29: the CRM spells addresses as people do, the product in small letters."""
    rows = "account_id | user_id | tier\nacme | P0 | S\nacme | P1 | B"
    warned, _ = checked(people=rows, usage_events=events("send", "send"))
    assert warned == [
        "usage_events: 0 of 2 events are by a person in people (by account_id and user_id), so usage by tier is "
        "unknown: write user_id identically in both tables"
    ]
    notice = {"code": "users_unknown", "values": {"known": 0, "total": 2}}
    assert certificate(checked.data)["notices"] == [notice]


def test_where_nobody_is_in_people_no_spelling_is_to_blame(tmp_path):
    """Case 37: an optional table may be given without a row."""
    folder = company(tmp_path / "in", accounts=ACCOUNTS, usage_events=events("send", "send"))
    (folder / "people.csv").write_text("account_id,user_id,tier\n")
    result = check(job(folder, tmp_path / "data"))
    assert result["warnings"] == [] == result["coverage"]


def test_a_few_known_users_are_a_note(checked):
    """Many companies keep in `people` only those whom they meet."""
    warned, noted = checked(people="account_id | user_id | tier\nacme | p0 | S", usage_events=events("a", "b", "c"))
    assert warned == [] == certificate(checked.data)["notices"]
    assert noted == ["usage_events: 1 of 3 events are by a person in people (by account_id and user_id)"]


def test_a_person_known_at_another_account_only_is_not_known(checked):
    rows = "account_id | user_id | tier\nquiet | p0 | S"
    assert len(checked(people=rows, usage_events=events("send"))[0]) == 1
    assert checked(people=rows.replace("quiet", "acme"), usage_events=events("send")) == ([], [])


@pytest.mark.parametrize("code", ["all_use_active", "no_use_active", "tiers_unknown", "users_unknown"])
def test_a_notice_has_words_in_every_language(code):
    english, chinese = (Notice(code, {"known": 1, "total": 12_000}).text(language) for language in ("en", "zh"))
    assert english != chinese
    assert ("12,000" in english) == ("12,000" in chinese) == (code == "users_unknown")


def test_a_manager_with_a_capacity_is_looked_for_among_the_accounts(checked):
    names = {"zoe MÜLLER": {"accounts": 3}, "Nobody Here": {"accounts": 2}}
    warned, _ = checked({"list": {"capacity": {"managers": names}}})
    assert warned == ["list.capacity.managers: 1 names match no csm in accounts: number 2"]
