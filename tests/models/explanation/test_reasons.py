import string
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from renewals.features.registry import FAMILIES, feature_metadata
from renewals.models.explanation.reasons import (
    PeerStatistics,
    Phrases,
    base_feature,
    concatenate_reasons,
    explain_scores,
    peer_statistics,
    render_reasons,
    render_sentence,
    select_reasons,
    theme_contributions,
)
from renewals.reports.words import Messages

ENGLISH, CHINESE = Messages("en").phrases(), Messages("zh").phrases()


def feature(name: str, risk: str = "low", **fields: Any) -> dict[str, Any]:
    return {
        "name": name,
        "family": "usage",
        "theme": f"of {name}",
        "risk": risk,
        "actionable": True,
        "en": name + ": {value:.0f} (peers: {peer:.0f})",
        "zh": name + ":{value:.0f}(同类客户:{peer:.0f})",
        "params": {},
    } | fields


def explain_account(
    contributions: dict[str, float],
    values: dict[str, Any],
    typical: dict[str, Any],
    *features: dict[str, Any],
    share: float = 0.0,
) -> pd.Series:
    """Reasons and strengths of one account, empty ones left out."""
    peers = PeerStatistics(pd.DataFrame([typical], dtype=object), np.zeros(1, np.intp))
    explained = explain_scores(pd.DataFrame([contributions]), pd.DataFrame([values]), features, peers, ENGLISH, share)
    return explained.iloc[0].dropna()


PEOPLE = {
    "family": "stakeholders",
    "en": "{value:.0f} {tier} used the product in the last {days} days (peers: {peer:.0f})",
    "zh": "近 {days} 天有 {value:.0f} 位{tier}使用产品(同类客户:{peer:.0f} 位)",
}


def test_sentence_shows_the_value_and_its_peers_in_both_languages() -> None:
    people = feature("people_active_s_28d", params={"tier": "S", "days": 28}, **PEOPLE)
    assert (
        render_sentence(people, 1.0, 3.0, ENGLISH)
        == "1 decision makers used the product in the last 28 days (peers: 3)"
    )
    assert render_sentence(people, 1.0, 3.0, CHINESE) == "近 28 天有 1 位决策者使用产品(同类客户:3 位)"


@pytest.mark.parametrize(
    ("template", "value", "peer", "empty", "sentence"),
    [
        ("used {value:.0f} days ago (peers: {peer:.0f})", 366.0, 4.0, 366, "Used 366+ days ago (peers: 4)"),
        ("used {value:.0f} days ago (peers: {peer:.0f})", 365.0, 4.0, 366, "Used 365 days ago (peers: 4)"),
        ("{value:.0f} people (peers: {peer:.0f})", 0.0, 0.0, 0, "0 people (peers: 0)"),
        ("change {value:+.0%} (peers: {peer:+.0%})", -0.001, -0.256, None, "Change 0% (peers: -26%)"),
        ("{value:.0f} seats (peers: {peer:.0f})", None, 12.0, None, "No figure yet: – seats (peers: 12)"),
        ("{value:.0f} seats (peers: {peer:.0f})", 3.0, float("nan"), None, "3 seats (peers: –)"),
        ("{value:.0f} seats (peers: {peer:.0f})", float("inf"), 1.0, None, "No figure yet: – seats (peers: 1)"),
        ("on plan {value} (most peers: {peer})", "{pro} <b>", "basic", None, "On plan {pro} <b> (most peers: basic)"),
    ],
)
def test_value_formats_within_a_sentence(template: str, value: Any, peer: Any, empty: Any, sentence: str) -> None:
    assert render_sentence(feature("any", en=template, empty=empty), value, peer, ENGLISH) == sentence


def test_yes_and_no_are_written_out() -> None:
    signed = feature("signed", unit="yes or no", en="follow-on signed: {value:.0f} (most peers: {peer})")
    assert render_sentence(signed, 0.0, 1.0, ENGLISH) == "Follow-on signed: no (most peers: yes)"
    assert render_sentence(signed, None, 0.0, ENGLISH) == "No figure yet: Follow-on signed: – (most peers: no)"


def test_error_of_an_unknown_placeholder_names_the_feature() -> None:
    with pytest.raises(ValueError, match="the en sentence of seats"):
        render_sentence(feature("seats", en="{value} {plan}"), 1.0, 1.0, ENGLISH)


def test_theme_has_one_reason_with_its_summed_contribution() -> None:
    windows = [feature(f"people_{d}d", theme="adoption") for d in (7, 28, 90)]
    explained = explain_account(
        {"people_7d": -0.1, "people_28d": -0.5, "people_90d": 0.2},
        {"people_7d": 1, "people_28d": 2, "people_90d": 3},
        {"people_7d": 5, "people_28d": 6, "people_90d": 7},
        *windows,
    )
    assert explained["reason_1"] == "People_28d: 2 (peers: 6)"
    assert explained["reason_1_feature"] == "people_28d"
    assert explained["reason_1_theme"] == "adoption"
    assert explained["reason_1_contribution"] == pytest.approx(-0.4)
    assert "reason_2" not in explained
    assert "strength_1" not in explained


def test_themes_are_ranked_by_the_sum_of_their_columns() -> None:
    """Three small contributions about value outweigh a larger one about support."""
    several = [feature(name, theme="value") for name in "abc"]
    contributions = {"a": -0.3, "b": -0.3, "c": -0.3, "bugs": -0.5}
    zero, one = dict.fromkeys(contributions, 0), dict.fromkeys(contributions, 1)
    explained = explain_account(contributions, zero, one, *several, feature("bugs", theme="support"))
    assert [explained["reason_1_theme"], explained["reason_2_theme"]] == ["value", "support"]
    assert [explained["reason_1_contribution"], explained["reason_2_contribution"]] == pytest.approx([-0.9, -0.5])
    assert "reason_3" not in explained


def test_theme_is_represented_by_its_strongest_base_feature() -> None:
    """Responses are late in each window; `spread` weighs more than each of these columns and less than their sum."""
    late = [feature(f"hours_{d}d", "high", theme="support", params={"days": d}) for d in (90, 180, 365)]
    spread = feature("spread", "high", theme="support")
    contributions = {"hours_90d": -0.2, "hours_180d": -0.3, "hours_365d": -0.25, "spread": -0.4}
    values, typical = dict.fromkeys(contributions, 9), dict.fromkeys(contributions, 5)
    explained = explain_account(contributions, values, typical, spread, *late)
    assert (explained["reason_1_feature"], explained["reason_1_contribution"]) == ("hours_180d", pytest.approx(-1.15))
    assert (
        explain_account(contributions, values | {"hours_180d": 5}, typical, spread, *late)["reason_1_feature"]
        == "hours_365d"
    )
    assert (
        explain_account(contributions, values | dict.fromkeys(list(contributions)[:3], 5), typical, spread, *late)[
            "reason_1_feature"
        ]
        == "spread"
    )


def test_theme_with_a_positive_sum_is_no_reason() -> None:
    windows = [feature(f"people_{d}d", theme="adoption") for d in (7, 28)]
    values, typical = {"people_7d": 1, "people_28d": 9}, {"people_7d": 5, "people_28d": 6}
    explained = explain_account({"people_7d": -0.3, "people_28d": 0.5}, values, typical, *windows)
    assert "reason_1" not in explained
    assert explained["strength_1"] == "People_28d: 9 (peers: 6)"


@pytest.mark.parametrize(
    ("risk", "value", "typical", "contribution", "kind"),
    [
        ("low", 2, 6, -1.0, "reason_1"),
        ("low", 9, 6, -1.0, None),  # more use than the peers is no reason for loss
        ("low", 9, 6, 1.0, "strength_1"),
        ("low", 2, 6, 1.0, None),
        ("low", 6, 6, -1.0, None),  # a value equal to the peers is neither
        ("low", 6, 6, 1.0, None),
        ("low", 0, 0, -1.0, "reason_1"),  # no use is a reason even if it is typical
        ("low", 0, 0, 1.0, None),  # and no strength
        ("high", 9, 6, -1.0, "reason_1"),
        ("high", 2, 6, -1.0, None),
        ("high", 0, 0, -1.0, None),  # no breach is no reason
        ("high", 0, 0, 1.0, None),  # and no strength where the peers have none either
        ("high", 0, 2, 1.0, "strength_1"),
        ("high", 0, None, -1.0, None),  # with an unknown typical value
        ("low", 0, None, 1.0, None),
        ("either", 9, 6, -1.0, "reason_1"),
        ("either", 2, 6, -1.0, "reason_1"),
        ("either", 6, 6, -1.0, None),
        ("high", 11.3, 10.8, -1.0, None),  # both are shown as 11
        ("either", 5.8, 6.2, -1.0, None),
        ("low", None, 6, -1.0, "reason_1"),  # an unknown value contradicts nothing
        ("low", None, 6, 1.0, None),  # but an unknown value is no strength
        ("either", None, 6, 1.0, None),
    ],
)
def test_sentence_never_contradicts_its_value(
    risk: str, value: Any, typical: Any, contribution: float, kind: str | None
) -> None:
    explained = explain_account({"x": contribution}, {"x": value}, {"x": typical}, feature("x", risk))
    assert [name for name in explained.index if name in ("reason_1", "strength_1")] == ([kind] if kind else [])


def test_category_of_most_peers_is_no_reason() -> None:
    plan = feature("plan", "either", kind="category", en="on plan {value} (most peers: {peer})")
    for value, sentence in (
        ("basic", "On plan basic (most peers: pro)"),
        ("pro", None),
        (None, "No figure yet: On plan – (most peers: pro)"),
    ):
        assert explain_account({"plan": -1.0}, {"plan": value}, {"plan": "pro"}, plan).get("reason_1") == sentence


def test_reasons_are_sorted_by_strength_without_weak_reasons() -> None:
    names = list("abcdefgh")
    contributions = dict(zip(names, (-0.5, -0.9, -0.7, -0.01, 0.8, -0.6, -0.4, -0.3), strict=True))
    zero, one = dict.fromkeys(names, 0), dict.fromkeys(names, 1)
    explained = explain_account(contributions, zero | {"e": 2}, one, *map(feature, names), share=0.05)
    assert [explained[f"reason_{k}_feature"] for k in range(1, 6)] == ["b", "c", "f", "a", "g"]
    assert explained["strength_1"] == "E: 2 (peers: 1)"
    assert "strength_2" not in explained
    explained = explain_account(
        {"a": -1.0, "b": -0.04}, {"a": 0, "b": 0}, {"a": 1, "b": 1}, feature("a"), feature("b"), share=0.05
    )
    assert "reason_2" not in explained


def test_feature_without_a_sentence_counts_in_the_total_but_is_not_shown() -> None:
    explained = explain_account(
        {"a": -0.1, "unnamed": -5.0}, {"a": 0, "unnamed": 0}, {"a": 1, "unnamed": 1}, feature("a"), share=0.05
    )
    assert "reason_1" not in explained
    with pytest.raises(ValueError, match="no values for a"):
        explain_account({"a": -0.1}, {"b": 0}, {"a": 1}, feature("a"))


def test_base_feature_is_the_function_without_its_parameters() -> None:
    assert base_feature(feature("active_people_28d", params={"days": 28})) == "active_people"
    assert base_feature(feature("contacts_s_90d", params={"tier": "S", "days": 90})) == "contacts"
    assert base_feature(feature("seats")) == "seats"
    assert base_feature(feature("seats", function="places")) == "places"


def test_peers_share_size_and_stage_or_size_or_are_all_accounts() -> None:
    band = pd.Series(["small"] * 5 + ["large"] * 3 + ["medium"], index=range(100, 109))
    stage = pd.Series(["steady"] * 4 + ["onboarding"] + ["steady", "steady", "onboarding", "steady"], index=band.index)
    values = pd.DataFrame(
        {"x": [1.0, 2.0, 3.0, 4.0, 50.0, 7.0, 9.0, np.nan, 100.0], "plan": list("aabbbccac")}, band.index
    )
    peers = peer_statistics(values, band, stage, min_peers=3)
    typical = peers.typical_values.iloc[peers.group].set_axis(band.index)
    assert typical["x"].tolist() == [2.5] * 4 + [3.0] + [8.0] * 3 + [5.5]
    assert typical["plan"].tolist() == ["a"] * 4 + ["b"] + ["c"] * 3 + ["a"]


def test_blocks_and_row_order_change_no_text() -> None:
    rng = np.random.default_rng(3)
    features = [
        feature(f"f{i}_{d}d", risk, theme=f"theme{i}", params={"days": d})
        for i, risk in enumerate(("low", "high", "either"))
        for d in (7, 28)
    ]
    names = [f["name"] for f in features]
    contributions, values = (pd.DataFrame(rng.normal(size=(50, 6)).round(2), columns=names) for _ in range(2))
    bands, stages = pd.Series(rng.choice(["small", "large"], 50)), pd.Series(["steady"] * 50)

    def explain_rows(order: Any) -> pd.DataFrame:
        peers = peer_statistics(values.loc[order], bands[order], stages[order], 5)
        return explain_scores(contributions.loc[order], values.loc[order], features, peers, ENGLISH).sort_index()

    expected = explain_rows(np.arange(50))
    all_peers = peer_statistics(values, bands, stages, 5)
    blocks = [
        select_reasons(
            contributions[rows], values[rows], features, all_peers.typical_values, all_peers.group[rows], "en", 0.02
        )
        for rows in (slice(start, start + 7) for start in range(0, 50, 7))
    ]
    pd.testing.assert_frame_equal(
        render_reasons(concatenate_reasons(blocks), values.__getitem__, features, all_peers, ENGLISH), expected
    )
    pd.testing.assert_frame_equal(explain_rows(rng.permutation(50)), expected)


def test_no_rows_and_no_features_give_the_same_columns() -> None:
    one = explain_account({"x": -1.0}, {"x": 0}, {"x": 1}, feature("x"))
    for rows in (0, 2):
        empty = pd.DataFrame(index=range(rows))
        explained = explain_scores(empty, empty, [], PeerStatistics(pd.DataFrame(), np.zeros(rows, np.intp)), ENGLISH)
        assert len(explained) == rows
        assert set(one.index) <= set(explained.columns)
        assert explained.isna().all(axis=None)


FORMATS = (
    "{value:.0f}",
    "{value:,.0f}",
    "{value:.1f}",
    "{value:.2f}",
    "{value:.0%}",
    "{value:+.0%}",
    "{value:.1%}",
    "{value}",
)


@pytest.mark.parametrize("form", [*FORMATS, "{value:.0f} of {value:.1f}"])
@pytest.mark.parametrize("empty", [None, 366])
def test_accounts_share_a_sentence_only_if_it_is_equal(form: str, empty: Any) -> None:
    """Test values on both sides of each rounding limit, and of the value that is shown as "or more"."""
    midpoints = np.array([0.5, 1.5, 2.675, 0.125, 1.005, 0.045, 0.285, 1e9 + 0.5, 365.5, 366.0, 0.0, 0.004])
    neighbours = np.concatenate(
        [np.nextafter(midpoints, 0), midpoints, np.nextafter(midpoints, 1e12), midpoints + 0.003]
    )
    numbers = np.concatenate(
        [neighbours, -neighbours, [np.nan], np.random.default_rng(1).uniform(0, 400, 300).round(3)]
    )
    shown = feature("x", "either", en=form + " (peers: {peer:.0f})", empty=empty)
    values = pd.DataFrame({"x": numbers})
    peers = PeerStatistics(pd.DataFrame({"x": [7.0]}, dtype=object), np.zeros(len(numbers), np.int64))
    sentences = explain_scores(values * 0.0 - 1.0, values, [shown], peers, ENGLISH)["reason_1"]
    rendered = [render_sentence(shown, None if np.isnan(number) else number, 7.0, ENGLISH) for number in numbers]
    assert [text for text in sentences if text] == [
        w for w, sentence in zip(rendered, sentences, strict=True) if sentence
    ]
    assert sentences.notna().mean() > 0.9


def test_equal_reasons_keep_the_order_of_the_features() -> None:
    names = list("abcdefg")
    zero, one = dict.fromkeys(names, 0), dict.fromkeys(names, 1)
    explained = explain_account(dict.fromkeys(names, -0.5), zero, one, *map(feature, names))
    assert [explained[f"reason_{k}_feature"] for k in range(1, 6)] == list("abcde")


def test_contributions_are_summed_by_theme() -> None:
    contributions = pd.Series({"a": -0.5, "b": 0.2, "c": 0.25, "d": 0.125})
    catalogue = [feature("a", theme="value"), feature("b", theme="value"), feature("c", theme="support")]
    assert theme_contributions(contributions, catalogue) == pytest.approx(
        {"value": -0.3, "other": 0.125, "support": 0.25}
    )


RISKS = ("low", "high", "either")
FIGURE = st.one_of(st.none(), st.integers(-2, 3).map(float))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(RISKS), st.integers(0, 3), FIGURE, FIGURE, st.floats(-1, 1)), min_size=1, max_size=9
    )
)
def test_explanations_hold_for_any_values(rows: list[tuple[str, int, float | None, float | None, float]]) -> None:
    """Reasons are sorted, at most one per theme, towards loss, and agree with the direction of the value."""
    features = [feature(f"f{i}", risk, theme=f"theme{theme}") for i, (risk, theme, *_) in enumerate(rows)]
    contributions = {f["name"]: row[4] for f, row in zip(features, rows, strict=True)}
    values = {f["name"]: row[2] for f, row in zip(features, rows, strict=True)}
    typical = {f["name"]: row[3] for f, row in zip(features, rows, strict=True)}
    explained = explain_account(contributions, values, typical, *features)
    shown = [explained[f"reason_{k}_feature"] for k in range(1, 6) if f"reason_{k}_feature" in explained]
    weights = [explained[f"reason_{k}_contribution"] for k in range(1, len(shown) + 1)]
    themes = {f["name"]: f["theme"] for f in features}
    assert weights == sorted(weights)
    assert all(weight < 0 for weight in weights)
    assert len({themes[name] for name in shown}) == len(shown)
    for name, weight in zip(shown, weights, strict=True):
        assert contributions[name] < 0
        assert weight == pytest.approx(sum(contributions[n] for n in themes if themes[n] == themes[name]))
        risk = features[int(name[1:])]["risk"]
        if values[name] is not None and typical[name] is not None and risk != "either":
            worse = values[name] < typical[name] if risk == "low" else values[name] > typical[name]
            assert worse or (risk == "low" and values[name] <= 0)


CATALOGUE = [meta for family in FAMILIES.values() for meta in feature_metadata(family.features)]
NUMBERS = [meta for meta in CATALOGUE if meta["kind"] == "number"]
PEER_GROUPS, ROWS_EACH = 40, 60


def shown_number(value: float, meta: dict[str, Any], field: str, language: str) -> float:
    """The number that a reader sees in one field of a sentence."""
    spec = next(spec for _, name, spec, _ in string.Formatter().parse(meta[language]) if name == field)
    shown = format(value + 0.0, spec or "g")
    return float(shown.strip("%").replace(",", "")) / (100 if shown.endswith("%") else 1)


def random_values(rng: np.random.Generator, features: list[dict[str, Any]], rows: int) -> pd.DataFrame:
    """Random values, one row per requested row; many differ by less than the rounding of their sentence."""
    choices = (
        np.array([0.0, 0.5, 1.0, 2.0, 10.0]),
        rng.normal(0, 1, 5),
        rng.uniform(0, 400, 5),
        np.array([0.004, 0.006]),
    )
    values = rng.choice(np.concatenate(choices), (rows, len(features))) + rng.choice([0.0, 0.3, -0.004], (rows, 1))
    return pd.DataFrame(values, columns=[meta["name"] for meta in features])


@pytest.mark.parametrize("phrases", [ENGLISH, CHINESE], ids=["en", "zh"])
def test_no_sentence_of_the_catalogue_contradicts_its_direction(phrases: Phrases) -> None:
    """For every feature and any values, a reason shows a worse value than the peers' and a strength a better one,
    also after both are rounded as the sentence rounds them."""
    rng, rows = np.random.default_rng(11), len(NUMBERS) * ROWS_EACH
    group, feature_index = rng.integers(0, PEER_GROUPS, rows), np.repeat(np.arange(len(NUMBERS)), ROWS_EACH)
    peers, values = random_values(rng, NUMBERS, PEER_GROUPS), random_values(rng, NUMBERS, rows)
    sign = rng.choice([-1.0, 1.0], rows)
    matrix = (feature_index[:, None] == np.arange(len(NUMBERS))) * sign[:, None]
    contributions = pd.DataFrame(matrix, columns=values.columns)
    explained = explain_scores(contributions, values, NUMBERS, PeerStatistics(peers.astype(object), group), phrases)
    shown: dict[float, set[str]] = {-1.0: set(), 1.0: set()}
    for row, sentence in enumerate(explained["reason_1"].fillna(explained["strength_1"])):
        meta = NUMBERS[feature_index[row]]
        if not sentence:
            continue
        value = shown_number(values[meta["name"]][row], meta, "value", phrases.language)
        typical = shown_number(peers[meta["name"]][group[row]], meta, "peer", phrases.language)
        shown[sign[row]].add(meta["name"])
        if meta["risk"] == "either":
            assert value != typical, sentence
        elif (meta["risk"] == "high") == (sign[row] < 0):
            assert value > typical, sentence
            assert value > 0, sentence
        else:
            assert value < typical or (value <= 0 and sign[row] < 0), sentence
    assert all(names == {meta["name"] for meta in NUMBERS} for names in shown.values()), (
        "each feature occurs in both directions"
    )
