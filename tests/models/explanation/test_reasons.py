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


def feature(name: str, risk: str = "low", **given: Any) -> dict[str, Any]:
    return {
        "name": name,
        "family": "usage",
        "theme": f"of {name}",
        "risk": risk,
        "actionable": True,
        "en": name + ": {value:.0f} (peers: {peer:.0f})",
        "zh": name + ":{value:.0f}(同类客户:{peer:.0f})",
        "params": {},
    } | given


def tell(
    pushes: dict[str, float], own: dict[str, Any], usual: dict[str, Any], *features: dict[str, Any], share: float = 0.0
) -> pd.Series:
    """Reasons and strengths of one account, empty ones left out."""
    peers = PeerStatistics(pd.DataFrame([usual], dtype=object), np.zeros(1, np.intp))
    words = explain_scores(pd.DataFrame([pushes]), pd.DataFrame([own]), features, peers, ENGLISH, share)
    return words.iloc[0].dropna()


PEOPLE = {
    "family": "stakeholders",
    "en": "{value:.0f} {tier} used the product in the last {days} days (peers: {peer:.0f})",
    "zh": "近 {days} 天有 {value:.0f} 位{tier}使用产品(同类客户:{peer:.0f} 位)",
}


def test_a_sentence_has_the_figure_beside_its_peers_in_both_languages() -> None:
    people = feature("people_active_s_28d", params={"tier": "S", "days": 28}, **PEOPLE)
    assert (
        render_sentence(people, 1.0, 3.0, ENGLISH)
        == "1 decision makers used the product in the last 28 days (peers: 3)"
    )
    assert render_sentence(people, 1.0, 3.0, CHINESE) == "近 28 天有 1 位决策者使用产品(同类客户:3 位)"


@pytest.mark.parametrize(
    ("template", "value", "peer", "empty", "words"),
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
def test_figures_within_a_sentence(template: str, value: Any, peer: Any, empty: Any, words: str) -> None:
    assert render_sentence(feature("any", en=template, empty=empty), value, peer, ENGLISH) == words


def test_yes_and_no_are_words() -> None:
    signed = feature("signed", unit="yes or no", en="follow-on signed: {value:.0f} (most peers: {peer})")
    assert render_sentence(signed, 0.0, 1.0, ENGLISH) == "Follow-on signed: no (most peers: yes)"
    assert render_sentence(signed, None, 0.0, ENGLISH) == "No figure yet: Follow-on signed: – (most peers: no)"


def test_a_sentence_that_asks_for_what_the_feature_has_not_names_the_feature() -> None:
    with pytest.raises(ValueError, match="the en sentence of seats"):
        render_sentence(feature("seats", en="{value} {plan}"), 1.0, 1.0, ENGLISH)


def test_a_theme_speaks_once_with_its_summed_weight() -> None:
    windows = [feature(f"people_{d}d", theme="adoption") for d in (7, 28, 90)]
    said = tell(
        {"people_7d": -0.1, "people_28d": -0.5, "people_90d": 0.2},
        {"people_7d": 1, "people_28d": 2, "people_90d": 3},
        {"people_7d": 5, "people_28d": 6, "people_90d": 7},
        *windows,
    )
    assert said["reason_1"] == "People_28d: 2 (peers: 6)"
    assert said["reason_1_feature"] == "people_28d"
    assert said["reason_1_theme"] == "adoption"
    assert said["reason_1_contribution"] == pytest.approx(-0.4)
    assert "reason_2" not in said
    assert "strength_1" not in said


def test_themes_are_ranked_by_all_their_columns_and_not_by_the_strongest_one() -> None:
    """Three small pushes about the deciders outweigh a larger one about support."""
    several = [feature(name, theme="value") for name in "abc"]
    pushes = {"a": -0.3, "b": -0.3, "c": -0.3, "bugs": -0.5}
    zero, one = dict.fromkeys(pushes, 0), dict.fromkeys(pushes, 1)
    said = tell(pushes, zero, one, *several, feature("bugs", theme="support"))
    assert [said["reason_1_theme"], said["reason_2_theme"]] == ["value", "support"]
    assert [said["reason_1_contribution"], said["reason_2_contribution"]] == pytest.approx([-0.9, -0.5])
    assert "reason_3" not in said


def test_a_theme_speaks_by_its_strongest_idea_and_not_by_a_chance_column() -> None:
    """Answers are late in each window; that one score is spread weighs more than any one of them, less than all."""
    late = [feature(f"hours_{d}d", "high", theme="support", params={"days": d}) for d in (90, 180, 365)]
    spread = feature("spread", "high", theme="support")
    pushes = {"hours_90d": -0.2, "hours_180d": -0.3, "hours_365d": -0.25, "spread": -0.4}
    own, usual = dict.fromkeys(pushes, 9), dict.fromkeys(pushes, 5)
    said = tell(pushes, own, usual, spread, *late)
    assert (said["reason_1_feature"], said["reason_1_contribution"]) == ("hours_180d", pytest.approx(-1.15))
    assert tell(pushes, own | {"hours_180d": 5}, usual, spread, *late)["reason_1_feature"] == "hours_365d"
    assert tell(pushes, own | dict.fromkeys(list(pushes)[:3], 5), usual, spread, *late)["reason_1_feature"] == "spread"


def test_a_theme_whose_columns_push_towards_renewal_together_is_no_reason() -> None:
    windows = [feature(f"people_{d}d", theme="adoption") for d in (7, 28)]
    own, usual = {"people_7d": 1, "people_28d": 9}, {"people_7d": 5, "people_28d": 6}
    said = tell({"people_7d": -0.3, "people_28d": 0.5}, own, usual, *windows)
    assert "reason_1" not in said
    assert said["strength_1"] == "People_28d: 9 (peers: 6)"


@pytest.mark.parametrize(
    ("risk", "own", "usual", "push", "kind"),
    [
        ("low", 2, 6, -1.0, "reason_1"),
        ("low", 9, 6, -1.0, None),  # more use than the peers is no reason for loss
        ("low", 9, 6, 1.0, "strength_1"),
        ("low", 2, 6, 1.0, None),
        ("low", 6, 6, -1.0, None),  # being like the peers is neither
        ("low", 6, 6, 1.0, None),
        ("low", 0, 0, -1.0, "reason_1"),  # nobody met is a reason however usual it is
        ("low", 0, 0, 1.0, None),  # and no strength
        ("high", 9, 6, -1.0, "reason_1"),
        ("high", 2, 6, -1.0, None),
        ("high", 0, 0, -1.0, None),  # no breach is no reason
        ("high", 0, 0, 1.0, None),  # and no strength where the peers have none either
        ("high", 0, 2, 1.0, "strength_1"),
        ("high", 0, None, -1.0, None),  # whatever is usual
        ("low", 0, None, 1.0, None),
        ("either", 9, 6, -1.0, "reason_1"),
        ("either", 2, 6, -1.0, "reason_1"),
        ("either", 6, 6, -1.0, None),
        ("high", 11.3, 10.8, -1.0, None),  # 11 beside 11 as it is shown
        ("either", 5.8, 6.2, -1.0, None),
        ("low", None, 6, -1.0, "reason_1"),  # an unknown figure contradicts nothing
        ("low", None, 6, 1.0, None),  # but nobody is strong for what is not known
        ("either", None, 6, 1.0, None),
    ],
)
def test_a_sentence_never_contradicts_its_figure(
    risk: str, own: Any, usual: Any, push: float, kind: str | None
) -> None:
    said = tell({"x": push}, {"x": own}, {"x": usual}, feature("x", risk))
    assert [name for name in said.index if name in ("reason_1", "strength_1")] == ([kind] if kind else [])


def test_the_category_of_most_peers_is_no_reason() -> None:
    plan = feature("plan", "either", kind="category", en="on plan {value} (most peers: {peer})")
    for own, words in (
        ("basic", "On plan basic (most peers: pro)"),
        ("pro", None),
        (None, "No figure yet: On plan – (most peers: pro)"),
    ):
        assert tell({"plan": -1.0}, {"plan": own}, {"plan": "pro"}, plan).get("reason_1") == words


def test_reasons_come_strongest_first_and_weak_ones_are_left_out() -> None:
    names = list("abcdefgh")
    pushes = dict(zip(names, (-0.5, -0.9, -0.7, -0.01, 0.8, -0.6, -0.4, -0.3), strict=True))
    zero, one = dict.fromkeys(names, 0), dict.fromkeys(names, 1)
    said = tell(pushes, zero | {"e": 2}, one, *map(feature, names), share=0.05)
    assert [said[f"reason_{k}_feature"] for k in range(1, 6)] == ["b", "c", "f", "a", "g"]
    assert said["strength_1"] == "E: 2 (peers: 1)"
    assert "strength_2" not in said
    said = tell({"a": -1.0, "b": -0.04}, {"a": 0, "b": 0}, {"a": 1, "b": 1}, feature("a"), feature("b"), share=0.05)
    assert "reason_2" not in said


def test_a_contribution_without_words_weighs_but_is_not_told() -> None:
    said = tell({"a": -0.1, "unnamed": -5.0}, {"a": 0, "unnamed": 0}, {"a": 1, "unnamed": 1}, feature("a"), share=0.05)
    assert "reason_1" not in said
    with pytest.raises(ValueError, match="no values for a"):
        tell({"a": -0.1}, {"b": 0}, {"a": 1}, feature("a"))


def test_the_idea_is_the_function_without_its_parameters() -> None:
    assert base_feature(feature("active_people_28d", params={"days": 28})) == "active_people"
    assert base_feature(feature("contacts_s_90d", params={"tier": "S", "days": 90})) == "contacts"
    assert base_feature(feature("seats")) == "seats"
    assert base_feature(feature("seats", function="places")) == "places"


def test_peers_are_of_the_same_size_and_stage_or_else_size_or_else_everyone() -> None:
    band = pd.Series(["small"] * 5 + ["large"] * 3 + ["medium"], index=range(100, 109))
    stage = pd.Series(["steady"] * 4 + ["onboarding"] + ["steady", "steady", "onboarding", "steady"], index=band.index)
    values = pd.DataFrame(
        {"x": [1.0, 2.0, 3.0, 4.0, 50.0, 7.0, 9.0, np.nan, 100.0], "plan": list("aabbbccac")}, band.index
    )
    peers = peer_statistics(values, band, stage, min_peers=3)
    usual = peers.typical_values.iloc[peers.group].set_axis(band.index)
    assert usual["x"].tolist() == [2.5] * 4 + [3.0] + [8.0] * 3 + [5.5]
    assert usual["plan"].tolist() == ["a"] * 4 + ["b"] + ["c"] * 3 + ["a"]


def test_blocks_and_order_of_rows_change_no_word() -> None:
    rng = np.random.default_rng(3)
    features = [
        feature(f"f{i}_{d}d", risk, theme=f"theme{i}", params={"days": d})
        for i, risk in enumerate(("low", "high", "either"))
        for d in (7, 28)
    ]
    names = [f["name"] for f in features]
    pushes, values = (pd.DataFrame(rng.normal(size=(50, 6)).round(2), columns=names) for _ in range(2))
    bands, stages = pd.Series(rng.choice(["small", "large"], 50)), pd.Series(["steady"] * 50)

    def words(order: Any) -> pd.DataFrame:
        p = peer_statistics(values.loc[order], bands[order], stages[order], 5)
        return explain_scores(pushes.loc[order], values.loc[order], features, p, ENGLISH).sort_index()

    whole = words(np.arange(50))
    peers = peer_statistics(values, bands, stages, 5)
    blocks = [
        select_reasons(pushes[rows], values[rows], features, peers.typical_values, peers.group[rows], "en", 0.02)
        for rows in (slice(start, start + 7) for start in range(0, 50, 7))
    ]
    pd.testing.assert_frame_equal(
        render_reasons(concatenate_reasons(blocks), values.__getitem__, features, peers, ENGLISH), whole
    )
    pd.testing.assert_frame_equal(words(rng.permutation(50)), whole)


def test_no_rows_and_no_features_give_the_same_columns() -> None:
    one = tell({"x": -1.0}, {"x": 0}, {"x": 1}, feature("x"))
    for rows in (0, 2):
        empty = pd.DataFrame(index=range(rows))
        said = explain_scores(empty, empty, [], PeerStatistics(pd.DataFrame(), np.zeros(rows, np.intp)), ENGLISH)
        assert len(said) == rows
        assert set(one.index) <= set(said.columns)
        assert said.isna().all(axis=None)


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
def test_accounts_share_a_sentence_only_where_it_would_be_the_same(form: str, empty: Any) -> None:
    """Figures on both sides of every middle between two rounded ones, and of the one that stands for "or more"."""
    middles = np.array([0.5, 1.5, 2.675, 0.125, 1.005, 0.045, 0.285, 1e9 + 0.5, 365.5, 366.0, 0.0, 0.004])
    near = np.concatenate([np.nextafter(middles, 0), middles, np.nextafter(middles, 1e12), middles + 0.003])
    figures = np.concatenate([near, -near, [np.nan], np.random.default_rng(1).uniform(0, 400, 300).round(3)])
    shown = feature("x", "either", en=form + " (peers: {peer:.0f})", empty=empty)
    values = pd.DataFrame({"x": figures})
    peers = PeerStatistics(pd.DataFrame({"x": [7.0]}, dtype=object), np.zeros(len(figures), np.int64))
    said = explain_scores(values * 0.0 - 1.0, values, [shown], peers, ENGLISH)["reason_1"]
    alone = [render_sentence(shown, None if np.isnan(figure) else figure, 7.0, ENGLISH) for figure in figures]
    assert [words for words in said if words] == [w for w, own in zip(alone, said, strict=True) if own]
    assert said.notna().mean() > 0.9


def test_of_equal_reasons_the_first_speaks_first() -> None:
    names = list("abcdefg")
    zero, one = dict.fromkeys(names, 0), dict.fromkeys(names, 1)
    said = tell(dict.fromkeys(names, -0.5), zero, one, *map(feature, names))
    assert [said[f"reason_{k}_feature"] for k in range(1, 6)] == list("abcde")


def test_contributions_are_summed_by_theme() -> None:
    pushes = pd.Series({"a": -0.5, "b": 0.2, "c": 0.25, "d": 0.125})
    catalogue = [feature("a", theme="value"), feature("b", theme="value"), feature("c", theme="support")]
    assert theme_contributions(pushes, catalogue) == pytest.approx({"value": -0.3, "other": 0.125, "support": 0.25})


RISKS = ("low", "high", "either")
FIGURE = st.one_of(st.none(), st.integers(-2, 3).map(float))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(RISKS), st.integers(0, 3), FIGURE, FIGURE, st.floats(-1, 1)), min_size=1, max_size=9
    )
)
def test_what_is_said_holds(rows: list[tuple[str, int, float | None, float | None, float]]) -> None:
    """Whatever the figures: strongest first, one a theme, towards loss, and agreeing with the figure's side."""
    features = [feature(f"f{i}", risk, theme=f"theme{own}") for i, (risk, own, *_) in enumerate(rows)]
    pushes = {f["name"]: row[4] for f, row in zip(features, rows, strict=True)}
    own = {f["name"]: row[2] for f, row in zip(features, rows, strict=True)}
    usual = {f["name"]: row[3] for f, row in zip(features, rows, strict=True)}
    said = tell(pushes, own, usual, *features)
    spoken = [said[f"reason_{k}_feature"] for k in range(1, 6) if f"reason_{k}_feature" in said]
    weights = [said[f"reason_{k}_contribution"] for k in range(1, len(spoken) + 1)]
    themes = {f["name"]: f["theme"] for f in features}
    assert weights == sorted(weights)
    assert all(weight < 0 for weight in weights)
    assert len({themes[name] for name in spoken}) == len(spoken)
    for name, weight in zip(spoken, weights, strict=True):
        assert pushes[name] < 0
        assert weight == pytest.approx(sum(pushes[n] for n in themes if themes[n] == themes[name]))
        risk = features[int(name[1:])]["risk"]
        if own[name] is not None and usual[name] is not None and risk != "either":
            worse = own[name] < usual[name] if risk == "low" else own[name] > usual[name]
            assert worse or (risk == "low" and own[name] <= 0)


CATALOGUE = [own for family in FAMILIES.values() for own in feature_metadata(family.features)]
NUMBERS = [own for own in CATALOGUE if own["kind"] == "number"]
PEER_GROUPS, ROWS_EACH = 40, 60


def as_shown(figure: float, own: dict[str, Any], field: str, language: str) -> float:
    """The number that a reader sees in the field of a sentence."""
    spec = next(spec for _, name, spec, _ in string.Formatter().parse(own[language]) if name == field)
    shown = format(figure + 0.0, spec or "g")
    return float(shown.strip("%").replace(",", "")) / (100 if shown.endswith("%") else 1)


def anywhere(rng: np.random.Generator, features: list[dict[str, Any]], rows: int) -> pd.DataFrame:
    """Figures of each feature, many of them within a rounding of another, one row per row asked for."""
    kinds = (
        np.array([0.0, 0.5, 1.0, 2.0, 10.0]),
        rng.normal(0, 1, 5),
        rng.uniform(0, 400, 5),
        np.array([0.004, 0.006]),
    )
    figures = rng.choice(np.concatenate(kinds), (rows, len(features))) + rng.choice([0.0, 0.3, -0.004], (rows, 1))
    return pd.DataFrame(figures, columns=[own["name"] for own in features])


@pytest.mark.parametrize("phrases", [ENGLISH, CHINESE], ids=["en", "zh"])
def test_no_sentence_of_the_catalogue_contradicts_what_it_is_said_for(phrases: Phrases) -> None:
    """Every feature, whatever its figure and its peers': what is told for a loss reads as worse than the peers' figure,
    what is told for a renewal as better, also after both are rounded as the sentence rounds them."""
    rng, rows = np.random.default_rng(11), len(NUMBERS) * ROWS_EACH
    group, spoken_for = rng.integers(0, PEER_GROUPS, rows), np.repeat(np.arange(len(NUMBERS)), ROWS_EACH)
    peers, values = anywhere(rng, NUMBERS, PEER_GROUPS), anywhere(rng, NUMBERS, rows)
    push = rng.choice([-1.0, 1.0], rows)
    alone = (spoken_for[:, None] == np.arange(len(NUMBERS))) * push[:, None]
    pushes = pd.DataFrame(alone, columns=values.columns)
    said = explain_scores(pushes, values, NUMBERS, PeerStatistics(peers.astype(object), group), phrases)
    told_of: dict[float, set[str]] = {-1.0: set(), 1.0: set()}
    for row, spoken in enumerate(said["reason_1"].fillna(said["strength_1"])):
        own = NUMBERS[spoken_for[row]]
        if not spoken:
            continue
        mine = as_shown(values[own["name"]][row], own, "value", phrases.language)
        usual = as_shown(peers[own["name"]][group[row]], own, "peer", phrases.language)
        told_of[push[row]].add(own["name"])
        if own["risk"] == "either":
            assert mine != usual, spoken
        elif (own["risk"] == "high") == (push[row] < 0):
            assert mine > usual, spoken
            assert mine > 0, spoken
        else:
            assert mine < usual or (mine <= 0 and push[row] < 0), spoken
    assert all(names == {own["name"] for own in NUMBERS} for names in told_of.values()), "each is told for both"
