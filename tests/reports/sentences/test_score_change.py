"""Texts of a score change: points that add up, changed features, and the reason for a missing change."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from renewals.features.registry import FAMILIES, feature_metadata
from renewals.reports.sentences.score_change import (
    NO_CHANGE_REASONS,
    NO_DECOMPOSITION_REASONS,
    explain_change,
    no_change_text,
    no_decomposition_text,
    replace_peer_phrase,
    round_parts,
    to_points,
)
from renewals.reports.words import MESSAGES, Messages
from tests.reports.small_list import catalogue

PEOPLE, BUGS = catalogue()
EN, ZH = Messages("en"), Messages("zh")
WAS, NOW = {"people_28d": 9.0, "bugs_28d": 0.0}, {"people_28d": 3.0, "bugs_28d": 2.0}


def parts(data: float, clock: float, model: float) -> dict[str, float]:
    return {"data": data, "clock": clock, "model": model, "change": data + clock + model}


def test_sentence_of_a_decrease_has_its_parts_and_features():
    assert explain_change(parts(-0.08, -0.03, -0.01), [PEOPLE, BUGS], WAS, NOW, EN) == (
        "12 points lower: new figures -8, nearer to the renewal -3, new model -1"
        ". 3 people used the product in the last 28 days (last list: 9)"
        ". 2 bugs reported in the last 28 days (last list: 0)"
    )
    assert explain_change(parts(-0.08, -0.03, -0.01), [PEOPLE], WAS, NOW, ZH) == (
        "下降 12 个百分点：数据变化 -8，临近续约 -3，更换模型 -1。近 28 天有 3 人使用产品(上期：9 人)"
    )


def test_one_point_is_singular_and_parts_below_a_point_are_left_out():
    assert explain_change(parts(0.001, 0.011, 0.0), [PEOPLE], WAS, NOW, EN) == (
        "1 point higher: nearer to the renewal +1"
    )


@given(st.lists(st.floats(-0.4, 0.4), min_size=3, max_size=3))
def test_rounded_parts_add_up(sizes):
    exact = parts(*sizes)
    shown = round_parts(exact)
    assert sum(shown.values()) == to_points(exact["change"])
    assert all(abs(shown[part] - 100 * exact[part]) <= 1 + 1e-9 for part in shown)


def test_parts_that_cancel_are_shown():
    assert explain_change(parts(0.05, -0.05, 0.0), [], WAS, NOW, EN) == (
        "Unchanged: new figures +5, nearer to the renewal -5"
    )
    assert explain_change(parts(0.0, 0.0, 0.0), [], WAS, NOW, EN) == "Unchanged"


def test_feature_with_equal_text_on_both_days_is_left_out():
    sentence = explain_change(parts(-0.08, 0, 0), [PEOPLE, BUGS], {**WAS, "people_28d": 3.2}, NOW, EN)
    assert "people" not in sentence
    assert "2 bugs" in sentence


@pytest.mark.parametrize("language", sorted(MESSAGES))
def test_every_feature_has_a_sentence_with_its_previous_value(language):
    messages = Messages(language)
    for family in FAMILIES.values():
        for feature in feature_metadata(family.features):
            sentences = replace_peer_phrase(feature, messages)[language]
            assert sentences.count(messages.text("change.previous_value")) == 1
            assert not any(peers in sentences for peers in ("peers: {", "同类客户：{", "同类客户为"))


@pytest.mark.parametrize("language", sorted(MESSAGES))
def test_every_reason_without_change_or_decomposition_has_a_text(language):
    messages = Messages(language)
    texts = [no_change_text(reason, messages) for reason in NO_CHANGE_REASONS] + [
        no_decomposition_text(-0.1, reason, messages) for reason in NO_DECOMPOSITION_REASONS
    ]
    assert len(set(texts)) == len(NO_CHANGE_REASONS) + len(NO_DECOMPOSITION_REASONS)
    assert all("10" in sentence for sentence in texts[len(NO_CHANGE_REASONS) :])
