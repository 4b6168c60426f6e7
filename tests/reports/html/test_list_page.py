"""Page of the risk list: its payload, and the safety of its texts."""

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
from renewals.pipelines.storage.notices import add_texts, history_notices
from renewals.reports.html import bundle, list_page
from renewals.reports.html.bundle import html_safe_json
from renewals.reports.html.list_page import DETAIL_FEATURES, TIER_FEATURES, render_list_page
from renewals.reports.list_summary import MAX_MANAGERS, summarize_list
from renewals.reports.sanitize import make_printable
from renewals.reports.sentences.alerts import alert_sentence
from renewals.reports.settings import ListOptions
from renewals.reports.words import MESSAGES, Messages
from tests.reports.pages import BY_NAME, CATALOGUE, LIBRARY, TRIED, Elements, page, payload_of, random_list, sentence_of
from tests.reports.small_list import HOSTILE

NAMES = [f"account {i}" for i in range(40)]
ENDING = (
    *("</script><script>alert(1)</script>", "<!--<script>", "a\u2028b\u2029c", "&amp;&lt;"),
    *("</SCRIPT >", "]]>", "\\u003c", "\ue000 \ue001"),
)


def compose_sentence(payload, language, feature, code, row):
    """Build a sentence from its pieces as the page does."""
    texts = payload["features"][feature][language]
    pieces = texts["known"] if code >= 0 else texts["unknown"]
    fill = {
        ACCOUNT_VALUE: texts["own"][code] if code >= 0 else None,
        PEER_VALUE: texts["peers"][payload["rows"]["group"][row]],
    }
    return "".join(fill.get(piece, piece) for piece in pieces)


@pytest.mark.parametrize("language", sorted(MESSAGES))
def test_page_shows_each_reason_and_strength_in_each_language_as_the_list_does(language):
    content, listed, page_data = page(NAMES)
    payload, compared = payload_of(content), 0
    columns = [*(f"reason_{k}" for k in range(1, 6)), *(f"strength_{k}" for k in range(1, 4))]
    for column, (features, codes) in zip(columns, payload["shown_reasons"], strict=True):
        names = listed.get(f"{column}_feature", page_data.strengths.get(f"{column}_feature"))
        for row, (feature, code) in enumerate(zip(features, codes, strict=True)):
            if feature < 0:
                assert pd.isna(listed[column].iloc[row])
                continue
            sentence = compose_sentence(payload, language, feature, code, row)
            assert sentence == sentence_of(page_data, row, names.iloc[row], language)
            assert language != "en" or sentence == listed[column].iloc[row]
            compared += 1
    assert compared > 200


@pytest.mark.parametrize("language", sorted(MESSAGES))
def test_every_value_of_the_drawer_has_its_sentence(language):
    content, listed, page_data = page(NAMES)
    payload = payload_of(content)
    names = list_page.page_features(listed, page_data.strengths, page_data.what_if_grid, CATALOGUE)
    assert set(payload["panels"]) == set(DETAIL_FEATURES)
    for feature in (sentence for panel in payload["panels"].values() for sentence in panel):
        for row in range(len(NAMES)):
            if listed["status"].iloc[row] != "scored":
                assert payload["figures"][str(feature)][row] == -1
                continue
            sentence = compose_sentence(payload, language, feature, payload["figures"][str(feature)][row], row)
            assert sentence == make_printable(sentence_of(page_data, row, names[feature], language))


def test_drawer_features_exist():
    requested = {name for names in DETAIL_FEATURES.values() for name in names}
    requested |= {name.format(tier=tier) for name in TIER_FEATURES for tier in "sab"}
    assert requested <= set(BY_NAME)
    assert list_page.TERM_AGE in BY_NAME


@pytest.mark.parametrize("language", sorted(MESSAGES))
def test_every_what_if_value_has_its_text_and_probability(language):
    content, listed, page_data = page(NAMES)
    payload, count = payload_of(content), 0
    names = list_page.page_features(listed, page_data.strengths, page_data.what_if_grid, CATALOGUE)
    assert [names[feature["feature"]] for feature in payload["whatif"]] == list(TRIED)
    for name, feature in zip(TRIED, payload["whatif"], strict=True):
        for row in range(len(NAMES)):
            grid = page_data.what_if_grid[
                (page_data.what_if_grid.index == row) & (page_data.what_if_grid["feature"] == name)
            ].sort_values("value")
            steps = feature["steps"][language][payload["rows"]["group"][row]] if len(grid) else []
            shown = [(text, probabilities[row]) for text, probabilities in zip(steps, feature["chances"], strict=False)]
            phrases = Messages(language).phrases()
            assert [(text, f"{probability}%") for text, probability in shown if probability >= 0] == [
                (format_value(BY_NAME[name], value, phrases), f"{probability:.0%}")
                for value, probability in grid[["value", "probability"]].itertuples(index=False)
            ]
            assert feature["below"][row] == (grid["value"] < page_data.feature_values[name].iloc[row]).sum()
            count += len(grid)
    assert count == len(page_data.what_if_grid) > 300


@pytest.mark.parametrize("language", sorted(MESSAGES))
def test_every_alert_has_its_sentence(language):
    content, _, page_data = page(NAMES)
    alerts = payload_of(content)["alerts"]
    sentences, codes = alerts["sentences"][language], alerts["code"]
    assert alerts["row"] == page_data.alerts.index.tolist()
    assert [codes["texts"][code] for code in codes["codes"]] == page_data.alerts["code"].tolist()
    assert [sentences["texts"][code] for code in sentences["codes"]] == [
        alert_sentence({**alert, "tier": None if pd.isna(alert["tier"]) else alert["tier"]}, Messages(language))
        for alert in page_data.alerts.to_dict("records")
    ]
    assert alerts["new"] == page_data.alerts["is_new"].astype(int).tolist()
    assert any("2026年5月4日" in text for text in sentences["texts"]) == (language == "zh")


def test_playbooks_have_texts_in_every_language_and_the_gain_of_the_best():
    content, listed, _ = page(NAMES)
    plays = payload_of(content)["plays"]
    for language in MESSAGES:
        assert [entry[language]["name"] for entry in plays["library"]] == [
            play["name"][language] for play in LIBRARY.values()
        ]
        assert [entry[language]["steps"] for entry in plays["library"]] == [
            play["steps"][language] for play in LIBRARY.values()
        ]
    prescribed = listed["playbook_1"].notna()
    assert plays["slots"] == [
        [0 if entry else -1 for entry in prescribed],
        [1 if entry else -1 for entry in prescribed],
        [-1] * len(NAMES),
    ]
    assert plays["best"] == plays["slots"][1]
    assert [entry is not None for entry in plays["gain"]] == prescribed.tolist()


def test_contract_start_is_shown_as_days_before_the_list():
    content, _, page_data = page(NAMES)
    ages = payload_of(content)["started"]
    assert ages == [None if pd.isna(age) else round(age) for age in page_data.feature_values["term_age"]]
    assert None in ages


def test_no_input_text_ends_its_html_element():
    names = [*HOSTILE, *ENDING]
    listed, page_data = random_list(names)
    content = render_list_page(listed.assign(csm=names), page_data, ListOptions())
    elements = Elements(content).elements
    assert [tag for tag, _, _ in elements] == ["style"] * 3 + ["script"] * 7
    rows = payload_of(content)["rows"]
    for column in ("account_name", "csm"):
        texts = rows[column]
        assert [texts["texts"][code] for code in texts["codes"]] == [make_printable(name) for name in names]
    assert b"alert(1)</script>" not in content


def test_notices_come_first_in_every_language_and_are_escaped():
    notices = [{"en": f"<b>{ENDING[0]}", "zh": "请注意<i>"}, {"en": "Second & last", "zh": "第二"}]
    listed, page_data = random_list(NAMES)
    content = render_list_page(listed, replace(page_data, notices=notices), ListOptions()).decode()
    before = content.partition("<body>")[2].partition("<header>")[0]
    shown = re.findall(r'<ul lang="([\w-]+)">(.*?)</ul>', before)
    assert [(tag, [html.unescape(item) for item in re.findall("<li>(.*?)</li>", items)]) for tag, items in shown] == [
        ("en", [item["en"] for item in notices]),
        ("zh-Hans", [item["zh"] for item in notices]),
    ]
    assert "alert(1)</script>" not in content
    assert 'class="notices"' not in render_list_page(listed, page_data, ListOptions()).decode()


@pytest.mark.parametrize("language", sorted(MESSAGES))
def test_page_has_the_sentences_about_columns_without_a_history_but_not_among_the_notices(language):
    history = add_texts(history_notices({"left_out": ["contracts.auto_renew"], "kept": [ENDING[0]]}))
    listed, page_data = random_list(NAMES)
    content = render_list_page(listed, replace(page_data, history=history), ListOptions())
    payload = payload_of(content)
    assert payload["history"][language] == [record[language] for record in history]
    assert "contracts.auto_renew" in payload["history"][language][0]
    assert payload["words"][language]["page.about_data"] == {"en": "About the data", "zh": "关于数据"}[language]
    assert b'class="notices"' not in content
    assert b"alert(1)</script>" not in content
    without = payload_of(render_list_page(listed, page_data, ListOptions()))
    assert without["history"] == {name: [] for name in MESSAGES}


def test_json_contains_no_character_with_a_meaning_in_html():
    text = html_safe_json(list(ENDING))
    assert not set(text) & set("<>&\u2028\u2029")
    assert json.loads(text) == list(ENDING)


def test_content_security_policy_allows_only_code_of_the_page():
    elements = Elements(page(NAMES)[0])
    rules = dict(rule.split(" ", 1) for rule in elements.policy.split("; "))
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    assert rules.pop("img-src") == "data:"
    digest = {
        tag: [
            f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
            for name, attributes, text in elements.elements
            if name == tag and attributes.get("type") != "application/json"
        ]
        for tag in ("script", "style")
    }
    assert rules["script-src"].split() == digest["script"]
    assert rules["style-src"].split() == digest["style"]
    assert len(digest["script"]) == 6
    assert not [attributes for _, attributes, _ in elements.elements if "src" in attributes]


def test_same_list_gives_the_same_bytes():
    assert page(NAMES)[0] == page(NAMES)[0]


def test_page_is_limited_to_page_rows():
    content, listed, _ = page(NAMES, page_rows=15)
    payload = payload_of(content)
    assert (payload["shown"], payload["accounts"]) == (15, 40)
    assert len(payload["rows"]["arr"]) == len(payload["shown_reasons"][0][0]) == len(payload["themes"]["value"]) == 15
    assert {len(feature["below"]) for feature in payload["whatif"]} == {len(payload["plays"]["best"])} == {15}
    assert max(payload["alerts"]["row"]) < 15
    assert payload["summary"]["arr"] == round(listed["arr"].sum()), "the summary is of all accounts"


def test_features_of_missing_tables_are_absent():
    listed, page_data = random_list(NAMES)
    available = [feature for feature in CATALOGUE if feature["family"] not in ("tickets", "stakeholders", "sentiment")]
    payload = payload_of(render_list_page(listed, replace(page_data, features=available), ListOptions()))
    assert payload["panels"]["tickets"] == payload["panels"]["people"] == payload["panels"]["opinion"] == []
    tried = [name for name in TRIED if BY_NAME[name] in available]
    assert len(payload["whatif"]) == len(tried) < len(TRIED), "a feature without a sentence has no what-if grid"
    assert len(payload["panels"]["usage"]) == len(DETAIL_FEATURES["usage"])
    assert all(features == [-1] * len(TIER_FEATURES) for features in payload["tiers"].values())


def test_page_of_an_empty_list():
    listed, page_data = random_list(NAMES)
    payload = payload_of(render_list_page(listed.iloc[:0], page_data, ListOptions()))
    assert payload["shown"] == payload["summary"]["arr"] == 0


CAPACITY = {"accounts": 100, "arr": 1e9}


def test_summary_adds_up_and_shows_the_load_of_portfolios():
    listed, _ = random_list(NAMES)
    options = ListOptions.model_validate({"capacity": {"accounts": 4, "arr": 1e9, "managers": {"li": CAPACITY}}})
    summary = summarize_list(listed, options)
    for part in ("months", "managers"):
        assert sum(entry["accounts"] for entry in summary[part]) == 40
    assert (
        sum(entry["accounts"] for entry in summary["bands"]) == summary["scored"] == listed["status"].eq("scored").sum()
    )
    managers = {entry["name"]: entry for entry in summary["managers"]}
    assert managers["ann"]["load"] == 2.0
    assert managers["li"]["load"] == 0.08
    assert None in managers


def test_managers_beyond_the_maximum_are_counted():
    listed, _ = random_list([f"account {i}" for i in range(MAX_MANAGERS + 5)])
    summary = summarize_list(listed.assign(csm=listed["account_id"]), ListOptions())
    assert (len(summary["managers"]), summary["managers_left_out"]) == (MAX_MANAGERS, 5)


@pytest.mark.parametrize("code", ["a</script>", "<!-- a", "<SCRIPT", "</style >"])
def test_code_that_would_end_its_element_is_refused(code):
    with pytest.raises(ValueError, match="to embed in a page"):
        bundle.embeddable_code(code)


def test_vendored_files_have_the_checksums_of_their_packages():
    folder = files("renewals.reports.html.vendor")
    checksums = dict(
        re.findall(r"^\| `([\w.-]+)` .* `([0-9a-f]{64})` \|$", (folder / "README.md").read_text(), re.MULTILINE)
    )
    assert {*bundle.VEGA_SCRIPTS, "tabulator.min.js", "tabulator.min.css"} == set(checksums)
    assert {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in checksums} == checksums


def test_every_message_key_of_the_page_code_exists():
    code = "".join(
        (files("renewals.reports.html") / "templates" / name).read_text() for name in ("offline.js", "risk_list.js")
    )
    keys = set(re.findall(r'"((?:page|heading|forecast|about|whatif)\.[\w.]*\w)"', code))
    keys |= {f"page.view.{view}" for view in ("list", "summary", "about")} | {
        f"page.{panel}" for panel in DETAIL_FEATURES
    }
    headings = re.findall(r'"(\w+)"', re.findall(r"const heads = \[(.*)\]\.map", code)[0])
    keys |= {f"page.people.{heading}" for heading in headings}
    assert len(keys) > 50
    for language in MESSAGES:
        assert keys <= set(list_page.page_messages(language, ListOptions()))
    messages = {key for key in MESSAGES["en"] if key.startswith("page.")}
    assert messages - keys == {"page.no_script"}, "unused messages"
