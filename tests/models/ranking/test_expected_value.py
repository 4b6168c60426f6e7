"""Playbooks and their expected gains, small enough to check by hand."""

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

TEXTS = {"name": {"en": "n", "zh": "名"}, "owner": {"en": "li", "zh": "李"}, "steps": {"en": ["do"], "zh": ["做"]}}
EXPANSION_THRESHOLD = 0.25


def play(number: int, **fields: Any) -> dict[str, Any]:
    return TEXTS | {"name": {"en": f"n{number}", "zh": f"名{number}"}} | fields


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


def prescribe(plays: AvailablePlaybooks = PLAYS, **fields: Any) -> pd.Series:
    """Playbooks and gain of one account. Reasons are written `theme weight`, with `!` where nobody can act on them."""
    return prescribe_all([ACCOUNT | fields], plays).iloc[0]


def prescribe_all(accounts: list[dict[str, Any]], plays: AvailablePlaybooks = PLAYS) -> pd.DataFrame:
    rows = pd.DataFrame(accounts)
    probabilities = rows[["renewal", "upsell", "cross_sell", "expansion"]].astype(float)
    return prescribe_playbooks(
        rows, probabilities, pd.DataFrame([*map(reasons, rows["reasons"])]), plays, EXPANSION_THRESHOLD
    )


def reasons(text: str) -> dict[str, Any]:
    parsed = [reason.split() for reason in text.split(", ") if reason]
    row: dict[str, Any] = {}
    for k in range(1, 6):
        theme, weight = parsed[k - 1] if k <= len(parsed) else (None, "nan")
        row[f"reason_{k}_theme"] = theme
        row[f"reason_{k}_contribution"] = -float(weight.rstrip("!"))
        row[f"reason_{k}_actionable"] = None if theme is None else not weight.endswith("!")
    return row


def prescribed_ids(row: pd.Series) -> list[str]:
    return [IDS[int(row[f"play_{k}"])] for k in (1, 2, 3) if row[f"play_{k}"] != NO_PLAY]


def test_gain_per_hour_is_the_arr_saved_by_the_effect_on_the_odds_of_the_account_per_hour() -> None:
    result = prescribe()
    assert prescribed_ids(result) == ["push"]
    assert result["expected_gain"] == pytest.approx(1000 * (expit(logit(0.7) + 0.4) - 0.7))
    assert (IDS[int(result["best"])], result["hours"]) == ("push", 5)
    assert result["gain_per_hour"] == pytest.approx(result["expected_gain"] / 5)
    cheaper = prescribe(reasons="sponsor 3, value 2")
    assert prescribed_ids(cheaper) == ["review", "report"]
    assert (IDS[int(cheaper["best"])], cheaper["hours"]) == ("report", 2), "the best need not be the first"


def test_account_with_a_nearly_certain_outcome_gains_little() -> None:
    gain = prescribe_all([ACCOUNT | {"renewal": chance} for chance in (0.02, 0.5, 0.98)])["expected_gain"]
    assert gain.iloc[[0, 2]].max() < gain.iloc[1] / 8
    certain = prescribe_all([ACCOUNT | {"renewal": chance} for chance in (0.0, 1.0)])
    assert certain["gain_per_hour"].tolist() == [0.0, 0.0]


def test_strongest_reason_comes_first_and_no_playbook_is_prescribed_twice() -> None:
    assert prescribed_ids(prescribe(reasons="value 3, adoption 2, sponsor 1")) == ["review", "push"]
    assert prescribed_ids(prescribe(reasons="value 3, value 2")) == ["review", "report"]


def test_playbook_must_fit_the_stage_and_the_size() -> None:
    assert prescribed_ids(prescribe(stage="onboarding")) == ["rescue"]
    assert prescribed_ids(prescribe(reasons="value 1", size_band="small")) == ["report"]
    assert prescribed_ids(prescribe(reasons="value 1", size_band=None)) == ["report"], (
        "of unknown size: only playbooks for every size"
    )


def test_reasons_without_possible_action_get_no_playbook_and_no_gain() -> None:
    result = prescribe(reasons="adoption 2!, fit 1!")
    assert (prescribed_ids(result), result["gain_per_hour"], result["hours"]) == ([], 0.0, 0.0)
    assert prescribe(reasons="")["gain_per_hour"] == 0.0


def test_gain_counts_only_the_actionable_share() -> None:
    result = prescribe(reasons="fit 3!, adoption 1")
    assert result["expected_gain"] == pytest.approx(1000 * (expit(logit(0.7) + 0.25 * 0.4) - 0.7))


def test_best_playbook_has_the_largest_gain_per_hour() -> None:
    result = prescribe(reasons="sponsor 1, value 1")
    assert prescribed_ids(result) == ["review", "report"]
    assert result["hours"] == 2, "a third of the effect in a fifth of the time"


def test_after_the_decision_the_gain_is_zero_but_playbooks_are_prescribed() -> None:
    late, early = prescribe(days_to_renewal=60), prescribe(days_to_renewal=61)
    assert (prescribed_ids(late), late["gain_per_hour"]) == (["push"], 0.0)
    assert early["gain_per_hour"] > 0


def test_signed_renewal_gets_only_expansion_playbooks() -> None:
    assert prescribed_ids(prescribe(renewal_signed=True)) == []
    grows = prescribe(renewal_signed=True, upsell=0.3, expansion=0.4)
    assert prescribed_ids(grows) == ["seats"]
    assert grows["expected_gain"] == pytest.approx(1000 * 0.7 * 0.2 * (expit(logit(0.3) + 0.3) - 0.3))


def test_expansion_playbook_needs_the_minimum_probability() -> None:
    assert "seats" in prescribed_ids(prescribe(upsell=0.3, expansion=0.25))
    assert "seats" not in prescribed_ids(prescribe(upsell=0.3, expansion=0.24))
    assert "seats" not in prescribed_ids(prescribe(upsell=0.3, expansion=np.nan))
    assert prescribed_ids(prescribe(upsell=np.nan, cross_sell=0.2, expansion=0.9)) == ["push", "product"]


def test_expansion_playbook_comes_first_if_its_gain_per_hour_is_larger() -> None:
    assert prescribed_ids(prescribe(upsell=0.5, expansion=0.5)) == ["push", "seats"]
    safe = prescribe(renewal=0.99, upsell=0.5, expansion=0.5)
    assert prescribed_ids(safe) == ["seats", "push"]
    assert safe["hours"] == 4


def test_expansion_playbook_takes_the_last_of_three_places() -> None:
    full = {"reasons": "value 1, value 1, adoption 1", "upsell": 0.3, "expansion": 0.3}
    assert prescribed_ids(prescribe(**full)) == ["review", "report", "seats"]
    assert prescribed_ids(prescribe(**full, renewal=0.999)) == ["seats", "review", "report"]


def test_without_a_probability_no_playbook_and_no_gain() -> None:
    result = prescribe(renewal=np.nan, upsell=0.9, expansion=0.9)
    assert prescribed_ids(result) == []
    assert np.isnan(result["gain_per_hour"])


def test_without_arr_the_gain_is_zero() -> None:
    assert prescribe(arr=np.nan)["gain_per_hour"] == 0.0


def test_measured_and_assumed_effects_are_weighted_by_precision() -> None:
    precise, imprecise = MeasuredEffect(1.0, 1e-6, 500), MeasuredEffect(1.0, ASSUMED_EFFECT_SD, 60)
    combined = combine_effects(LIBRARY, {"push": precise, "report": imprecise, "seats": precise, "gone": precise})
    assert combined["push"].log_odds == pytest.approx(1.0)
    assert combined["report"] == PlaybookEffect(pytest.approx(0.65), 60), (
        "as precise as the assumption: the mean of 0.3 and 1"
    )
    assert combined["seats"] == PlaybookEffect(0.3), "`renewals effect` measures renewal and not expansion"
    assert combined["review"] == PlaybookEffect(0.6)
    assert set(combined) == set(LIBRARY.plays)


def test_playbook_with_a_harmful_measured_effect_is_not_prescribed() -> None:
    plays = AvailablePlaybooks(LIBRARY, combine_effects(LIBRARY, {"push": MeasuredEffect(-1.0, 0.01, 500)}), 60)
    assert plays.effects["push"].log_odds == 0.0
    assert prescribed_ids(prescribe(plays)) == []


def test_rows_are_independent_and_keep_their_index() -> None:
    rng = np.random.default_rng(7)
    themes = ["value", "adoption", "sponsor", "fit"]
    accounts = [
        ACCOUNT
        | {"renewal": rng.random(), "upsell": rng.random(), "expansion": rng.random(), "arr": 1e4 * rng.random()}
        | {"reasons": ", ".join(f"{t} {rng.random():.3f}{rng.choice(['', '!'])}" for t in rng.permutation(themes))}
        for _ in range(60)
    ]
    together = prescribe_all(accounts)
    for place, account in enumerate(accounts):
        pd.testing.assert_series_equal(together.iloc[place], prescribe_all([account]).iloc[0], check_names=False)
    assert (together["gain_per_hour"] >= 0).all()
    assert prescribe_all(accounts[:1]).index.tolist() == [0]
    assert prescribe_playbooks(*(part.iloc[:0] for part in parts()), PLAYS, EXPANSION_THRESHOLD).empty


def parts() -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    rows = pd.DataFrame([ACCOUNT])
    return rows, rows[["renewal", "upsell", "cross_sell", "expansion"]], pd.DataFrame([reasons("adoption 1")])
