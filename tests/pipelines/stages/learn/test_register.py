"""A challenger meets the champion on the same rows; figures and pictures are what MLflow can keep. No registry here."""

import math

import numpy as np
import pandas as pd
import pytest

from renewals.models.evaluation.gate import (
    compare_with_champion,
    failed_comparisons,
    is_champion_row,
    large_segments,
    pair_predictions,
    segment_calibration,
)
from renewals.models.settings import GateSettings
from renewals.pipelines.runtime.errors import DataContractError
from renewals.pipelines.stages.learn import register
from renewals.pipelines.storage.registry import model_registry
from renewals.pipelines.storage.registry.evaluation_plots import _draw_calibration, _render_png
from renewals.pipelines.storage.registry.mlflow_runs import _run_metrics

GATE = GateSettings(lead_days=90, min_renewals=50, bootstrap_samples=100)
CARD = {"rows": 10, "terms": 5, "positive_terms": 3}


def told(quality: float, seed: int = 0, accounts: int = 200) -> pd.DataFrame:
    """What a model said 90 days before the end of one renewal an account; `quality` of its log-odds is truth."""
    rng = np.random.default_rng(seed)
    margin = rng.normal(scale=1.5, size=accounts)
    truth = (rng.random(accounts) < 1 / (1 + np.exp(-margin))).astype(int)
    return pd.DataFrame(
        {
            "account_id": [f"a{n}" for n in range(accounts)],
            "as_of": pd.Timestamp(2025, 1, 1),
            "renewal_date": pd.Timestamp(2025, 4, 1),
            "days_to_renewal": 90,
            "renewal_signed": False,
            "origin": pd.Timestamp(2024, 10, 1),
            "term": range(accounts),
            "label": truth,
            "probability": 1 / (1 + np.exp(-quality * margin)),
        }
    )


def met(champion: pd.DataFrame, challenger: pd.DataFrame) -> dict:
    """The comparison where both back-tests speak of the same accounts."""
    nothing_later = challenger.head(0)[["account_id", "as_of", "probability"]]
    return compare_with_champion(pair_predictions(challenger, champion, nothing_later), "renewal", GATE)


def test_a_worse_challenger_is_told_from_the_champion_on_the_same_rows():
    loss, ranking = failed_comparisons(met(told(1.0), told(-1.0)), "3")
    assert "worse than the champion, version 3, on the same 200 terms: log loss lower by -" in loss
    assert "AUC higher by -" in ranking


@pytest.mark.parametrize("quality", [1.0, 0.9])
def test_one_that_is_as_good_or_not_surely_worse_passes(quality):
    assert failed_comparisons(met(told(1.0), told(quality)), "3") == []


def test_only_rows_of_both_count_and_none_that_were_decided():
    challenger = told(1.0).assign(renewal_signed=[n < 20 for n in range(200)])
    assert met(told(1.0).iloc[:150], challenger)["rows"] == 130


def test_a_word_said_by_a_model_that_came_after_the_observation_counts_on_neither_side():
    seen = pd.Timestamp(2025, 1, 2)
    nothing = told(1.0).head(0)
    assert pair_predictions(told(1.0), told(1.0).assign(origin=seen), nothing).empty
    assert pair_predictions(told(1.0).assign(origin=seen), told(1.0), nothing).empty
    assert len(pair_predictions(told(1.0), told(1.0), nothing)) == 200


def test_the_champion_speaks_itself_only_of_rows_observed_since_it_was_trained():
    challenger = told(1.0)
    assert is_champion_row(challenger, pd.Timestamp(2024, 10, 1)).all(), (
        "trained when the fold was: the same past for both"
    )
    assert not is_champion_row(challenger, pd.Timestamp(2024, 10, 2)).any(), "the champion knew more than the fold"
    assert not is_champion_row(challenger.assign(origin=pd.Timestamp(2026, 1, 1)), pd.Timestamp(2025, 6, 1)).any()


def test_its_own_word_goes_before_its_back_test():
    later = told(1.0).head(30)[["account_id", "as_of"]].assign(probability=0.5)
    both = pair_predictions(told(1.0), told(1.0), later).set_index("account_id")
    assert (both.loc[later["account_id"], "probability_champion"] == 0.5).all()
    assert (both["probability_champion"] == 0.5).sum() == 30


def in_bands(told_of: pd.DataFrame) -> pd.DataFrame:
    """Every fourth account is large."""
    return told_of.assign(size_band=["large" if n % 4 == 0 else "small" for n in range(len(told_of))])


def test_a_challenger_that_is_worse_in_one_segment_alone_is_refused_there():
    challenger = in_bands(told(1.0, accounts=800))
    margin = np.log(challenger["probability"] / (1 - challenger["probability"]))
    large_ones = challenger["size_band"] == "large"
    better = 1 / (1 + np.exp(-np.where(large_ones, -margin, margin + 1.5 * (2 * challenger["label"] - 1))))
    rows = pair_predictions(challenger.assign(probability=better), told(1.0, accounts=800), challenger.head(0))
    compared = compare_with_champion(rows, "renewal", GATE)
    assert compared["gain"]["low"] > 0, "better on the whole"
    (reason,) = failed_comparisons(compared, "3")
    assert "worse than the champion, version 3, in size_band large (200 terms)" in reason


def test_a_segment_is_judged_only_where_it_is_large_enough():
    rows = in_bands(told(1.0)).assign(industry="retail", plan=None)
    assert [name for name, _ in large_segments(rows, GATE)] == ["size_band large", "size_band small", "industry retail"]
    few = GateSettings(lead_days=90, min_renewals=51)
    assert [name for name, _ in large_segments(rows, few)] == ["size_band small", "industry retail"]
    rare = rows.assign(label=np.where(rows["size_band"] == "large", 1, rows["label"]))
    assert "size_band large" not in dict(large_segments(rare, GATE))


def test_a_level_that_is_wrong_in_one_segment_is_found_there():
    rows = in_bands(told(1.0, accounts=800))
    high = rows.assign(probability=np.where(rows["size_band"] == "large", 0.98, rows["probability"]))
    found = segment_calibration(high, "probability", GATE)
    assert found["size_band large"]["bias"]["low"] > GATE.max_calibration_error
    assert abs(found["size_band small"]["bias"]["value"]) < GATE.max_calibration_error


def test_the_more_segments_are_looked_at_the_wider_each_interval():
    alone = segment_calibration(
        in_bands(told(1.0)), "probability", GATE.model_copy(update={"segments": ("size_band",)})
    )
    among = in_bands(told(1.0)).assign(**{f"s{n}": "x" for n in range(6)})
    wide = GATE.model_copy(update={"segments": ("size_band", *(f"s{n}" for n in range(6)))})
    one, many = (found["size_band small"]["bias"] for found in (alone, segment_calibration(among, "probability", wide)))
    assert many["high"] - many["low"] > 1.2 * (one["high"] - one["low"])


class Kept:
    """A registered version with the identity asked for."""

    def __init__(self, version: str) -> None:
        self.name, self.version, self.tags = "renewals-renewal", version, {model_registry.IDENTITY_TAG: "same"}


@pytest.mark.parametrize(("harmed", "version"), [(set(), "2"), ({"2"}, "1"), ({"1", "2"}, "new")])
def test_a_harmed_version_is_not_taken_for_the_same(harmed, version, monkeypatch):
    def checked(client, asked):
        if asked.version in harmed:
            raise DataContractError("model.txt not as registered")
        return {"model.txt": b"tree"}

    monkeypatch.setattr(model_registry, "registered_versions", lambda client, target: [Kept("2"), Kept("1")])
    monkeypatch.setattr(model_registry, "verified_files", checked)
    monkeypatch.setattr(register, "_identity", lambda job, files: "same")
    monkeypatch.setattr(register, "_create_version", lambda *given: Kept("new"))
    found, already = register._find_or_create_version(None, None, "renewal", {}, {})
    assert (found.version, already) == (version, version != "new")


def test_too_few_common_renewals_compare_nothing():
    compared = met(told(1.0).iloc[:49], told(-1.0))
    assert compared["gain"] is None
    assert failed_comparisons(compared, "3") == []


def test_mlflow_is_given_finite_figures_only():
    at_lead = {"90": {"rows": 5, "model": {"auc": 0.7, "slope": None}, "base_rate": {"auc": math.inf, "log_loss": 0.5}}}
    folds = [{"at_lead": {"90": {"auc": math.nan, "log_loss": 0.4, "rows": 5}}}]
    kept = {
        (metric.key, metric.step): metric.value for metric in _run_metrics(CARD, {"at_lead": at_lead, "folds": folds})
    }
    assert kept == {
        ("rows", 0): 10.0,
        ("terms", 0): 5.0,
        ("positive_terms", 0): 3.0,
        ("auc_90d", 0): 0.7,
        ("base_rate.log_loss_90d", 0): 0.5,
        ("fold.log_loss_90d", 1): 0.4,
        ("fold.rows_90d", 1): 5.0,
    }


def test_a_picture_is_the_same_bytes_each_time():
    table = pd.DataFrame({"mean_predicted": [0.2, 0.8], "mean_observed": [0.1, 0.9]})
    first = _render_png(_draw_calibration, table)
    assert first.startswith(b"\x89PNG")
    assert _render_png(_draw_calibration, table) == first


def test_a_manifest_changes_with_any_byte_of_any_file():
    files = {"model.txt": b"tree", "additive_model.json": b"{}"}
    assert model_registry.build_manifest(files) == model_registry.build_manifest(dict(reversed(files.items())))
    assert model_registry.build_manifest(files) != model_registry.build_manifest(
        files | {"additive_model.json": b"{} "}
    )
