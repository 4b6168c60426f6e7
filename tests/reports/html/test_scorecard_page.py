"""The page of the scorecard: it says what the scorecard says, and nothing from outside can make anything of it."""

import base64
import hashlib
import re
from dataclasses import replace
from importlib.resources import files

import pytest

from renewals.features.scorecard import measures
from renewals.features.scorecard.measures import MEASURES
from renewals.features.scorecard.totals import SEGMENTS
from renewals.reports.html import scorecard_page
from renewals.reports.html.scorecard_page import STATE_CODES, build_payload, render_scorecard_page
from renewals.reports.sanitize import make_printable
from renewals.reports.words import MESSAGES
from tests.reports.pages import Elements, payload_of
from tests.reports.scorecards import ABSENT, MONTHS, told
from tests.reports.small_list import HOSTILE

CSMS = ["li", "ann", *HOSTILE, "</script><script>alert(1)</script>", "bell\a", "\u202eevil", "\u200fשלום", "🦄"]
SMALL = told(["li", "ann"])


def shown(page):
    """Every row that the page shows, as the scorecard's JSON would write it."""
    letters = {letter: state for state, letter in STATE_CODES.items()}
    for kind, kinds in page["figures"].items():
        for of, segments in kinds.items():
            for segment, own in zip(page["segments"][of]["shown"], segments, strict=True):
                for measure, (values, numerators, denominators, states) in own.items():
                    for period, *figures, letter in zip(
                        page["periods"][kind], values, numerators, denominators, states, strict=True
                    ):
                        if letter != "-":
                            yield [kind, period, of, segment, measure, *figures, letters[letter]]


def test_it_says_every_figure_of_the_months_and_years_as_the_json_has_it() -> None:
    page = payload_of(render_scorecard_page(SMALL, "en"))
    said = [row for row in SMALL["rows"] if row[0] != "quarter"]
    assert sorted(map(repr, shown(page))) == sorted(
        repr([*row[:5], *map(scorecard_page._to_shortest_number, row[5:8]), row[8]]) for row in said
    )
    assert scorecard_page._to_shortest_number(3.0) == 3.0
    assert scorecard_page._to_shortest_number(0.1) == 0.1
    assert len(said) > 5_000


def test_a_segment_says_nothing_where_the_scorecard_has_no_row() -> None:
    page = build_payload(SMALL, "en")
    unknown = page["segments"]["plan"]["shown"].index("unknown")
    assert "mau" not in page["figures"]["month"]["plan"][unknown]
    assert page["figures"]["month"]["company"][0][ABSENT][3] == "a" * len(MONTHS)


@pytest.mark.parametrize("language", sorted(MESSAGES))
def test_every_measure_has_its_definition_and_name(language: str) -> None:
    page = build_payload(SMALL, language)
    assert [own["measure"] for own in page["measures"]] == list(MEASURES)
    for own, measure in zip(page["measures"], MEASURES.values(), strict=True):
        assert (own["name"][language], own["definition"][language]) == getattr(measure, language)
        assert own["name"][language]
        assert own["definition"][language]
    assert page["language"] == language
    assert all(page["segments"][kind]["name"][language] for kind in SEGMENTS)


def test_what_is_absent_names_the_table_that_a_company_gives() -> None:
    page = build_payload(SMALL, "en")
    needs = {own["measure"]: own["needs"] for own in page["measures"]}
    assert page["missing_measures"] == [ABSENT]
    assert needs[ABSENT] == ["surveys"]
    assert needs["dau"] == ["usage_events"], "the company's table, not the one that is made of it"


def test_which_way_is_good_is_known_of_every_measure() -> None:
    better = {own["measure"]: own["better"] for own in measures.measure_definitions()}
    assert {name for name, way in better.items() if way is None} == {"renewals_due", "renewals_pending", "arr_pending"}
    assert all(better[name] == "down" for name in better if "churn" in name or "lost" in name or "loss" in name)
    assert better["net_retention"] == better["logo_renewal_rate"] == "up"


def test_names_from_outside_stay_text() -> None:
    content = render_scorecard_page(told(CSMS), "en", linked_page="risk_list.html")
    found = Elements(content).found
    assert [tag for tag, _, _ in found] == ["style"] * 2 + ["script"] * 6
    assert set(payload_of(content)["segments"]["csm"]["shown"]) == {make_printable(name) for name in CSMS}
    assert b"alert(1)</script>" not in content


def test_only_its_own_code_may_run_and_nothing_is_loaded() -> None:
    content = render_scorecard_page(SMALL, "en")
    elements = Elements(content)
    rules = dict(rule.split(" ", 1) for rule in elements.policy.split("; "))
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    for tag in ("script", "style"):
        digests = [
            f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
            for own, given, text in elements.found
            if own == tag and given.get("type") != "application/json"
        ]
        assert rules[f"{tag}-src"].split() == digests
    assert not [given for _, given, _ in elements.found if {"src", "href"} & set(given)]
    ours = content.decode().split('<script type="application/json"')[0]
    assert not re.search(r"https?://", ours)
    assert not re.search(
        r"https?://", "".join(text for _, given, text in elements.found if given.get("id") == "payload")
    )


def test_the_same_scorecard_gives_the_same_bytes_and_another_other_ones() -> None:
    assert render_scorecard_page(SMALL, "en") == render_scorecard_page(told(["li", "ann"]), "en")
    assert render_scorecard_page(SMALL, "en") != render_scorecard_page(told(["li", "ann"], seed=4), "en")


def test_it_links_to_the_list_only_where_one_lies_beside() -> None:
    assert b'<a id="beside" href="risk_list.html">' in render_scorecard_page(SMALL, "en", linked_page="risk_list.html")
    assert b'id="beside"' not in render_scorecard_page(SMALL, "en").split(b"<script")[0]


def test_segments_beyond_those_shown_are_counted_and_the_largest_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"m{i}" for i in range(9)]
    card = told(names)
    monkeypatch.setattr(scorecard_page, "MAX_SEGMENTS", 4)
    page = build_payload(card, "en")
    last = {
        row[3]: row[5] for row in card["rows"] if row[:3] == ["month", MONTHS[-1], "csm"] and row[4] == "arr"
    }  # fmt: skip
    assert page["segments"]["csm"]["shown"] == sorted(names, key=lambda own: -last[own])[:4]
    assert page["segments"]["csm"]["left_out"] == 5
    assert len(page["figures"]["month"]["csm"]) == 4


def test_a_scorecard_without_a_period_is_a_page() -> None:
    page = payload_of(render_scorecard_page({**SMALL, "rows": [], "periods": []}, "zh"))
    assert page["periods"] == {"month": [], "trailing_year": []}


def asked_for() -> set[str]:
    """The words that the page's code asks for by name."""
    code = "".join(
        (files("renewals.reports.html") / "templates" / name).read_text() for name in ("offline.js", "scorecard.js")
    )
    keys = set(re.findall(r'"((?:page|scorecard)\.[\w.]*\w)"', code))
    heads = re.findall(r"\[([^]]*)\]\.map\(\((?:head|own)\) => say\(`scorecard\.\$\{\w+\}`\)", code)
    keys |= {f"scorecard.{head}" for text in heads for head in re.findall(r'"(\w+)"', text)}
    keys |= {f"scorecard.state.{state}" for state in (*STATE_CODES, "provisional", "none")}
    keys |= {f"scorecard.open.{m.final_after}" for m in MEASURES.values()}
    return (
        keys | {f"scorecard.{kind}" for kind in scorecard_page.PERIOD_KINDS} | {"scorecard.better", "scorecard.worse"}
    )


@pytest.mark.parametrize("language", sorted(MESSAGES))
def test_every_word_that_the_code_asks_for_is_on_the_page_and_no_other(language: str) -> None:
    words = build_payload(SMALL, "en")["words"][language]
    keys = asked_for()
    assert keys <= set(words)
    assert {key for key in words if key.startswith("scorecard.")} - keys == set()


def test_a_measure_of_a_rule_nobody_thought_of_is_shown_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MEASURES, "extra", replace(MEASURES["nps"], name="extra", rule="K11"))
    page = build_payload(told(["li"]), "en")
    assert "extra" in page["figures"]["month"]["company"][0]
