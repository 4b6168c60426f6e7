"""A trained model goes to MLflow, and through the gate: what passes serves, what does not says why.

The same data, parameters and code make the same version: nothing is registered twice. The gate is asked every time,
for its limits may have changed.
"""

from __future__ import annotations

import io
import json
import math
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from pipelines import tracking, warehouse
from pipelines.errors import DataContract, InputMissing
from pipelines.stage import Job, main
from pipelines.train import BACKTEST, CARD, RENEWAL, as_json, read_catalogue, read_model, why_untrained

if TYPE_CHECKING:
    import lightgbm as lgb
    import pandas as pd
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

    from models.options import Gate

CATALOGUE, METRICS = "features.json", "metrics.json"
MUST_BEAT, MUST_EQUAL = "base_rate", "logistic_regression"


def register(job: Job, target: str) -> dict[str, Any]:
    """Register the target's model and let the gate decide; write and return what it decided.

    `passed` says whether this model serves now; `reasons` why not. Nothing is raised on refusal: the caller decides.
    """
    files = read_model(job, target)
    untrained = why_untrained(files)
    if untrained is None:
        decided = _registered(job, target, files, read_metrics(job, target))
    else:
        decided = {"passed": False, "trained": False, "reasons": [untrained], "version": None, "already": False}
    decided = {"target": target, "name": tracking.registry_name(target), **decided}
    warehouse.write_bytes(job.data / "registered" / f"{target}.json", as_json(decided))
    return decided


def read_metrics(job: Job, target: str) -> dict[str, Any]:
    """What `evaluate` wrote."""
    path = job.data / "evaluation" / target / METRICS
    if not path.is_file():
        raise InputMissing(f"no back-test at {path}: run `renewals learn`, or the stage evaluate, first")
    metrics: dict[str, Any] = json.loads(path.read_bytes())
    return metrics


def _registered(job: Job, target: str, files: dict[str, bytes], metrics: dict[str, Any]) -> dict[str, Any]:
    gate = job.settings.gate
    with tracking.alone(job):
        client = tracking.tracking(job)
        with tracking.answering(tracking.tracking_uri(job)):
            version, already = _version(client, job, target, files, metrics)
            serving = tracking.current(client, target)
            reasons = refusals(metrics["judged"], gate)
            compared = None
            if serving is not None and serving.version != version.version:
                standing = _whole(client, serving)
                compared = against(_backtest(standing), _backtest(files), target, gate) if standing else None
                reasons += _worse(compared, serving) if compared else []
            _decide(client, version, reasons)
    return {
        "passed": not reasons,
        "trained": True,
        "reasons": reasons,
        "version": str(version.version),
        "already": already,
        "against_champion": compared,
    }


def _whole(client: MlflowClient, version: ModelVersion) -> dict[str, bytes] | None:
    """The files of a version, or None where they are harmed: such a one can neither serve nor stand in the way."""
    try:
        return tracking.checked(client, version)
    except DataContract as harm:
        structlog.get_logger().warning("a registered model is harmed", model=version.name, why=str(harm))
        return None


def _decide(client: MlflowClient, version: ModelVersion, reasons: list[str]) -> None:
    client.set_model_version_tag(version.name, version.version, "gate", "refused" if reasons else "passed")
    client.set_model_version_tag(version.name, version.version, tracking.REASONS_TAG, "; ".join(reasons) or "none")
    if not reasons:
        client.set_registered_model_alias(version.name, tracking.CHAMPION, version.version)


# --- the gate ------------------------------------------------------------------------------------


def refusals(judged: Mapping[str, Any], gate: Gate) -> list[str]:
    """Why a model may not serve, in words; empty where it may."""
    few = _too_few(judged, gate)
    return [few] if few else [*_unbeaten(judged), *_uncalibrated(judged, gate)]


def _too_few(judged: Mapping[str, Any], gate: Gate) -> str | None:
    terms, events = judged["terms"], judged["events"]
    if terms >= gate.min_renewals and events >= gate.min_events and "gain_over" in judged:
        return None
    return (
        f"tested on {terms} terms with {events:.0f} of the rarer outcome: at least {gate.min_renewals} "
        f"(gate.min_renewals) and {gate.min_events} (gate.min_events) are needed to judge it"
    )


def _unbeaten(judged: Mapping[str, Any]) -> list[str]:
    """Better than the base rate beyond doubt; than a logistic regression, as far as its interval can tell."""
    over, reasons = judged["gain_over"], []
    if not over[MUST_BEAT]["low"] > 0:
        reasons.append(f"not surely better than the base rate: log loss lower by {_gain(over[MUST_BEAT])}")
    if MUST_EQUAL in over and not over[MUST_EQUAL]["high"] > 0:
        reasons.append(f"worse than a plain logistic regression: log loss lower by {_gain(over[MUST_EQUAL])}")
    return reasons


def _uncalibrated(judged: Mapping[str, Any], gate: Gate) -> list[str]:
    slope, (low, high), reasons = judged["calibration_slope"], gate.slope, []
    if slope["value"] is None or slope["high"] < low or slope["low"] > high:
        reasons.append(f"calibration slope {_span(slope)} lies outside {low} to {high} (gate.slope)")
    beyond_chance = math.sqrt(max(judged["error"] ** 2 - judged["error_by_chance"] ** 2, 0))
    if beyond_chance > gate.max_error:
        reasons.append(
            f"calibration error {beyond_chance:.3f}, beyond chance, is above {gate.max_error} (gate.max_error)"
        )
    return reasons


def _span(found: Mapping[str, float | None]) -> str:
    return " ".join("?" if found[name] is None else f"{found[name]:.2f}" for name in ("low", "value", "high"))


def _gain(found: Mapping[str, float]) -> str:
    return f"{found['value']:.4f} ({found['low']:.4f} to {found['high']:.4f})"


def against(champion: pd.DataFrame, challenger: pd.DataFrame, target: str, gate: Gate) -> dict[str, Any]:
    """How much lower the challenger's log loss is where both spoke before the outcome; null with too few such rows."""
    from models.folds import weights
    from models.metrics import at_lead, gain

    rows = challenger.merge(
        champion[["account_id", "as_of", "probability"]], on=["account_id", "as_of"], suffixes=("", "_champion")
    )
    rows = rows[~rows["decided"].astype(bool)]
    rows = at_lead(rows, gate.lead_days) if target == RENEWAL else rows
    found: dict[str, Any] = {"rows": len(rows), "terms": int(rows["term"].nunique()), "gain": None}
    if found["terms"] < gate.min_renewals:
        return found
    values = gain(
        rows["label"], rows["probability"], rows["probability_champion"], rows["account_id"],
        weights(rows["term"]), gate.bootstrap, gate.confidence,
    )  # fmt: skip
    return {**found, "gain": dict(zip(("value", "low", "high"), values, strict=True))}


def _worse(compared: Mapping[str, Any], serving: ModelVersion) -> list[str]:
    gain = compared["gain"]
    if gain is None or gain["high"] >= 0:
        return []
    return [f"worse than the champion, version {serving.version}, on the same rows: log loss lower by {_gain(gain)}"]


def _backtest(files: Mapping[str, bytes]) -> pd.DataFrame:
    """What a model would have said in the past; one row per tested observation."""
    import pandas as pd

    return pd.read_parquet(io.BytesIO(files[BACKTEST]))


# --- the run and the version ---------------------------------------------------------------------


def _version(
    client: MlflowClient, job: Job, target: str, files: dict[str, bytes], metrics: dict[str, Any]
) -> tuple[ModelVersion, bool]:
    """The version of these files, unharmed, and whether it was there already."""
    identity = _identity(job, files)
    for version in tracking.versions(client, target):
        if version.tags.get(tracking.IDENTITY_TAG) == identity and _whole(client, version):
            return version, True
    return _new_version(client, job, target, files, metrics, identity), False


def _identity(job: Job, files: Mapping[str, bytes]) -> str:
    """What makes a version the same: what it learned from, how, by which code, and what came out."""
    from models.learner import FILES

    card = tracking.described(dict(files), CARD)
    made_of = [
        card["fingerprint"],
        tracking.code_fingerprint(),
        _options(job),
        [tracking.sha256(files[n]) for n in FILES],
    ]
    return tracking.sha256(json.dumps(made_of, sort_keys=True).encode())


def _options(job: Job) -> dict[str, Any]:
    sections = ("folds", "linear", "lightgbm", "calibration")
    chosen = {
        f"{name}.{key}": value for name in sections for key, value in getattr(job.settings, name).model_dump().items()
    }
    return {
        **chosen,
        "grace.before_days": job.settings.grace.before_days,
        "grace.after_days": job.settings.grace.after_days,
    }


def _new_version(
    client: MlflowClient, job: Job, target: str, files: dict[str, bytes], metrics: dict[str, Any], identity: str
) -> ModelVersion:
    from models.learner import Learned

    name = tracking.registry_name(target)
    kept = {**files, CATALOGUE: as_json({"features": read_catalogue(job)}), METRICS: as_json(metrics)}
    manifest = tracking.manifest_of(kept)
    card = tracking.described(files, CARD)
    tags = {
        tracking.IDENTITY_TAG: identity,
        tracking.MANIFEST_TAG: tracking.sha256(manifest),
        "target": target,
        "until": card["until"],
        "code_sha256": tracking.code_fingerprint(),
        "schema_sha256": tracking.described(files, "schema.json")["hash"],
        **_data_fingerprints(job, card),
    }
    run = client.create_run(tracking.experiment(client, job, target), tags=tags, run_name=f"{target} {card['until']}")
    _log(client, run.info.run_id, job, card, metrics)
    booster = Learned.from_files(files).booster
    source = _log_model(client, run, booster, {**kept, tracking.MANIFEST: manifest}, target)
    _ensure_registered(client, name, target)
    version = client.create_model_version(name, source, run.info.run_id, tags=tags, await_creation_for=60)
    client.set_terminated(run.info.run_id)
    return version


def _data_fingerprints(job: Job, card: Mapping[str, Any]) -> dict[str, str]:
    certificate = job.data / "certificate.json"
    found = {"training_sha256": card["training_sha256"], "rows_sha256": card["fingerprint"]}
    return (
        {**found, "certificate_sha256": tracking.sha256(certificate.read_bytes())} if certificate.is_file() else found
    )


def _ensure_registered(client: MlflowClient, name: str, target: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name, description=f"The probability of {target}, per account and month.")
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _log(client: MlflowClient, run_id: str, job: Job, card: Mapping[str, Any], metrics: Mapping[str, Any]) -> None:
    from mlflow.entities import Param

    chosen = {"until": card["until"], **{f"recipe.{key}": value for key, value in card["recipe"].items()}}
    params = [Param(key, str(value)[:6000]) for key, value in {**_options(job), **chosen}.items()]
    client.log_batch(run_id, metrics=list(_figures(card, metrics)), params=params)
    for name, content in plots(job, card["target"]).items():
        _log_bytes(client, run_id, f"plots/{name}", content)
    resolved = job.settings.model_dump(mode="json", exclude={"tracking"})
    _log_bytes(client, run_id, "params.json", as_json(resolved))


def _figures(card: Mapping[str, Any], metrics: Mapping[str, Any]) -> Iterable[Any]:
    """Every finite figure: by lead, step 0 of all folds together, step n of the n-th; MLflow spoils infinite ones."""
    from mlflow.entities import Metric

    def figures() -> Iterable[tuple[str, Any, int]]:
        yield from (("rows", card["rows"], 0), ("terms", card["terms"], 0), ("yes", card["yes"], 0))
        for days, speakers in metrics["at_lead"].items():
            for speaker, scores in speakers.items():
                if isinstance(scores, dict):
                    prefix = "" if speaker == "model" else f"{speaker}."
                    yield from ((f"{prefix}{name}_{days}d", value, 0) for name, value in scores.items())
        for number, fold in enumerate(metrics["folds"], start=1):
            for days, scores in fold["at_lead"].items():
                yield from ((f"fold.{name}_{days}d", scores[name], number) for name in ("auc", "log_loss", "rows"))

    for key, value, step in figures():
        if value is not None and math.isfinite(value):
            yield Metric(key, float(value), 0, step)


def _log_bytes(client: MlflowClient, run_id: str, name: str, content: bytes) -> None:
    with tempfile.TemporaryDirectory(prefix="renewals-run-") as folder:
        path = Path(folder) / Path(name).name
        path.write_bytes(content)
        client.log_artifact(run_id, str(path), str(Path(name).parent) if "/" in name else None)


def _log_model(client: MlflowClient, run: Any, booster: lgb.Booster, files: Mapping[str, bytes], target: str) -> str:
    """The native booster, which MLflow loads without us, and all the rest beside it; returns where."""
    import mlflow.lightgbm

    with tempfile.TemporaryDirectory(prefix="renewals-model-") as folder:
        beside = Path(folder) / "files"
        beside.mkdir()
        for name, content in files.items():
            (beside / name).write_bytes(content)
        mlflow.lightgbm.save_model(
            booster,
            str(Path(folder) / "model"),
            pip_requirements=[f"lightgbm=={_installed('lightgbm')}"],
            extra_files=[str(path) for path in sorted(beside.iterdir())],
        )
        model = client.create_logged_model(run.info.experiment_id, name=target, source_run_id=run.info.run_id)
        client.log_model_artifacts(model.model_id, str(Path(folder) / "model"))
        client.finalize_logged_model(model.model_id, "READY")
    return f"models:/{model.model_id}"


def _installed(package: str) -> str:
    from importlib.metadata import version

    return version(package)


# --- plots ---------------------------------------------------------------------------------------


def plots(job: Job, target: str) -> dict[str, bytes]:
    """Calibration, ROC and importance as pictures."""
    import pandas as pd

    folder = job.data / "evaluation" / target / "plots"
    tables = {name: pd.read_csv(folder / f"{name}.csv") for name in ("calibration", "roc", "importance")}
    return {
        "calibration.png": _drawn(_draw_calibration, tables["calibration"]),
        "roc.png": _drawn(_draw_roc, tables["roc"]),
        "importance.png": _drawn(_draw_importance, tables["importance"].head(20)),
    }


def _drawn(draw: Any, table: pd.DataFrame) -> bytes:
    """A figure of its own, not of pyplot: no display, no state, no leftovers."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 5), layout="constrained")
    draw(figure.subplots(), table)
    sink = io.BytesIO()
    figure.savefig(sink, format="png", dpi=100, metadata={"Software": None})
    return sink.getvalue()


def _draw_calibration(axes: Any, table: pd.DataFrame) -> None:
    axes.plot([0, 1], [0, 1], color="grey", linewidth=1)
    axes.plot(table["promised"], table["seen"], marker="o")
    axes.set(xlabel="promised", ylabel="seen", title="Calibration, by tenths", xlim=(0, 1), ylim=(0, 1))


def _draw_roc(axes: Any, table: pd.DataFrame) -> None:
    axes.plot([0, 1], [0, 1], color="grey", linewidth=1)
    for speaker, curve in table.groupby("speaker", sort=False):
        axes.plot(curve["false_positive_rate"], curve["true_positive_rate"], label=str(speaker))
    axes.set(xlabel="false positive rate", ylabel="true positive rate", title="ROC")
    if len(table):
        axes.legend()


def _draw_importance(axes: Any, table: pd.DataFrame) -> None:
    axes.barh(table["feature"][::-1], table["mean_contribution"][::-1])
    axes.set(xlabel="mean distance the margin is moved", title="Features")


if __name__ == "__main__":
    main(register)
