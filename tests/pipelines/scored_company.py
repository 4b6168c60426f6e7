"""Inputs of `score`: the act side of a small company on disk, and models that need no training."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from renewals.features.policy import Alerts
from renewals.models.settings import FoldSettings
from renewals.pipelines.runtime.errors import MissingInputError
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.runtime.settings import Engine, Settings
from renewals.pipelines.scoring import champion_models
from renewals.pipelines.scoring.champion_models import Champion
from renewals.pipelines.stages.act import score as scoring
from renewals.pipelines.stages.act.publish import publish
from renewals.pipelines.storage.registry import model_registry
from renewals.reports.settings import ListOptions
from tests.reports.small_list import catalogue, observations

AS_OF = date(2026, 6, 1)
NAMES = ("acme", "beta", "gamma", "quiet", "fresh", "giant", "=1+1", "[/bold]\x1b[31m")


@dataclass(frozen=True)
class Model:
    """A replacement of a trained model; its margin is a plain sum."""

    weights: Mapping[str, float]

    @property
    def schema(self) -> Any:
        return SimpleNamespace(names=tuple(self.weights), categories={"plan": ("basic", "pro")})

    def contributions(self, frame: pd.DataFrame) -> tuple[pd.DataFrame, float]:
        missing = set(self.weights) - set(frame.columns)
        if missing:
            raise ValueError(f"columns missing: {', '.join(sorted(missing))}")
        return pd.DataFrame({name: weight * (frame[name] - 1) for name, weight in self.weights.items()}), 0.5

    def interval(self, probability: np.ndarray, confidence: float) -> tuple[np.ndarray, np.ndarray]:
        return probability * confidence, 1 - (1 - probability) * confidence

    def probability(self, frame: pd.DataFrame) -> np.ndarray:
        contributions, base = self.contributions(frame)
        return 1 / (1 + np.exp(-(base + contributions.sum(axis=1)).to_numpy()))

    def predict_and_explain(self, frame: pd.DataFrame) -> tuple[np.ndarray, pd.DataFrame, np.ndarray]:
        return self.probability(frame), self.contributions(frame)[0], np.where(frame["people_28d"] == 3, 0.15, 0.1)


def champions(**versions: str) -> Any:
    """A replacement of `load_champion` for a registry with these versions of these targets."""

    def champion(job: Job, target: str) -> Champion:
        if target not in versions:
            raise MissingInputError(f"no champion for {target}: run `renewals learn` first")
        return Champion(target, versions[target], Model({"people_28d": 1.0, "bugs_28d": -0.5}), until=AS_OF)

    return champion


def job(root: Path, **options: Any) -> Job:
    """A job on this company."""
    own = ListOptions.model_validate(options)
    targets = ("renewal", "upsell", "cross_sell", "expansion")
    settings = SimpleNamespace(
        families=("usage", "tickets", "sentiment"),
        list=own,
        alerts=Alerts(),
        targets=targets,
        engine=Engine(),
        folds=FoldSettings(),
    )
    settings.model_dump_json = Settings(list=own).model_dump_json
    return Job(settings, "", root / "data", root / "lists", as_of=AS_OF)  # type: ignore[arg-type]


def write_company(root: Path, ids: Any = None, fingerprint: str = "f1") -> None:
    """Write spine, feature values, catalogue, certificate and clean tables of the as-of date."""
    act, clean = root / "data" / "act", root / "data" / "clean"
    for folder in (act, clean):
        folder.mkdir(parents=True, exist_ok=True)
    spine = observations(NAMES, ids).drop(columns="status").rename(columns={"arr": "arr_due"})
    spine["account_age"] = [400, 400, 400, 400, 3, 400, 400, 400]
    spine.to_parquet(act / "spine.parquet")
    positions = range(len(NAMES))
    values = {
        "people_28d": [float(i % 4) for i in positions],
        "bugs_28d": [float(i % 3) for i in positions],
        "plan": ["basic"] * 7 + ["new"],
    }
    scoring = pd.concat([spine, pd.DataFrame(values)], axis=1).assign(arr=1.0)
    scoring.iloc[::-1].to_parquet(act / "scoring.parquet")
    features = {"features": catalogue(), "missing_families": ["sentiment"]}
    (act / "features.json").write_text(json.dumps(features))
    (act / "freshness.json").write_text(json.dumps({"notices": []}))
    write_alerts(act, spine)
    certificate = {"tables": {"accounts": {"fingerprint": fingerprint, "rows_quarantined": 2}}}
    (root / "data" / "validation_report.json").write_text(json.dumps(certificate))
    write_clean(clean, spine)


def write_alerts(act: Path, spine: pd.DataFrame, day: date = AS_OF) -> None:
    """Write two alerts of the first account and one of the fifth, which is not scored."""
    codes = pd.DataFrame({"place": [0, 0, 4], "code": ["usage_drop", "sponsor_lost", "low_score_not_followed_up"]})
    rows = spine[["account_id", "as_of"]].iloc[codes["place"]].reset_index(drop=True).assign(code=codes["code"])
    rows = rows.assign(
        started_on=[date(2026, 5, 4), date(2026, 4, 2), date(2026, 4, 9)], latest_cause_on=[None, *rows["as_of"][1:]]
    )
    rows = rows.assign(count=[None, 1, 2], tier=[None, "S", None], value=[3.0, 20.0, 4.0], expected=[20.4, None, None])
    rows = rows.assign(is_new=[True, False, True], first_reported_on=[day, date(2026, 5, 1), day])
    rows.to_parquet(act / "alerts.parquet")
    summary = {"as_of": day.isoformat(), "by_code": {"usage_drop": 1}, "digest": "d1"}
    (act / "alerts.json").write_text(json.dumps(summary))


def write_clean(clean: Path, spine: pd.DataFrame) -> None:
    """Write accounts, contracts and usage with rows known before, on and after the as-of date."""
    accounts = spine[["account_id", "account_name"]].assign(created_at=pd.Timestamp("2024-01-01"), recorded_at=pd.NaT)
    contracts = spine[["account_id"]].assign(contract_id=range(len(spine)), start_date=pd.Timestamp("2025-09-01"))
    contracts = contracts.assign(end_date=pd.Timestamp("2026-09-01"), signed_at=pd.NaT, arr=1.0)
    first = spine["account_id"].iloc[0]
    times = pd.to_datetime(["2026-05-01", "2026-05-31 23:59:59", "2026-06-01", "2026-05-02"], format="ISO8601")
    recorded = pd.to_datetime(["2026-05-01", "2026-05-31 23:59:59", "2026-06-01", "2026-06-02"], format="ISO8601")
    usage = pd.DataFrame({"account_id": first, "feature": "report", "occurred_at": times, "recorded_at": recorded})
    for name, table in (("accounts", accounts), ("contracts", contracts), ("usage_events", usage)):
        _with_all_columns(name, table).to_parquet(clean / f"{name}.parquet")


def _with_all_columns(name: str, table: pd.DataFrame) -> pd.DataFrame:
    """Add the missing columns of the table contract, as `check` does."""
    from renewals.features.tables import TABLES

    for column in TABLES[name].columns.values():
        if column.name not in table:
            time = str(column.type).startswith("timestamp")
            table[column.name] = pd.Series(
                pd.NaT if time else None, index=table.index, dtype="datetime64[us]" if time else object
            )
    return table.astype(dict.fromkeys(table.select_dtypes("datetime"), "datetime64[us]"))


def publish_company(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write the company and publish its list of the as-of date with champions that need no registry."""
    monkeypatch.setattr(champion_models, "load_champion", champions(renewal="3"))
    monkeypatch.setattr(model_registry, "fetch_challenger", lambda job, target: None)
    write_company(root)
    scoring.score(job(root))
    publish(job(root))
    return root
