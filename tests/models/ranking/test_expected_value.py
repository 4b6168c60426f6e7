"""Plays and what they are worth, as a manager could check them by hand."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit

from renewals.models.ranking.expected_value import NO_PLAY, AvailablePlaybooks, prescribe_playbooks
from renewals.models.ranking.playbooks import (
    ASSUMED_EFFECT_SD,
    MeasuredEffect,
    PlaybookEffect,
    PlaybookLibrary,
    combine_effects,
)

TOLD = {"name": {"en": "n", "zh": "名"}, "owner": {"en": "li", "zh": "李"}, "steps": {"en": ["do"], "zh": ["做"]}}
LIKELY = 0.25


def play(number: int, **own: Any) -> dict[str, Any]:
    return TOLD | {"name": {"en": f"n{number}", "zh": f"名{number}"}} | own


LIBRARY = PlaybookLibrary.model_validate(
    {
        "plays": {
            "rescue": play(0, themes=["adoption", "value"], stages=["onboarding"], hours=8, log_odds_effect=0.5),
            "review": play(
                1, themes=["value", "sponsor"], size_bands=["medium", "large"], hours=10, log_odds_effect=0.6
            ),
            "report": play(2, themes=["value"], hours=2, log_odds_effect=0.3),
            "push": play(3, themes=["adoption"], stages=["steady", "pre_renewal"], hours=5, log_odds_effect=0.4),
            "seats": play(4, expansion="upsell", expansion_arr_share=0.2, hours=4, log_odds_effect=0.3),
            "product": play(5, expansion="cross_sell", expansion_arr_share=0.25, hours=8, log_odds_effect=0.3),
        }
    }
)
IDS = [*LIBRARY.plays, "-"]
PLAYS = AvailablePlaybooks(LIBRARY, combine_effects(LIBRARY, {}), 60)
ACCOUNT: dict[str, Any] = {
    **{"stage": "steady", "size_band": "large", "arr": 1000.0, "days_to_renewal": 200, "renewal_signed": False},
    **{"renewal": 0.7, "upsell": 0.1, "cross_sell": 0.1, "expansion": 0.1, "reasons": "adoption 1"},
}


def said(plays: AvailablePlaybooks = PLAYS, **own: Any) -> pd.Series:
    """What is said of one account. Reasons are written `theme weight`, with a `!` behind where none can act on it."""
    return table([ACCOUNT | own], plays).iloc[0]


def table(accounts: list[dict[str, Any]], plays: AvailablePlaybooks = PLAYS) -> pd.DataFrame:
    rows = pd.DataFrame(accounts)
    chances = rows[["renewal", "upsell", "cross_sell", "expansion"]].astype(float)
    return prescribe_playbooks(rows, chances, pd.DataFrame([*map(reasons, rows["reasons"])]), plays, LIKELY)


def reasons(words: str) -> dict[str, Any]:
    told = [reason.split() for reason in words.split(", ") if reason]
    row: dict[str, Any] = {}
    for k in range(1, 6):
        theme, weight = told[k - 1] if k <= len(told) else (None, "nan")
        row[f"reason_{k}_theme"] = theme
        row[f"reason_{k}_contribution"] = -float(weight.rstrip("!"))
        row[f"reason_{k}_actionable"] = None if theme is None else not weight.endswith("!")
    return row


def named(row: pd.Series) -> list[str]:
    return [IDS[int(row[f"play_{k}"])] for k in (1, 2, 3) if row[f"play_{k}"] != NO_PLAY]


def test_worth_is_the_arr_saved_by_the_effect_on_the_account_s_own_odds_per_hour() -> None:
    own = said()
    assert named(own) == ["push"]
    assert own["expected_gain"] == pytest.approx(1000 * (expit(logit(0.7) + 0.4) - 0.7))
    assert (IDS[int(own["best"])], own["hours"]) == ("push", 5)
    assert own["gain_per_hour"] == pytest.approx(own["expected_gain"] / 5)
    cheaper = said(reasons="sponsor 3, value 2")
    assert named(cheaper) == ["review", "report"]
    assert (IDS[int(cheaper["best"])], cheaper["hours"]) == ("report", 2), "the best need not be the first"


def test_an_account_that_is_nearly_sure_either_way_gains_little() -> None:
    gain = table([ACCOUNT | {"renewal": chance} for chance in (0.02, 0.5, 0.98)])["expected_gain"]
    assert gain.iloc[[0, 2]].max() < gain.iloc[1] / 8
    certain = table([ACCOUNT | {"renewal": chance} for chance in (0.0, 1.0)])
    assert certain["gain_per_hour"].tolist() == [0.0, 0.0]


def test_the_strongest_reason_is_answered_first_and_no_play_is_prescribed_twice() -> None:
    assert named(said(reasons="value 3, adoption 2, sponsor 1")) == ["review", "push"]
    assert named(said(reasons="value 3, value 2")) == ["review", "report"]


def test_a_play_must_fit_the_stage_and_the_size() -> None:
    assert named(said(stage="onboarding")) == ["rescue"]
    assert named(said(reasons="value 1", size_band="small")) == ["report"]
    assert named(said(reasons="value 1", size_band=None)) == ["report"], "of unknown size: what is for every size"


def test_what_nobody_can_act_on_gets_no_play_and_is_worth_nothing() -> None:
    own = said(reasons="adoption 2!, fit 1!")
    assert (named(own), own["gain_per_hour"], own["hours"]) == ([], 0.0, 0.0)
    assert said(reasons="")["gain_per_hour"] == 0.0


def test_only_the_part_that_can_be_acted_on_counts() -> None:
    own = said(reasons="fit 3!, adoption 1")
    assert own["expected_gain"] == pytest.approx(1000 * (expit(logit(0.7) + 0.25 * 0.4) - 0.7))


def test_the_best_play_per_hour_is_what_an_account_is_worth() -> None:
    own = said(reasons="sponsor 1, value 1")
    assert named(own) == ["review", "report"]
    assert own["hours"] == 2, "a third of the effect in a fifth of the time"


def test_once_the_decision_has_fallen_saving_is_worth_nothing_but_the_plays_are_told() -> None:
    late, early = said(days_to_renewal=60), said(days_to_renewal=61)
    assert (named(late), late["gain_per_hour"]) == (["push"], 0.0)
    assert early["gain_per_hour"] > 0


def test_a_signed_renewal_cannot_be_saved_but_can_grow() -> None:
    assert named(said(renewal_signed=True)) == []
    grows = said(renewal_signed=True, upsell=0.3, expansion=0.4)
    assert named(grows) == ["seats"]
    assert grows["expected_gain"] == pytest.approx(1000 * 0.7 * 0.2 * (expit(logit(0.3) + 0.3) - 0.3))


def test_an_expansion_needs_to_be_likely() -> None:
    assert "seats" in named(said(upsell=0.3, expansion=0.25))
    assert "seats" not in named(said(upsell=0.3, expansion=0.24))
    assert "seats" not in named(said(upsell=0.3, expansion=np.nan))
    assert named(said(upsell=np.nan, cross_sell=0.2, expansion=0.9)) == ["push", "product"]


def test_an_expansion_goes_first_where_an_hour_of_it_is_worth_more() -> None:
    assert named(said(upsell=0.5, expansion=0.5)) == ["push", "seats"]
    safe = said(renewal=0.99, upsell=0.5, expansion=0.5)
    assert named(safe) == ["seats", "push"]
    assert safe["hours"] == 4


def test_an_expansion_takes_the_last_of_three_places() -> None:
    full = {"reasons": "value 1, value 1, adoption 1", "upsell": 0.3, "expansion": 0.3}
    assert named(said(**full)) == ["review", "report", "seats"]
    assert named(said(**full, renewal=0.999)) == ["seats", "review", "report"]


def test_without_a_chance_there_is_no_play_and_no_worth() -> None:
    own = said(renewal=np.nan, upsell=0.9, expansion=0.9)
    assert named(own) == []
    assert np.isnan(own["gain_per_hour"])


def test_without_arr_nothing_can_be_saved() -> None:
    assert said(arr=np.nan)["gain_per_hour"] == 0.0


def test_a_measured_effect_meets_the_assumed_by_how_sure_it_is() -> None:
    sure, unsure = MeasuredEffect(1.0, 1e-6, 500), MeasuredEffect(1.0, ASSUMED_EFFECT_SD, 60)
    found = combine_effects(LIBRARY, {"push": sure, "report": unsure, "seats": sure, "gone": sure})
    assert found["push"].log_odds == pytest.approx(1.0)
    assert found["report"] == PlaybookEffect(pytest.approx(0.65), 60), "as sure as the guess: the middle of 0.3 and 1"
    assert found["seats"] == PlaybookEffect(0.3), "what `renewals effect` measures is renewing, not growing"
    assert found["review"] == PlaybookEffect(0.6)
    assert set(found) == set(LIBRARY.plays)


def test_a_play_that_was_found_to_harm_is_not_prescribed() -> None:
    plays = AvailablePlaybooks(LIBRARY, combine_effects(LIBRARY, {"push": MeasuredEffect(-1.0, 0.01, 500)}), 60)
    assert plays.effects["push"].log_odds == 0.0
    assert named(said(plays)) == []


def test_each_row_stands_for_itself_and_rows_keep_their_labels() -> None:
    rng = np.random.default_rng(7)
    themes = ["value", "adoption", "sponsor", "fit"]
    accounts = [
        ACCOUNT
        | {"renewal": rng.random(), "upsell": rng.random(), "expansion": rng.random(), "arr": 1e4 * rng.random()}
        | {"reasons": ", ".join(f"{t} {rng.random():.3f}{rng.choice(['', '!'])}" for t in rng.permutation(themes))}
        for _ in range(60)
    ]
    whole = table(accounts)
    for place, account in enumerate(accounts):
        pd.testing.assert_series_equal(whole.iloc[place], table([account]).iloc[0], check_names=False)
    assert (whole["gain_per_hour"] >= 0).all()
    assert table(accounts[:1]).index.tolist() == [0]
    assert prescribe_playbooks(*(part.iloc[:0] for part in parts()), PLAYS, LIKELY).empty


def parts() -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    rows = pd.DataFrame([ACCOUNT])
    return rows, rows[["renewal", "upsell", "cross_sell", "expansion"]], pd.DataFrame([reasons("adoption 1")])
