"""A challenger meets the champion on the same rows; figures and pictures are what MLflow can keep. No registry here."""

import math

import numpy as np
import pandas as pd
import pytest

from models.options import Gate
from pipelines import register, tracking
from pipelines.errors import DataContract
from pipelines.register import _draw_calibration, _drawn, _figures, _worse, against

GATE = Gate(lead_days=90, min_renewals=50, bootstrap=100)
CARD = {"rows": 10, "terms": 5, "yes": 3}


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
            "decided": False,
            "term": range(accounts),
            "label": truth,
            "probability": 1 / (1 + np.exp(-quality * margin)),
        }
    )


class Serving:
    version = "3"


def test_a_worse_challenger_is_told_from_the_champion_on_the_same_rows():
    compared = against(told(1.0), told(-1.0), "renewal", GATE)
    (reason,) = _worse(compared, Serving())
    assert "worse than the champion, version 3" in reason


@pytest.mark.parametrize("quality", [1.0, 0.9])
def test_one_that_is_as_good_or_not_surely_worse_passes(quality):
    assert _worse(against(told(1.0), told(quality), "renewal", GATE), Serving()) == []


def test_only_rows_of_both_count_and_none_that_were_decided():
    challenger = told(1.0).assign(decided=[n < 20 for n in range(200)])
    assert against(told(1.0).iloc[:150], challenger, "renewal", GATE)["rows"] == 130


class Kept:
    """A registered version with the identity asked for."""

    def __init__(self, version: str) -> None:
        self.name, self.version, self.tags = "renewals-renewal", version, {tracking.IDENTITY_TAG: "same"}


@pytest.mark.parametrize(("harmed", "version"), [(set(), "2"), ({"2"}, "1"), ({"1", "2"}, "new")])
def test_a_harmed_version_is_not_taken_for_the_same(harmed, version, monkeypatch):
    def checked(client, asked):
        if asked.version in harmed:
            raise DataContract("model.txt not as registered")
        return {"model.txt": b"tree"}

    monkeypatch.setattr(tracking, "versions", lambda client, target: [Kept("2"), Kept("1")])
    monkeypatch.setattr(tracking, "checked", checked)
    monkeypatch.setattr(register, "_identity", lambda job, files: "same")
    monkeypatch.setattr(register, "_new_version", lambda *given: Kept("new"))
    found, already = register._version(None, None, "renewal", {}, {})
    assert (found.version, already) == (version, version != "new")


def test_too_few_common_renewals_compare_nothing():
    compared = against(told(1.0).iloc[:49], told(-1.0), "renewal", GATE)
    assert compared["gain"] is None
    assert _worse(compared, Serving()) == []


def test_mlflow_is_given_finite_figures_only():
    at_lead = {"90": {"rows": 5, "model": {"auc": 0.7, "slope": None}, "base_rate": {"auc": math.inf, "log_loss": 0.5}}}
    folds = [{"at_lead": {"90": {"auc": math.nan, "log_loss": 0.4, "rows": 5}}}]
    kept = {(metric.key, metric.step): metric.value for metric in _figures(CARD, {"at_lead": at_lead, "folds": folds})}
    assert kept == {
        ("rows", 0): 10.0,
        ("terms", 0): 5.0,
        ("yes", 0): 3.0,
        ("auc_90d", 0): 0.7,
        ("base_rate.log_loss_90d", 0): 0.5,
        ("fold.log_loss_90d", 1): 0.4,
        ("fold.rows_90d", 1): 5.0,
    }


def test_a_picture_is_the_same_bytes_each_time():
    table = pd.DataFrame({"promised": [0.2, 0.8], "seen": [0.1, 0.9]})
    first = _drawn(_draw_calibration, table)
    assert first.startswith(b"\x89PNG")
    assert _drawn(_draw_calibration, table) == first


def test_a_manifest_changes_with_any_byte_of_any_file():
    files = {"model.txt": b"tree", "linear.json": b"{}"}
    assert tracking.manifest_of(files) == tracking.manifest_of(dict(reversed(files.items())))
    assert tracking.manifest_of(files) != tracking.manifest_of(files | {"linear.json": b"{} "})
