"""Drift: its reference is stored with the model, the manifest reports it in both languages, and it stops no list."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from renewals.features.policy import Grace
from renewals.models.settings import DriftSettings, FoldSettings, ForecastSettings, GateSettings
from renewals.models.training.schema import Schema
from renewals.pipelines.runtime.errors import MissingInputError
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.runtime.settings import Engine
from renewals.pipelines.scoring import champion_models, drift, drift_reference
from renewals.pipelines.scoring.champion_models import Champion
from renewals.pipelines.stages.act.publish import publish
from renewals.pipelines.stages.act.score import score
from renewals.pipelines.storage.published import published_lists
from renewals.pipelines.storage.registry import model_registry
from tests.pipelines.scored_company import AS_OF, Model, write_company
from tests.pipelines.scored_company import job as plain_job
from tests.reports.small_list import MODELS, catalogue, make_list, observations

WEIGHTS = {"people_28d": 1.0, "bugs_28d": -0.5}


def job(root: Path, **options: Any) -> Job:
    """A job with settings for drift."""
    one = plain_job(root, **options)
    # Seven accounts allow only a low confidence.
    more = {
        "drift": DriftSettings(confidence=0.95),
        "gate": GateSettings(),
        "grace": Grace(),
        "forecast": ForecastSettings(),
        "folds": FoldSettings(),
    }
    settings = SimpleNamespace(**(vars(one.settings) | more | {"engine": Engine()}))
    return replace(one, settings=settings)


def training(count: int = 400, gone: bool = False) -> pd.DataFrame:
    """A year of rows in which `people_28d` is high, or missing if `gone`."""
    rng = np.random.default_rng(0)
    rows = pd.DataFrame({"account_id": np.arange(12 * count) % count, "bugs_28d": rng.integers(0, 3, 12 * count)})
    rows["renewal_state"] = "due"
    people = np.nan if gone else rng.normal(90.0, 5.0, 12 * count)
    months = np.repeat(pd.date_range("2025-01-01", periods=12, freq="MS"), count)
    return rows.assign(as_of=months.date, people_28d=people, probability=rng.uniform(0.3, 0.9, 12 * count))


def reference_of(**options: Any) -> dict[str, Any]:
    rows = training(**options)
    schema = Schema("renewal", ("people_28d", "bugs_28d"), {}, (0, 0))
    built = drift_reference.build_reference(rows, rows.assign(origin=rows["as_of"]), schema)
    files = {drift_reference.REFERENCE: json.dumps(built).encode()}
    read = drift_reference.read_reference(files)
    assert read == built
    return built


@pytest.fixture
def company(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(model_registry, "fetch_challenger", lambda one, target: None)
    write_company(tmp_path)
    return tmp_path


def set_champion(monkeypatch: pytest.MonkeyPatch, reference: dict[str, Any] | None) -> None:
    def champion(one: Job, target: str) -> Champion:
        if target != "renewal":
            raise MissingInputError(f"no champion for {target}")
        return Champion("renewal", "3", Model(WEIGHTS), reference)

    monkeypatch.setattr(champion_models, "load_champion", champion)


def test_a_champion_without_a_reference_has_no_comparisons(company: Path, monkeypatch) -> None:
    assert drift_reference.read_reference({"schema.json": b"{}"}) is None
    set_champion(monkeypatch, None)
    result = score(job(company))["drift"]
    assert (result["reference"], result["comparisons"], result["warnings"]) == (None, 0, [])


def test_drift_is_reported_in_both_languages_in_the_manifest(company: Path, monkeypatch) -> None:
    set_champion(monkeypatch, reference_of())
    score(job(company))
    publish(job(company))
    manifest = json.loads((company / "lists" / str(AS_OF) / "manifest.json").read_bytes())["drift"]
    (warning,) = [one for one in manifest["warnings"] if one["name"] == "people_28d"]
    assert warning["kind"] == "inputs"
    assert warning["en"].startswith("people_28d (Use of the product) is spread otherwise")
    assert warning["zh"].startswith("people_28d（产品使用）的分布与模型训练前一年不同")
    assert manifest["comparisons"] == 5
    assert manifest["reference"] == {"accounts": 400, "from": "2025-01-01", "to": "2025-12-01"}
    assert [one["name"] for one in manifest["inputs"]] == ["people_28d", "bugs_28d"]


def test_a_feature_that_was_missing_in_training_is_reported(company: Path, monkeypatch) -> None:
    set_champion(monkeypatch, reference_of(gone=True))
    warnings = score(job(company))["drift"]["warnings"]
    assert [(one["kind"], one["name"], one["reference"], one["current"]) for one in warnings] == [
        ("missing", "people_28d", 1, 0)
    ]


def test_a_failed_drift_check_stops_no_list(company: Path, monkeypatch) -> None:
    set_champion(monkeypatch, {"accounts": 1})
    result = score(job(company))["drift"]
    assert "features" in result["failed"]
    assert result["warnings"] == []
    assert publish(job(company))["state"] == "published"


# --- outcomes of earlier lists ----------------------------------------------------------------------------


ACCOUNTS = 120
DUE = [date(2026, 1, 15), date(2026, 2, 15)]


def earlier_list(root: Path, day: date, predicted: float) -> None:
    """Publish a list of accounts due in January and February 2026."""
    rows = pd.concat([observations(("acme",))] * ACCOUNTS, ignore_index=True)
    rows = rows.assign(
        account_id=[f"a{i:03d}" for i in range(ACCOUNTS)], as_of=day, csm=None,
        renewal_date=[DUE[i % 2] for i in range(ACCOUNTS)],
        renewal_id=[f"a{i:03d}:{DUE[i % 2]}" for i in range(ACCOUNTS)],
    )  # fmt: skip
    listed = make_list(rows, renewal=[predicted] * ACCOUNTS)
    from renewals.pipelines.storage.published.list_folder import publish_folder
    from renewals.reports.risk_list import to_parquet

    name, _, version = MODELS["renewal"].partition("/")
    manifest = {"identity": {"as_of": day}, "models": {"renewal": {"name": name, "version": version}}}
    publish_folder(root / "lists", day, {"risk_list.parquet": to_parquet(listed)}, manifest)


def ledger_of(root: Path, renewed: float) -> None:
    """Write the terms of those accounts, of which this share renewed."""
    folder = root / "data" / "act" / "ledger"
    folder.mkdir()
    accounts = [f"a{i:03d}" for i in range(ACCOUNTS)]
    ends = pd.Series(pd.to_datetime([DUE[i % 2] for i in range(ACCOUNTS)]))
    states = pd.DataFrame(
        {
            "term": range(ACCOUNTS),
            "seen_from": 0,
            "seen_until": 10**7,
            "account_id": accounts,
            "start_date": date(2025, 1, 1),
            "end_date": ends.dt.date,
            "renewal_date": ends.dt.date,
            "auto_renew": True,
            "notice_days": 0,
            "rolling": False,
            "is_open": True,
            "cancelled_at": pd.Series(pd.NaT, index=ends.index, dtype="datetime64[us]"),
            "replaced_at": pd.Series(pd.NaT, index=ends.index, dtype="datetime64[us]"),
        }
    )
    outcomes = pd.DataFrame(
        {
            "term": range(ACCOUNTS),
            "renewed": (np.arange(ACCOUNTS) < renewed * ACCOUNTS).astype("int8"),
            "matured_at": ends + pd.Timedelta(days=61),
        }
    )
    events = pd.DataFrame({"account_id": accounts, "kind": "upsell", "happened_at": ends})
    for name, rows in {"term_states": states, "term_outcomes": outcomes, "expansions": events}.items():
        rows.to_parquet(folder / f"{name}.parquet")


@pytest.mark.parametrize(("renewed", "months"), [(0.9, []), (0.5, ["2026-01", "2026-02", "2026-01 … 2026-02"])])
def test_predictions_are_compared_with_outcomes(company: Path, monkeypatch, renewed: float, months: list[str]) -> None:
    set_champion(monkeypatch, None)
    earlier_list(company, date(2025, 8, 1), predicted=0.1)
    earlier_list(company, date(2025, 9, 1), predicted=0.9)
    earlier_list(company, date(2026, 1, 1), predicted=0.1)
    ledger_of(company, renewed)
    result = score(job(company))["drift"]
    assert [(one["name"], one["reference"], one["accounts"]) for one in result["calibration"]] == [
        ("2026-01", 0.9, 60),
        ("2026-02", 0.9, 60),
        ("2026-01 … 2026-02", 0.9, 120),
    ]
    assert sorted(one["name"] for one in result["warnings"]) == sorted(months)


def test_incomplete_months_are_not_compared(company: Path, monkeypatch) -> None:
    """A contract cancelled early is final before the others: on 10 April only January is complete."""
    set_champion(monkeypatch, None)
    earlier_list(company, date(2025, 9, 1), predicted=0.9)
    ledger_of(company, 0.9)
    path = company / "data" / "act" / "ledger" / "term_outcomes.parquet"
    pd.read_parquet(path).assign(matured_at=pd.Timestamp("2026-01-02")).to_parquet(path)
    one = replace(job(company), as_of=date(2026, 4, 10))
    assert [(look.name, look.accounts) for look in drift._compare_outcomes(one)] == [("2026-01", 60)]


def test_treated_renewals_are_excluded(company: Path, monkeypatch) -> None:
    set_champion(monkeypatch, None)
    earlier_list(company, date(2025, 9, 1), predicted=0.9)
    ledger_of(company, 0.5)
    treated = pd.DataFrame({"account_id": [f"a{i:03d}" for i in range(0, ACCOUNTS, 2)], "playbook": "call"})
    times = {"started_at": "2025-10-01", "ended_at": None, "recorded_at": None}
    treated = treated.assign(csm=None, **{name: pd.to_datetime(time) for name, time in times.items()})
    treated.astype(dict.fromkeys(times, "datetime64[us]")).to_parquet(
        company / "data" / "clean" / "interventions.parquet"
    )
    assert [(look.name, look.accounts) for look in drift._compare_outcomes(job(company))] == [("2026-02", 60)]


def test_the_probabilities_of_the_last_list_are_compared(company: Path, monkeypatch) -> None:
    set_champion(monkeypatch, reference_of())
    earlier_list(company, date(2026, 5, 1), predicted=0.31)
    assert published_lists.latest_list(job(company)) is not None
    ledger_of(company, 0.9)
    (look,) = score(job(company))["drift"]["previous_list"]
    assert (look["name"], look["reference"], look["accounts"]) == ("2026-05-01", 1.0, 7)


def test_the_catalogue_contains_the_compared_features() -> None:
    assert {feature["name"] for feature in catalogue()} == set(WEIGHTS)
