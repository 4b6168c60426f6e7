"""Page of the scorecard: it shows the values of the scorecard, and input texts stay text."""

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
from tests.reports.scorecards import ABSENT, MONTHS, random_scorecard
from tests.reports.small_list import HOSTILE

CSMS = ["li", "ann", *HOSTILE, "</script><script>alert(1)</script>", "bell\a", "\u202eevil", "\u200fשלום", "🦄"]
SMALL = random_scorecard(["li", "ann"])


def shown_rows(page):
    """All rows of the page, in the layout of the scorecard's JSON."""
    letters = {letter: state for state, letter in STATE_CODES.items()}
    for kind, kinds in page["figures"].items():
        for of, segments in kinds.items():
            for segment, by_measure in zip(page["segments"][of]["shown"], segments, strict=True):
                for measure, (values, numerators, denominators, states) in by_measure.items():
                    for period, *figures, letter in zip(
                        page["periods"][kind], values, numerators, denominators, states, strict=True
                    ):
                        if letter != "-":
                            yield [kind, period, of, segment, measure, *figures, letters[letter]]


def test_page_contains_every_month_and_year_row_of_the_json() -> None:
    page = payload_of(render_scorecard_page(SMALL, "en"))
    expected = [row for row in SMALL["rows"] if row[0] != "quarter"]
    assert sorted(map(repr, shown_rows(page))) == sorted(
        repr([*row[:5], *map(scorecard_page._to_shortest_number, row[5:8]), row[8]]) for row in expected
    )
    assert scorecard_page._to_shortest_number(3.0) == 3.0
    assert scorecard_page._to_shortest_number(0.1) == 0.1
    assert len(expected) > 5_000


def test_segment_without_a_row_has_no_measure() -> None:
    page = build_payload(SMALL, "en")
    unknown = page["segments"]["plan"]["shown"].index("unknown")
    assert "mau" not in page["figures"]["month"]["plan"][unknown]
    assert page["figures"]["month"]["company"][0][ABSENT][3] == "a" * len(MONTHS)


@pytest.mark.parametrize("language", sorted(MESSAGES))
def test_every_measure_has_its_definition_and_name(language: str) -> None:
    page = build_payload(SMALL, language)
    assert [entry["measure"] for entry in page["measures"]] == list(MEASURES)
    for entry, measure in zip(page["measures"], MEASURES.values(), strict=True):
        assert (entry["name"][language], entry["definition"][language]) == getattr(measure, language)
        assert entry["name"][language]
        assert entry["definition"][language]
    assert page["language"] == language
    assert all(page["segments"][kind]["name"][language] for kind in SEGMENTS)


def test_missing_measure_names_the_input_table_that_it_needs() -> None:
    page = build_payload(SMALL, "en")
    needs = {entry["measure"]: entry["needs"] for entry in page["measures"]}
    assert page["missing_measures"] == [ABSENT]
    assert needs[ABSENT] == ["surveys"]
    assert needs["dau"] == ["usage_events"], "the input table, not a table derived from it"


def test_every_measure_has_its_better_direction() -> None:
    better = {entry["measure"]: entry["better"] for entry in measures.measure_definitions()}
    assert {name for name, direction in better.items() if direction is None} == {
        *("renewals_due", "renewals_pending", "arr_pending", "multi_year_share", "cliff"),
        *("paused_arr", "fx_effect", "corrections"),
    }
    assert all(better[name] == "down" for name in better if "churn" in name or "lost" in name or "loss" in name)
    assert better["net_retention"] == better["logo_renewal_rate"] == "up"


def test_input_names_stay_text() -> None:
    content = render_scorecard_page(random_scorecard(CSMS), "en", linked_page="risk_list.html")
    elements = Elements(content).elements
    assert [tag for tag, _, _ in elements] == ["style"] * 2 + ["script"] * 6
    assert set(payload_of(content)["segments"]["csm"]["shown"]) == {make_printable(name) for name in CSMS}
    assert b"alert(1)</script>" not in content


def test_losses_by_reason_are_on_the_page() -> None:
    page = payload_of(render_scorecard_page(random_scorecard(["li"], reasons=(HOSTILE[0], "insolvent", None)), "en"))
    losses = page["losses_by_reason"]
    assert set(losses) == set(scorecard_page.PERIOD_KINDS)
    assert [row for row in losses["month"] if row["period"] == MONTHS[0]] == [
        {"period": MONTHS[0], "contracts": 3, "arr": 9000.5, "preventable": True, "reason": make_printable(HOSTILE[0])},
        {"period": MONTHS[0], "contracts": 2, "arr": 4500.25, "preventable": False, "reason": "insolvent"},
        {"period": MONTHS[0], "contracts": 1, "arr": 9000.5 / 3, "preventable": True, "reason": None},
    ]


def test_content_security_policy_allows_only_code_of_the_page() -> None:
    content = render_scorecard_page(SMALL, "en")
    elements = Elements(content)
    rules = dict(rule.split(" ", 1) for rule in elements.policy.split("; "))
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    for tag in ("script", "style"):
        digests = [
            f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
            for name, attributes, text in elements.elements
            if name == tag and attributes.get("type") != "application/json"
        ]
        assert rules[f"{tag}-src"].split() == digests
    assert not [attributes for _, attributes, _ in elements.elements if {"src", "href"} & set(attributes)]
    template_part = content.decode().split('<script type="application/json"')[0]
    assert not re.search(r"https?://", template_part)
    assert not re.search(
        r"https?://", "".join(text for _, attributes, text in elements.elements if attributes.get("id") == "payload")
    )


def test_page_bytes_depend_only_on_the_scorecard() -> None:
    assert render_scorecard_page(SMALL, "en") == render_scorecard_page(random_scorecard(["li", "ann"]), "en")
    assert render_scorecard_page(SMALL, "en") != render_scorecard_page(random_scorecard(["li", "ann"], seed=4), "en")


def test_page_links_to_the_list_only_if_it_exists() -> None:
    assert b'<a id="beside" href="risk_list.html">' in render_scorecard_page(SMALL, "en", linked_page="risk_list.html")
    assert b'id="beside"' not in render_scorecard_page(SMALL, "en").split(b"<script")[0]


def test_only_the_largest_segments_are_shown_and_the_rest_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"m{i}" for i in range(9)]
    card = random_scorecard(names)
    monkeypatch.setattr(scorecard_page, "MAX_SEGMENTS", 4)
    page = build_payload(card, "en")
    last = {
        row[3]: row[5] for row in card["rows"] if row[:3] == ["month", MONTHS[-1], "csm"] and row[4] == "arr"
    }  # fmt: skip
    assert page["segments"]["csm"]["shown"] == sorted(names, key=lambda name: -last[name])[:4]
    assert page["segments"]["csm"]["left_out"] == 5
    assert len(page["figures"]["month"]["csm"]) == 4


def test_scorecard_without_a_period_gives_a_page() -> None:
    page = payload_of(render_scorecard_page({**SMALL, "rows": [], "periods": []}, "zh"))
    assert page["periods"] == {"month": [], "trailing_year": []}


def used_keys() -> set[str]:
    """The message keys in the code of the page."""
    code = "".join(
        (files("renewals.reports.html") / "templates" / name).read_text() for name in ("offline.js", "scorecard.js")
    )
    keys = set(re.findall(r'"((?:page|scorecard)\.[\w.]*\w)"', code))
    lists = re.findall(r"\[([^]]*)\]\.map\(\((?:head|own)\) => say\(`scorecard\.\$\{\w+\}`\)", code)
    keys |= {f"scorecard.{heading}" for text in lists for heading in re.findall(r'"(\w+)"', text)}
    keys |= {f"scorecard.state.{state}" for state in (*STATE_CODES, "provisional", "none")}
    keys |= {f"scorecard.open.{m.final_after}" for m in MEASURES.values()}
    return (
        keys | {f"scorecard.{kind}" for kind in scorecard_page.PERIOD_KINDS} | {"scorecard.better", "scorecard.worse"}
    )


@pytest.mark.parametrize("language", sorted(MESSAGES))
def test_page_contains_exactly_the_messages_of_its_code(language: str) -> None:
    messages = build_payload(SMALL, "en")["words"][language]
    keys = used_keys()
    assert keys <= set(messages)
    assert {key for key in messages if key.startswith("scorecard.")} - keys == set()


def test_measure_with_an_unknown_rule_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MEASURES, "extra", replace(MEASURES["nps"], name="extra", rule="K11"))
    page = build_payload(random_scorecard(["li"]), "en")
    assert "extra" in page["figures"]["month"]["company"][0]
