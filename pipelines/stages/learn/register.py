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
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from renewals.features.family import KEY
from renewals.pipelines.runtime.errors import DataContract, InputMissing
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.runtime.stage_main import main
from renewals.pipelines.stages.learn.evaluate import EVALUATION
from renewals.pipelines.storage import folders
from renewals.pipelines.storage.artifacts import (
    AGED,
    BACKTEST,
    CARD,
    MODELS,
    as_json,
    read_catalogue,
    read_model,
    read_training,
    why_untrained,
)
from renewals.pipelines.storage.engine import warehouse
from renewals.pipelines.storage.registry import champion_history, model_loader, model_registry
from renewals.pipelines.storage.registry.logged_actions import actions_read
from renewals.pipelines.storage.registry.trained_models import learning_options

if TYPE_CHECKING:
    import lightgbm as lgb
    import pandas as pd
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

CATALOGUE, METRICS, REGISTERED = "features.json", "metrics.json", "registered"
TRIAL_TAG, VERDICT_TAG = "renewals.trial", "renewals.verdict"


def register(job: Job, target: str) -> dict[str, Any]:
    """Register the target's model and let the gate decide; write and return what it decided.

    `passed` says whether the gate let it through, `reasons` why not, `serves` which version serves now, `waits` why a
    model that passed does not. Nothing is raised on refusal: the caller decides. The model and its evaluation are
    copied from the side of learning to the data folder: those of the last learning.

    A trial registers and copies nothing. It is compared with the champion and tracked; `verdict` says what would have
    come of it in earnest.
    """
    files = read_model(job.side, target)
    untrained = why_untrained(files)
    if untrained is None:
        decided = _registered(job, target, files, read_metrics(job, target))
    else:
        decided = {"passed": False, "trained": False, "reasons": [untrained], "version": None, "already": False}
        decided |= {"trial": job.trial, "verdict": "would be refused"} if job.trial else {}
    decided = {"target": target, "name": model_registry.registry_name(target), **decided}
    warehouse.write_bytes(job.side / REGISTERED / f"{target}.json", as_json(_receipt(decided)))
    if not job.trial:
        _land(job, target)
    return decided


def _receipt(decided: Mapping[str, Any]) -> dict[str, Any]:
    """What stays true of a registration: which version serves, and which waits, only the registry knows later on."""
    moving = {"serves": "champion", "waits": "waits"}
    kept = {name: value for name, value in decided.items() if name not in moving}
    return kept | {"at_registration": {name: decided[own] for own, name in moving.items() if own in decided}}


def _land(job: Job, target: str) -> None:
    """Copy what was learned of a target to the data folder, each folder whole or not at all."""
    for kind in (MODELS, EVALUATION):
        folders.copy_folder(job.side / kind / target, job.data / kind / target)
    receipt = job.side / REGISTERED / f"{target}.json"
    warehouse.write_bytes(job.data / REGISTERED / receipt.name, receipt.read_bytes())


def read_metrics(job: Job, target: str) -> dict[str, Any]:
    """What `evaluate` wrote."""
    path = job.side / EVALUATION / target / METRICS
    if not path.is_file():
        raise InputMissing(f"no back-test at {path}: run `renewals learn`, or the stage evaluate, first")
    metrics: dict[str, Any] = json.loads(path.read_bytes())
    return metrics


@dataclass(frozen=True)
class Verdict:
    """What the gate says of a model, beside the champion of the moment."""

    reasons: list[str]
    """Why it may not serve; empty where it may."""
    compared: dict[str, Any] | None
    """How it compares with the champion on the same rows; None where there is none, or it is the champion itself."""
    waits: str | None
    """Why it does not serve by itself, although it passed."""
    older: bool
    """Whether it learned until an earlier day than the champion."""
    uncompared: str | None = None
    """Why it was not compared with the champion that is there; None where it was, or where there is none."""


def _registered(job: Job, target: str, files: dict[str, bytes], metrics: dict[str, Any]) -> dict[str, Any]:
    """Register the model, or track it as a trial; what the gate says of it, and what serves now."""
    with model_registry.alone(job):
        client = model_registry.tracking(job)
        with model_registry.answering(model_registry.tracking_uri(job)):
            if job.trial:
                version, already = _known(client, job, target, files), False
            else:
                version, already = _version(client, job, target, files, metrics)
            champion = model_registry.current(client, target)
            verdict = _verdict(client, job, target, champion, version, files, metrics)
            if job.trial:
                done = _track(client, job, target, files, metrics, verdict, _same(champion, version))
            else:
                assert version is not None
                waits = _decide(client, target, version, champion, verdict)
                done = {"version": str(version.version), "already": already, "waits": waits}
            champion = model_registry.current(client, target)
    return {
        "passed": not verdict.reasons,
        "trained": True,
        "reasons": verdict.reasons,
        "serves": str(champion.version) if champion is not None else None,
        "against_champion": verdict.compared,
        "not_compared": verdict.uncompared,
        **done,
    }


def _verdict(
    client: MlflowClient,
    job: Job,
    target: str,
    champion: ModelVersion | None,
    version: ModelVersion | None,
    files: dict[str, bytes],
    metrics: Mapping[str, Any],
) -> Verdict:
    """Ask the gate; `version` is the registered version of these files, None where there is none."""
    from renewals.models.evaluation.gate import refusals, worse

    gate, until = job.settings.gate, str(model_registry.described(files, CARD)["until"])
    reasons, same = refusals(metrics["judged"], gate), _same(champion, version)
    compared, uncompared = None, None
    if champion is not None and not same:
        compared, uncompared = _against(client, job, target, champion, files)
        reasons += worse(compared, str(champion.version)) if compared else []
    older = champion is not None and until < champion.tags.get("until", "")
    waits = None if same else _why_it_waits(client, target, champion, version, until if older else None, gate.promote)
    return Verdict(reasons, compared, None if reasons else waits, older, uncompared)


def _same(one: ModelVersion | None, other: ModelVersion | None) -> bool:
    return one is not None and other is not None and one.version == other.version


def _whole(client: MlflowClient, version: ModelVersion) -> dict[str, bytes] | None:
    """The files of a version, or None where they are harmed: such a one can neither serve nor stand in the way."""
    try:
        return model_registry.checked(client, version)
    except DataContract as harm:
        structlog.get_logger().warning("a registered model is harmed", model=version.name, why=str(harm))
        return None


def _decide(
    client: MlflowClient, target: str, version: ModelVersion, champion: ModelVersion | None, verdict: Verdict
) -> str | None:
    """Write down what the gate said and let what passed serve; why it waits instead, where it does.

    What has served before and was taken back, or gave way to another, returns by hand only: learning once more from
    the same rows must not undo a rollback. A model that learned until an earlier day than the champion serves by hand
    only, too, and is no challenger: it must not take the place of one that waits.
    """
    said, reasons = (
        model_registry.REFUSED if verdict.reasons else model_registry.PASSED,
        "; ".join(verdict.reasons) or "none",
    )
    client.set_model_version_tag(version.name, version.version, model_registry.GATE_TAG, said)
    client.set_model_version_tag(version.name, version.version, model_registry.REASONS_TAG, reasons)
    if verdict.reasons:
        champion_history.turn_away(client, target, version)
        return None
    if _same(champion, version):
        return None
    if verdict.waits is None:
        champion_history.crown(client, target, version, champion_history.PASSED_BY_ITSELF)
        return None
    if not verdict.older:
        champion_history.wait(client, version)
    by_hand = f"{verdict.waits}: `renewals promote {target} --version {version.version}` makes it serve"
    structlog.get_logger().warning("a model waits", target=target, version=version.version, why=by_hand)
    return by_hand


def _why_it_waits(
    client: MlflowClient,
    target: str,
    champion: ModelVersion | None,
    version: ModelVersion | None,
    older: str | None,
    promote: str,
) -> str | None:
    """Why a model that passed does not serve by itself; `older` is its day where the champion learned until a later."""
    who = f"version {version.version}" if version is not None else "this model"
    if older and champion is not None:
        return (
            f"{who} learned until {older}, an earlier day than the champion, version {champion.version}, "
            f"which learned until {champion.tags['until']}"
        )
    if promote == "manual":
        return f"{who} passed the gate and waits (gate.promote is manual)"
    if version is None:
        return None
    if champion_history.BACK_TAG in version.tags:
        return f"{who} was rolled back ({version.tags[champion_history.BACK_TAG]})"
    served = str(version.version) in champion_history.line(client, target, champion)
    return f"{who} served before and was replaced" if served else None


# --- trials --------------------------------------------------------------------------------------


def _track(
    client: MlflowClient,
    job: Job,
    target: str,
    files: dict[str, bytes],
    metrics: Mapping[str, Any],
    verdict: Verdict,
    serves: bool,
) -> dict[str, Any]:
    """Log a trial to MLflow: a run under the trial's name, and no version. Returns what learning it would have done."""
    card, outcome = model_registry.described(files, CARD), _outcome(verdict, serves)
    tags = {
        **_run_tags(job, target, card),
        TRIAL_TAG: str(job.trial),
        VERDICT_TAG: outcome,
        model_registry.REASONS_TAG: "; ".join(verdict.reasons) or "none",
    }
    name = f"{target} {card['until']}, trial {job.trial}"
    run = client.create_run(model_registry.experiment(client, job, target), tags=tags, run_name=name)
    _log(client, run.info.run_id, job, card, metrics, plots(job, target))
    client.log_batch(run.info.run_id, metrics=list(_gains(verdict.compared or {})))
    client.set_terminated(run.info.run_id)
    return {"trial": job.trial, "version": None, "already": False, "waits": verdict.waits, "verdict": outcome}


def _outcome(verdict: Verdict, serves: bool) -> str:
    """What would have come of a trial, had it been learned in earnest."""
    if verdict.reasons:
        return "would be refused"
    if serves:
        return "is the champion already"
    return "would wait" if verdict.waits else "would serve"


def _gains(compared: Mapping[str, Any]) -> Iterable[Any]:
    """How much better a model is than the champion, with the ends of the interval, where that can be said."""
    from mlflow.entities import Metric

    for name in ("gain", "auc"):
        for end, value in (compared.get(name) or {}).items():
            if math.isfinite(value):
                yield Metric(f"{name}_over_champion.{end}", float(value), 0, 0)


# --- the champion's word -------------------------------------------------------------------------


def _against(
    client: MlflowClient, job: Job, target: str, champion: ModelVersion, files: Mapping[str, bytes]
) -> tuple[dict[str, Any] | None, str | None]:
    """How the trained model compares with the champion on rows neither had seen, or why it cannot be compared.

    A champion that reads logged actions may know whom we treated, and may not serve: it is no measure.
    """
    from renewals.models.evaluation.gate import against, paired

    standing, who = _whole(client, champion), f"the champion, version {champion.version},"
    if standing is None:
        return None, f"{who} is harmed"
    if actions_read(standing):
        return None, f"{who} reads logged actions"
    training, challenger = read_training(job), backtest(files)
    later = _later(job, champion, standing, training, challenger)
    parts = [name for name in job.settings.gate.segments if name in training.columns]
    rows = paired(challenger, backtest(standing), later)
    rows = rows.merge(_keyed(training, parts), on=list(KEY), how="left", validate="one_to_one")
    return {**against(rows, target, job.settings.gate), "spoken_by_itself": len(later)}, None


def _later(
    job: Job, champion: ModelVersion, files: dict[str, bytes], training: pd.DataFrame, challenger: pd.DataFrame
) -> pd.DataFrame:
    """What the champion itself says of rows observed since it was trained; one row per observation, perhaps none.

    None at all where it cannot be asked: it does not load, or knows columns that are there no longer.
    """
    import pandas as pd

    from renewals.models.evaluation.gate import itself

    until = pd.Timestamp(model_registry.described(files, CARD)["until"])
    keys = challenger.loc[itself(challenger, until), list(KEY)]
    if keys.empty:
        return keys.assign(probability=0.0)
    try:
        rows = keys.merge(_keyed(training, training.columns.drop(list(KEY))), on=list(KEY), validate="one_to_one")
        model = model_loader.loaded(job.data, f"{champion.name}/{champion.version}", files)
        return rows[list(KEY)].assign(probability=model.probability(rows))
    except (DataContract, ValueError) as fault:
        structlog.get_logger().warning("the champion cannot be asked", model=champion.name, why=str(fault))
        return keys.head(0).assign(probability=0.0)


def _keyed(training: pd.DataFrame, columns: Iterable[str]) -> pd.DataFrame:
    """Some columns of the training table beside its key, with days as the back-test has them."""
    import pandas as pd

    return training[[*KEY, *columns]].assign(as_of=pd.to_datetime(training["as_of"]))


def backtest(files: Mapping[str, bytes]) -> pd.DataFrame:
    """What a model would have said in the past; one row per tested observation."""
    import pandas as pd

    return pd.read_parquet(io.BytesIO(files[BACKTEST]))


# --- the run and the version ---------------------------------------------------------------------


def _version(
    client: MlflowClient, job: Job, target: str, files: dict[str, bytes], metrics: dict[str, Any]
) -> tuple[ModelVersion, bool]:
    """The version of these files, unharmed, and whether it was there already."""
    known = _known(client, job, target, files)
    return (known, True) if known else (_new_version(client, job, target, files, metrics), False)


def _known(client: MlflowClient, job: Job, target: str, files: dict[str, bytes]) -> ModelVersion | None:
    """The registered version of these files, where there is one that is unharmed."""
    identity = _identity(job, files)
    same = (
        own for own in model_registry.versions(client, target) if own.tags.get(model_registry.IDENTITY_TAG) == identity
    )
    return next((version for version in same if _whole(client, version)), None)


def _identity(job: Job, files: Mapping[str, bytes]) -> str:
    """What makes a version the same: what it learned from, how, by which code, and what came out."""
    from renewals.models.training.ensemble import FILES

    card = model_registry.described(dict(files), CARD)
    made_of = [
        card["fingerprint"],
        model_registry.code_fingerprint(),
        learning_options(job),
        [model_registry.sha256(files[n]) for n in FILES],
    ]
    return model_registry.sha256(json.dumps(made_of, sort_keys=True).encode())


def _new_version(
    client: MlflowClient, job: Job, target: str, files: dict[str, bytes], metrics: dict[str, Any]
) -> ModelVersion:
    name = model_registry.registry_name(target)
    kept = _kept(files, job, metrics)
    manifest = model_registry.manifest_of(kept)
    card = model_registry.described(files, CARD)
    tags = {
        **_run_tags(job, target, card),
        model_registry.IDENTITY_TAG: _identity(job, files),
        model_registry.MANIFEST_TAG: model_registry.sha256(manifest),
        "schema_sha256": model_registry.described(files, "schema.json")["hash"],
    }
    with ThreadPoolExecutor(1) as beside:  # the trial is a process of its own: meanwhile there is time to draw
        tried = beside.submit(model_loader.loaded, job.data, f"of {target} in {job.side / MODELS}", files)
        pictures = plots(job, target)
    booster = tried.result().booster
    run = client.create_run(
        model_registry.experiment(client, job, target), tags=tags, run_name=f"{target} {card['until']}"
    )
    _log(client, run.info.run_id, job, card, metrics, pictures)
    source = _log_model(client, run, booster, {**kept, model_registry.MANIFEST: manifest}, target)
    _ensure_registered(client, name, target)
    version = client.create_model_version(name, source, run.info.run_id, tags=tags, await_creation_for=60)
    client.set_terminated(run.info.run_id)
    return version


def _kept(files: Mapping[str, bytes], job: Job, metrics: dict[str, Any]) -> dict[str, bytes]:
    """The files of a version: the model without the words of its forerunners, what its features mean, its metrics."""
    own = {name: content for name, content in files.items() if name != AGED}
    return {**own, CATALOGUE: as_json({"features": read_catalogue(job.side)}), METRICS: as_json(metrics)}


def _run_tags(job: Job, target: str, card: Mapping[str, Any]) -> dict[str, str]:
    """What every run says of what it learned, from what and by which code."""
    about = {"target": target, "until": card["until"], "code_sha256": model_registry.code_fingerprint()}
    return about | _data_fingerprints(job, card)


def _data_fingerprints(job: Job, card: Mapping[str, Any]) -> dict[str, str]:
    certificate = job.data / "certificate.json"
    found = {"training_sha256": card["training_sha256"], "rows_sha256": card["fingerprint"]}
    return (
        {**found, "certificate_sha256": model_registry.sha256(certificate.read_bytes())}
        if certificate.is_file()
        else found
    )


def _ensure_registered(client: MlflowClient, name: str, target: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name, description=f"The probability of {target}, per account and month.")
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _log(
    client: MlflowClient,
    run_id: str,
    job: Job,
    card: Mapping[str, Any],
    metrics: Mapping[str, Any],
    pictures: Mapping[str, bytes],
) -> None:
    from mlflow.entities import Param

    chosen = {"until": card["until"], **{f"recipe.{key}": value for key, value in card["recipe"].items()}}
    params = [Param(key, str(value)[:6000]) for key, value in {**learning_options(job), **chosen}.items()]
    client.log_batch(run_id, metrics=list(_figures(card, metrics)), params=params)
    for name, content in pictures.items():
        _log_bytes(client, run_id, f"plots/{name}", content)
    # Addresses may hold a password, and say nothing of the model.
    resolved = job.settings.model_dump(mode="json", exclude={"tracking", "tables", "warehouse"})
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

    folder = job.side / EVALUATION / target / "plots"
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
