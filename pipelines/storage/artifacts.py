"""Names of the files that stages exchange in the data folder, and functions that read them."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterable
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from renewals.pipelines.runtime import json_values
from renewals.pipelines.runtime.errors import MissingInputError
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.storage import data_files, old_names
from renewals.pipelines.storage.old_features import reject_old_features

if TYPE_CHECKING:
    import ibis.expr.types as ir
    import pandas as pd

# --- tables and observations ---------------------------------------------------------------------

TABLES, VALIDATION_REPORT, FRESHNESS = "tables.json", "validation_report.json", "freshness.json"
ROLLUP, PERSON_DAYS, ROLLUP_FEATURES, ROLLUP_PARTS = "rollup", "person_days", "product_features.json", "parts.json"
SPINE, SCORING, TRAINING, CATALOGUE = "spine.parquet", "scoring.parquet", "training.parquet", "features.json"
HISTORY = "history"
"""Key of the catalogue of a training table, of a model card and of a manifest: what is known only as of today."""
LEDGER, WINDOWS, FEATURES, LABELS = "ledger", "windows", "features", "labels"
"""Subfolders of a work folder (`act` or `learn`), with one table per file."""
LEARN_COMMAND, SCORE_COMMAND = "renewals learn --until DATE", "renewals score --as-of DATE"
"""Commands that write the tables of `learn` and of `act` again."""
TERM_STATES, TERM_OUTCOMES = f"{LEDGER}/term_states.parquet", f"{LEDGER}/term_outcomes.parquet"
EXPANSIONS = f"{LEDGER}/expansions.parquet"


def read_spine(con: Any, job: Job) -> ir.Table:
    """Observations of the job; one row per (account_id, as_of). Raises MissingInputError."""
    from renewals.pipelines.storage.engine import warehouse

    return warehouse.read_parquet(con, job.folder / SPINE)


def read_person_days(con: Any, job: Job) -> ir.Table:
    """Usage per person and day, as `rollup` wrote it. Raises MissingInputError."""
    from renewals.pipelines.storage.engine import warehouse

    return warehouse.read_parquet(con, job.data / ROLLUP / PERSON_DAYS)


def read_tables(con: Any, folder: Path, names: Iterable[str]) -> dict[str, ir.Table]:
    """The named Parquet tables of a folder, by name. Raises MissingInputError."""
    from renewals.pipelines.storage.engine import warehouse

    return {name: warehouse.read_parquet(con, folder / f"{name}.parquet") for name in names}


def read_outcomes(con: Any, job: Job) -> dict[str, ir.Table]:
    """Ledger tables of the job that decide labels, by name. Raises MissingInputError."""
    return read_tables(con, job.folder / LEDGER, ("term_states", "term_outcomes", "expansions"))


# --- learning ------------------------------------------------------------------------------------

MODELS = "models"
BACKTEST, BACKTEST_BY_AGE, MODEL_CARD, SCHEMA = (
    "backtest.parquet",
    "predictions_by_model_age.parquet",
    "model_card.json",
    "schema.json",
)
METRICS, HEADLINE = "metrics.json", "headline.json"
BACKTEST_FOLDER, BACKTEST_PAGE, BACKTEST_REPORT, BACKTEST_ROWS = (
    "backtest",
    "index.html",
    "report.json",
    "predictions.parquet",
)
EFFECT = "effect/effect.json"
TUNE, TUNE_TRAINING_TABLE = "tune", "tune/training_table.json"


def read_training(job: Job) -> pd.DataFrame:
    """Training table of the job; one row per (account_id, as_of).

    Raises MissingInputError if it is missing, OldFeaturesError if it is from an older release.
    """
    import pandas as pd

    path = job.folder / TRAINING
    if not path.is_file():
        raise MissingInputError(f"no training table at {path}: run `renewals learn`, or the stage assemble, first")
    rows = pd.read_parquet(path)
    reject_old_features(rows.columns, f"{path} holds", LEARN_COMMAND)
    return rows


def training_digest(job: Job) -> str:
    """SHA-256 of the job's training table."""
    return sha256((job.folder / TRAINING).read_bytes())


def read_catalogue(folder: Path) -> list[dict[str, Any]]:
    """Metadata of the features, one entry per feature, as `assemble` wrote it next to them.

    Raises MissingInputError if it is missing, OldFeaturesError if it is from an older release.
    """
    catalogue = read_archived_catalogue(folder)
    command = SCORE_COMMAND if (folder / SCORING).is_file() else LEARN_COMMAND
    reject_old_features((feature["name"] for feature in catalogue), f"{folder / CATALOGUE} holds", command)
    return catalogue


def read_history(folder: Path) -> dict[str, list[str]]:
    """Columns without a history that the models of a training table do not read, and those that they do.

    Empty if the table is from an older release.
    """
    history: dict[str, list[str]] = data_files.load_json(folder / CATALOGUE).get(HISTORY, {})
    return history


def read_archived_catalogue(folder: Path) -> list[dict[str, Any]]:
    """Metadata of the features of a published list, whose features may have the names of an older release.

    Raises MissingInputError if it is missing.
    """
    try:
        catalogue: list[dict[str, Any]] = data_files.load_json(folder / CATALOGUE)["features"]
    except FileNotFoundError:
        raise MissingInputError(f"no {CATALOGUE} in {folder}: run the stage `assemble` for this date first") from None
    return catalogue


def read_model(root: Path, target: str) -> dict[str, bytes]:
    """Files of the model in `<root>/models/<target>/`, content by name.

    `root` is the job's folder for a model trained in this run, the data folder for the model of the last `learn`.
    Raises MissingInputError if it is missing or from an older release.
    """
    folder = root / MODELS / target
    if not (folder / SCHEMA).is_file():
        raise MissingInputError(f"no model in {folder}: run `renewals learn`, or the stage train, first")
    files = old_names.rename_model_files(
        {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}
    )
    if untrained_reason(files) is None and "hyperparameters" not in json.loads(files.get(MODEL_CARD, b"{}")):
        raise MissingInputError(
            f"the model in {folder} is from an older release: run `renewals learn`, or the stage train, first"
        )
    return files


def untrained_reason(files: dict[str, bytes]) -> str | None:
    """Reason why no model could be trained, or None if `files` contain a trained model."""
    schema = json.loads(files[SCHEMA])
    return None if schema["trained"] else str(schema["reason"])


def sha256(content: bytes) -> str:
    """SHA-256 of the content, as hexadecimal text."""
    return hashlib.sha256(content).hexdigest()


def to_json_bytes(tree: dict[str, Any]) -> bytes:
    """Content of a JSON file for the tree; NaN and infinite numbers become null."""
    return (json.dumps(json_values.nan_to_null(tree), indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def to_parquet_bytes(table: pd.DataFrame) -> bytes:
    """Content of a Parquet file for the table."""
    sink = io.BytesIO()
    table.to_parquet(sink, index=False)
    return sink.getvalue()


# --- the list ------------------------------------------------------------------------------------

CONTEXT, CHAMPIONS = "context.json", "champions.json"
LIST, CONTRIBUTIONS, PEER_MEDIANS, SCORE_SUMMARY = (
    "list.parquet",
    "contributions.parquet",
    "peer_medians.parquet",
    "score.json",
)
PRESCRIBED_PLAYBOOKS = "prescribed_playbooks.parquet"
STRENGTH_FEATURES = "strength_features.parquet"
"""Features behind the strengths, which the list does not contain; one row per account of the list, in its order."""
NOT_SCORED_REASONS = "not_scored_reasons.parquet"
"""Reasons for missing scores, in every language; one row per account without a score."""
WHAT_IF_GRID = "what_if_grid.parquet"
"""Predictions of the model for other feature values; one row per (account, feature, value)."""
SCORE_CHANGES = "score_changes.parquet"
"""Changes of the scores since the last list; one row per scored account."""
CHALLENGER_SCORES = "challenger_scores.parquet"
"""Scores of the challengers; one row per target and scored account."""
PEER_GROUP = "peer_group"
"""Column of the contributions with the account's peer group."""


ALERTS, ALERTS_SUMMARY = "alerts.parquet", "alerts.json"


def read_alerts_summary(job: Job) -> dict[str, Any]:
    """Summary that the stage `alerts` wrote for the scoring date. Raises MissingInputError."""
    try:
        summary: dict[str, Any] = data_files.load_json(job.folder / ALERTS_SUMMARY)
    except FileNotFoundError:
        summary = {"as_of": None}
    if summary["as_of"] != job.day.isoformat():
        raise MissingInputError(
            f"no alerts of {job.day} in {job.folder}: run the stages before `score` for this date first"
        )
    return summary


def read_alerts(job: Job) -> pd.DataFrame:
    """Alerts of the scoring date; one row per (account_id, code), in the order of the codes."""
    return data_files.load_frame(job.folder / ALERTS)


DISAGREEMENTS, DISAGREEMENTS_SUMMARY = "disagreements.parquet", "disagreements.json"


def read_disagreements(job: Job) -> tuple[pd.DataFrame, dict[str, Any]] | None:
    """Disagreements between managers and the list on the scoring date, one row each, and their tally.

    None if they were not computed for this date, or if no answer was ever collected.
    """
    if _summary_day(job) != job.day:
        return None
    tally = _read_summary(job)["tally"]
    if tally is None:
        return None
    return data_files.load_frame(job.folder / DISAGREEMENTS), old_names.rename_keys(tally, old_names.TALLY_KEYS)


def disagreements_fingerprint(job: Job) -> str | None:
    """Fingerprint of the disagreements that a list of the scoring date shows; None if there are none for this date."""
    summary = _read_summary(job)
    return summary["digest"] if summary["as_of"] == job.day.isoformat() else None


def _summary_day(job: Job) -> date | None:
    day = _read_summary(job)["as_of"]
    return None if day is None else date.fromisoformat(day)


def _read_summary(job: Job) -> dict[str, Any]:
    try:
        summary: dict[str, Any] = data_files.load_json(job.folder / DISAGREEMENTS_SUMMARY)
    except FileNotFoundError:
        return {"as_of": None, "tally": None, "digest": None}
    return summary


FORECAST_FOLDER, FORECAST, FORECAST_SUMMARY = "forecast", "forecast.parquet", "forecast.json"
SCORECARD_FOLDER, SCORECARD, SCORECARD_SUMMARY = "scorecard", "scorecard.parquet", "scorecard.json"
EVALUATION = "evaluation"
