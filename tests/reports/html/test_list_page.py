"""The page of the list: what it is given, and what nothing from outside can make of it."""

import base64
import hashlib
import html
import json
import re
from dataclasses import replace
from importlib.resources import files

import pandas as pd
import pytest

from renewals.models.explanation.reasons import ACCOUNT_VALUE, PEER_VALUE, format_value
from renewals.reports.html import bundle, list_page
from renewals.reports.html.bundle import html_safe_json
from renewals.reports.html.list_page import DETAIL_FEATURES, TIER_FEATURES, render_list_page
from renewals.reports.list_summary import MAX_MANAGERS, summarize_list
from renewals.reports.sanitize import make_printable
from renewals.reports.sentences.alerts import alert_sentence
from renewals.reports.settings import ListOptions
from renewals.reports.words import MESSAGES, Messages
from tests.reports.pages import BY_NAME, CATALOGUE, LIBRARY, TRIED, Elements, drawn, payload_of, said
from tests.reports.pages import page as paged
from tests.reports.small_list import HOSTILE

NAMES = [f"account {i}" for i in range(40)]
ENDING = (
    *("</script><script>alert(1)</script>", "<!--<script>", "a\u2028b\u2029c", "&amp;&lt;"),
    *("</SCRIPT >", "]]>", "\\u003c", "\ue000 \ue001"),
)


def composed(payload, language, feature, figure, row):
    """A sentence as the page puts it together."""
    words = payload["features"][feature][language]
    pieces = words["known"] if figure >= 0 else words["unknown"]
    fill = {
        ACCOUNT_VALUE: words["own"][figure] if figure >= 0 else None,
        PEER_VALUE: words["peers"][payload["rows"]["group"][row]],
    }
    return "".join(fill.get(piece, piece) for piece in pieces)


@pytest.mark.parametrize("language", sorted(MESSAGES))
def test_the_page_says_every_reason_and_strength_in_every_language_as_the_list_would(language):
    content, listed, behind = paged(NAMES)
    payload, told = payload_of(content), 0
    columns = [*(f"reason_{k}" for k in range(1, 6)), *(f"strength_{k}" for k in range(1, 4))]
    for column, (who, figures) in zip(columns, payload["shown_reasons"], strict=True):
        names = listed.get(f"{column}_feature", behind.strengths.get(f"{column}_feature"))
        for row, (feature, figure) in enumerate(zip(who, figures, strict=True)):
            if feature < 0:
                assert pd.isna(listed[column].iloc[row])
                continue
            own = composed(payload, language, feature, figure, row)
            assert own == said(behind, row, names.iloc[row], language)
            assert language != "en" or own == listed[column].iloc[row]
            told += 1
    assert told > 200


@pytest.mark.parametrize("language", sorted(MESSAGES))
def test_every_figure_of_the_drawer_stands_in_its_own_sentence(language):
    content, listed, behind = paged(NAMES)
    payload = payload_of(content)
    names = list_page.page_features(listed, behind.strengths, behind.what_if_grid, CATALOGUE)
    assert set(payload["panels"]) == set(DETAIL_FEATURES)
    for feature in (own for shelf in payload["panels"].values() for own in shelf):
        for row in range(len(NAMES)):
            if listed["status"].iloc[row] != "scored":
                assert payload["figures"][str(feature)][row] == -1
                continue
            own = composed(payload, language, feature, payload["figures"][str(feature)][row], row)
            assert own == make_printable(said(behind, row, names[feature], language))


def test_the_figures_of_the_page_are_features_that_there_are():
    asked = {name for names in DETAIL_FEATURES.values() for name in names}
    asked |= {name.format(tier=tier) for name in TIER_FEATURES for tier in "sab"}
    assert asked <= set(BY_NAME)
    assert list_page.TERM_AGE in BY_NAME


@pytest.mark.parametrize("language", sorted(MESSAGES))
def test_every_step_of_a_figure_is_there_in_words_with_its_chance_around_the_accounts_own(language):
    content, listed, behind = paged(NAMES)
    payload, told = payload_of(content), 0
    names = list_page.page_features(listed, behind.strengths, behind.what_if_grid, CATALOGUE)
    assert [names[own["feature"]] for own in payload["whatif"]] == list(TRIED)
    for name, own in zip(TRIED, payload["whatif"], strict=True):
        for row in range(len(NAMES)):
            tried = behind.what_if_grid[
                (behind.what_if_grid.index == row) & (behind.what_if_grid["feature"] == name)
            ].sort_values("value")
            steps = own["steps"][language][payload["rows"]["group"][row]] if len(tried) else []
            shown = [(said, chances[row]) for said, chances in zip(steps, own["chances"], strict=False)]
            phrases = Messages(language).phrases()
            assert [(said, f"{chance}%") for said, chance in shown if chance >= 0] == [
                (format_value(BY_NAME[name], figure, phrases), f"{chance:.0%}")
                for figure, chance in tried[["value", "probability"]].itertuples(index=False)
            ]
            assert own["below"][row] == (tried["value"] < behind.feature_values[name].iloc[row]).sum()
            told += len(tried)
    assert told == len(behind.what_if_grid) > 300


@pytest.mark.parametrize("language", sorted(MESSAGES))
def test_every_alert_is_told_with_what_was_seen(language):
    content, _, behind = paged(NAMES)
    told = payload_of(content)["alerts"]
    said, codes = told["sentences"][language], told["code"]
    assert told["row"] == behind.alerts.index.tolist()
    assert [codes["texts"][code] for code in codes["codes"]] == behind.alerts["code"].tolist()
    assert [said["texts"][code] for code in said["codes"]] == [
        alert_sentence({**one, "tier": None if pd.isna(one["tier"]) else one["tier"]}, Messages(language))
        for one in behind.alerts.to_dict("records")
    ]
    assert told["new"] == behind.alerts["is_new"].astype(int).tolist()
    assert any("2026年5月4日" in text for text in said["texts"]) == (language == "zh")


def test_plays_are_told_in_every_language_with_what_the_best_is_worth():
    content, listed, _ = paged(NAMES)
    told = payload_of(content)["plays"]
    for language in MESSAGES:
        assert [own[language]["name"] for own in told["library"]] == [
            play["name"][language] for play in LIBRARY.values()
        ]
        assert [own[language]["steps"] for own in told["library"]] == [
            play["steps"][language] for play in LIBRARY.values()
        ]
    named = listed["playbook_1"].notna()
    assert told["slots"] == [
        [0 if own else -1 for own in named],
        [1 if own else -1 for own in named],
        [-1] * len(NAMES),
    ]
    assert told["best"] == told["slots"][1]
    assert [own is not None for own in told["gain"]] == named.tolist()


def test_the_day_a_contract_began_is_counted_back_from_the_list():
    content, _, behind = paged(NAMES)
    began = payload_of(content)["started"]
    assert began == [None if pd.isna(age) else round(age) for age in behind.feature_values["term_age"]]
    assert None in began


def test_nothing_from_outside_ends_the_element_it_stands_in():
    names = [*HOSTILE, *ENDING]
    listed, behind = drawn(names)
    content = render_list_page(listed.assign(csm=names), behind, ListOptions())
    found = Elements(content).found
    assert [tag for tag, _, _ in found] == ["style"] * 3 + ["script"] * 7
    rows = payload_of(content)["rows"]
    for column in ("account_name", "csm"):
        told = rows[column]
        assert [told["texts"][code] for code in told["codes"]] == [make_printable(name) for name in names]
    assert b"alert(1)</script>" not in content


def test_notices_stand_above_everything_in_every_language_and_are_no_markup():
    notices = [{"en": f"<b>{ENDING[0]}", "zh": "请注意<i>"}, {"en": "Second & last", "zh": "第二"}]
    listed, behind = drawn(NAMES)
    content = render_list_page(listed, replace(behind, notices=notices), ListOptions()).decode()
    before = content.partition("<body>")[2].partition("<header>")[0]
    shown = re.findall(r'<ul lang="([\w-]+)">(.*?)</ul>', before)
    assert [(tag, [html.unescape(one) for one in re.findall("<li>(.*?)</li>", own)]) for tag, own in shown] == [
        ("en", [one["en"] for one in notices]),
        ("zh-Hans", [one["zh"] for one in notices]),
    ]
    assert "alert(1)</script>" not in content
    assert 'class="notices"' not in render_list_page(listed, behind, ListOptions()).decode()


def test_json_holds_no_letter_that_markup_gives_a_meaning_to():
    text = html_safe_json(list(ENDING))
    assert not set(text) & set("<>&\u2028\u2029")
    assert json.loads(text) == list(ENDING)


def test_only_the_code_of_the_page_may_run_and_nothing_is_loaded():
    elements = Elements(paged(NAMES)[0])
    rules = dict(rule.split(" ", 1) for rule in elements.policy.split("; "))
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    assert rules.pop("img-src") == "data:"
    digest = {
        tag: [
            f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
            for own, given, text in elements.found
            if own == tag and given.get("type") != "application/json"
        ]
        for tag in ("script", "style")
    }
    assert rules["script-src"].split() == digest["script"]
    assert rules["style-src"].split() == digest["style"]
    assert len(digest["script"]) == 6
    assert not [given for _, given, _ in elements.found if "src" in given]


def test_the_same_list_gives_the_same_bytes():
    assert paged(NAMES)[0] == paged(NAMES)[0]


def test_more_accounts_than_the_page_shows():
    content, listed, _ = paged(NAMES, page_rows=15)
    payload = payload_of(content)
    assert (payload["shown"], payload["accounts"]) == (15, 40)
    assert len(payload["rows"]["arr"]) == len(payload["shown_reasons"][0][0]) == len(payload["themes"]["value"]) == 15
    assert {len(own["below"]) for own in payload["whatif"]} == {len(payload["plays"]["best"])} == {15}
    assert max(payload["alerts"]["row"]) < 15
    assert payload["summary"]["arr"] == round(listed["arr"].sum()), "the summary is of all accounts"


def test_what_no_table_was_given_for_is_absent():
    listed, behind = drawn(NAMES)
    told = [feature for feature in CATALOGUE if feature["family"] not in ("tickets", "stakeholders", "sentiment")]
    payload = payload_of(render_list_page(listed, replace(behind, features=told), ListOptions()))
    assert payload["panels"]["tickets"] == payload["panels"]["people"] == payload["panels"]["opinion"] == []
    there = [name for name in TRIED if BY_NAME[name] in told]
    assert len(payload["whatif"]) == len(there) < len(TRIED), "a figure without words is not tried"
    assert len(payload["panels"]["usage"]) == len(DETAIL_FEATURES["usage"])
    assert all(features == [-1] * len(TIER_FEATURES) for features in payload["tiers"].values())


def test_a_list_of_nobody():
    listed, behind = drawn(NAMES)
    payload = payload_of(render_list_page(listed.iloc[:0], behind, ListOptions()))
    assert payload["shown"] == payload["summary"]["arr"] == 0


ROOM = {"accounts": 100, "arr": 1e9}


def test_the_summary_adds_up_and_shows_a_portfolio_that_is_too_large():
    listed, _ = drawn(NAMES)
    options = ListOptions.model_validate({"capacity": {"accounts": 4, "arr": 1e9, "managers": {"li": ROOM}}})
    told = summarize_list(listed, options)
    for part in ("months", "managers"):
        assert sum(own["accounts"] for own in told[part]) == 40
    assert sum(own["accounts"] for own in told["bands"]) == told["scored"] == listed["status"].eq("scored").sum()
    managers = {own["name"]: own for own in told["managers"]}
    assert managers["ann"]["load"] == 2.0
    assert managers["li"]["load"] == 0.08
    assert None in managers


def test_managers_beyond_those_drawn_are_counted():
    listed, _ = drawn([f"account {i}" for i in range(MAX_MANAGERS + 5)])
    told = summarize_list(listed.assign(csm=listed["account_id"]), ListOptions())
    assert (len(told["managers"]), told["managers_left_out"]) == (MAX_MANAGERS, 5)


@pytest.mark.parametrize("code", ["a</script>", "<!-- a", "<SCRIPT", "</style >"])
def test_code_that_would_end_its_element_is_refused(code):
    with pytest.raises(ValueError, match="to embed in a page"):
        bundle.embeddable_code(code)


def test_vendored_files_are_those_of_their_packages():
    shelf = files("renewals.reports.html.vendor")
    told = dict(re.findall(r"^\| `([\w.-]+)` .* `([0-9a-f]{64})` \|$", (shelf / "README.md").read_text(), re.MULTILINE))
    assert {*bundle.VEGA_SCRIPTS, "tabulator.min.js", "tabulator.min.css"} == set(told)
    assert {name: hashlib.sha256((shelf / name).read_bytes()).hexdigest() for name in told} == told


def test_every_word_that_the_code_asks_for_is_on_the_page():
    code = "".join(
        (files("renewals.reports.html") / "templates" / name).read_text() for name in ("offline.js", "risk_list.js")
    )
    keys = set(re.findall(r'"((?:page|heading|forecast|about|whatif)\.[\w.]*\w)"', code))
    keys |= {f"page.view.{view}" for view in ("list", "summary", "about")} | {
        f"page.{shelf}" for shelf in DETAIL_FEATURES
    }
    heads = re.findall(r'"(\w+)"', re.findall(r"const heads = \[(.*)\]\.map", code)[0])
    keys |= {f"page.people.{head}" for head in heads}
    assert len(keys) > 50
    for language in MESSAGES:
        assert keys <= set(list_page.page_messages(language, ListOptions()))
    words = {key for key in MESSAGES["en"] if key.startswith("page.")}
    assert words - keys == {"page.no_script"}, "words that nobody asks for"
