"""Drift check: compare features, scores and outcomes with the reference; the report is in the manifest of each list.

The check may not fail a list: an error in it causes a warning and an entry in the manifest.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import timedelta
from typing import Any

import ibis
import pandas as pd
import structlog

from renewals.models.evaluation import drift
from renewals.models.evaluation.drift import DriftComparison
from renewals.models.explanation.reasons import FeatureMeta as Feature
from renewals.models.ranking import worklist
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.storage import features_file
from renewals.pipelines.storage.artifacts import SCORING, read_outcomes
from renewals.pipelines.storage.engine import warehouse
from renewals.pipelines.storage.notices import Notice
from renewals.pipelines.storage.published import published_lists
from renewals.reports.sentences.drift import drift_sentence
from renewals.reports.words import MESSAGES, Messages

COMPARISONS_IN_MANIFEST = 10
"""Maximum number of comparisons of one kind in the manifest: those furthest from the reference."""
MAX_LISTED_FEATURES = 5
"""Up to this number of drifted features, a reader can look at each; more are summed up in one notice. At a confidence
of 99 % for all features together, chance alone warns on one list in a hundred: more than a few have a common cause."""
MAX_LISTED_PARAMETERS = 3
"""Maximum number of changed parameters named in the notice."""
OUTCOME_DAYS = 365
"""Final renewals that were due within this number of days are compared with their predictions."""


def drift_report(
    job: Job, listed: pd.DataFrame, catalogue: Sequence[Feature], model_reference: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Build the drift entry of the manifest, with a warning in both languages for each alarm; also log each alarm.

    `listed` is the risk list; `model_reference` is the reference of the renewal model, None if it has none.
    """
    try:
        return _build_report(job, listed, catalogue, model_reference)
    except Exception as error:  # the drift check must never fail a list, whatever the error
        structlog.get_logger().warning("drift check failed", why=str(error))
        return {"failed": str(error), "warnings": []}


def drift_notices(report: Mapping[str, Any], changed_parameters: Sequence[str]) -> list[Notice]:
    """Notices of the list about drift (at most one): many features differ from the training data, or the list was made
    with other parameters than the model's training, which then are the cause.

    `report` is the result of `drift_report`; `changed_parameters` lists the parameters that differ from those of
    training.
    """
    differing = len({warning["name"] for warning in report["warnings"] if warning["kind"] in ("inputs", "missing")})
    counts = (
        {"differing": differing, "features": report["features_compared"]} if differing > MAX_LISTED_FEATURES else {}
    )
    more = [f"… ({len(changed_parameters)})"] if len(changed_parameters) > MAX_LISTED_PARAMETERS else []
    cause = (
        {"parameters": "; ".join([*changed_parameters[:MAX_LISTED_PARAMETERS], *more])} if changed_parameters else {}
    )
    code = "_".join([*(["drift"] if counts else []), *(["other_parameters"] if cause else [])])
    return [Notice(code, {**counts, **cause})] if code else []


def _build_report(
    job: Job, listed: pd.DataFrame, catalogue: Sequence[Feature], model_reference: Mapping[str, Any] | None
) -> dict[str, Any]:
    scored = listed[listed["status"].eq(worklist.SCORED)]
    comparisons = (
        list(_compare_inputs(job, scored, model_reference))
        + list(_compare_scores(job, scored, model_reference))
        + _compare_outcomes(job)
    )
    alarms = drift.select_alarms(comparisons, job.settings.drift.confidence)
    families = {str(feature["name"]): str(feature["family"]) for feature in catalogue}
    warnings = [
        _comparison_json(comparison) | _sentences(comparison, families.get(comparison.name)) for comparison in alarms
    ]
    for warning in warnings:
        structlog.get_logger().warning("drift", kind=warning["kind"], why=warning[job.settings.list.language])
    return {
        "reference": {name: model_reference[name] for name in ("accounts", "from", "to")} if model_reference else None,
        "comparisons": len(comparisons),
        "features_compared": len(
            {comparison.name for comparison in comparisons if comparison.kind in ("inputs", "missing")}
        ),
        "confidence": job.settings.drift.confidence,
        "warnings": warnings,
        **{
            kind: [_comparison_json(comparison) for comparison in _largest_shifts(comparisons, kind)]
            for kind in ("inputs", "missing")
        },
        **{
            kind: [_comparison_json(comparison) for comparison in comparisons if comparison.kind == kind]
            for kind in ("score", "previous_list")
        },
        "calibration": [_comparison_json(comparison) for comparison in comparisons if comparison.kind == "calibration"],
    }


def _largest_shifts(comparisons: Iterable[DriftComparison], kind: str) -> list[DriftComparison]:
    matching = [comparison for comparison in comparisons if comparison.kind == kind]
    return sorted(matching, key=lambda comparison: (-comparison.difference / comparison.limit, comparison.name))[
        :COMPARISONS_IN_MANIFEST
    ]


def _comparison_json(comparison: DriftComparison) -> dict[str, Any]:
    return {name: round(value, 6) if isinstance(value, float) else value for name, value in asdict(comparison).items()}


def _sentences(comparison: DriftComparison, family: str | None) -> dict[str, str]:
    return {language: drift_sentence(comparison, family, Messages(language)) for language in MESSAGES}


def _compare_inputs(
    job: Job, scored: pd.DataFrame, model_reference: Mapping[str, Any] | None
) -> Iterable[DriftComparison]:
    """Compare each feature of the scored accounts with the reference.

    One feature at a time, because the features of a million accounts do not fit into memory.
    """
    if not model_reference or scored.empty:
        return
    features = features_file.FeatureRows(job.folder / SCORING)
    positions = features.row_positions(scored["renewal_id"])
    for name, reference in model_reference["features"].items():
        if name in features.names:
            column = features.column(name).take(positions)
            yield from drift.compare_feature(name, column, reference, model_reference["accounts"], job.settings.drift)


def _compare_scores(
    job: Job, scored: pd.DataFrame, model_reference: Mapping[str, Any] | None
) -> Iterable[DriftComparison]:
    """Compare renewal probabilities with the back-test and with the last list, in the bins of the back-test."""
    if not model_reference or not model_reference["score"] or scored.empty:
        return
    score, options = model_reference["score"], job.settings.drift
    counts, _ = drift.count_bins(scored["renewal_probability"], score)
    yield drift.compare_distribution("score", "renewal_probability", counts, score, score["accounts"], options)
    last = published_lists.latest_list(job)
    if last is not None:
        before, _ = drift.count_bins(last.scores["renewal_probability"].dropna(), score)
        previous = {"shares": (before / max(before.sum(), 1)).tolist()}
        yield drift.compare_distribution("previous_list", last.day.isoformat(), counts, previous, before.sum(), options)


def _compare_outcomes(job: Job) -> list[DriftComparison]:
    """Compare the predictions of earlier lists with outcomes that have become final since, by month."""
    settings = job.settings
    final_by = pd.Timestamp(job.day) - timedelta(days=settings.grace.after_days + 1)
    first = final_by - timedelta(days=OUTCOME_DAYS)
    past_scores = [
        past_list.scores
        for past_list in published_lists.iter_previous_lists(job)
        if pd.Timestamp(past_list.day) >= first - timedelta(days=OUTCOME_DAYS)
    ]
    if not past_scores:
        return []
    rows = pd.concat(past_scores, ignore_index=True).rename(columns={"renewal_probability": "probability"})
    rows = rows.assign(**{day: pd.to_datetime(rows[day]) for day in ("as_of", "renewal_date")})
    # Select by the planned date: a contract that was cancelled before it is final sooner, and would count too early.
    due = rows[rows["probability"].notna() & rows["renewal_date"].between(first, final_by, inclusive="right")]
    predictions = drift.last_predictions(due, settings.gate.lead_days)
    if predictions.empty:
        return []
    return drift.compare_calibration(
        _join_outcomes(job, predictions), settings.forecast.quarter_effect_sd, settings.drift
    )


def _join_outcomes(job: Job, predictions: pd.DataFrame) -> pd.DataFrame:
    """Predictions whose outcome is final, with `label`; one row per renewal.

    Treated renewals are left out: the list predicts outcomes without an intervention.
    """
    from renewals.features.family import RENEWAL_KEY
    from renewals.features.point_in_time import known_rows
    from renewals.features.spine import DUE
    from renewals.models.target import Outcomes
    from renewals.models.targets.renewal import TARGET
    from renewals.models.training.treated import mark_treated

    con = warehouse.connect(job.settings.engine)
    days = {day: predictions[day].dt.date for day in ("as_of", "renewal_date")}
    rows = con.create_table(
        "predictions",
        predictions[["account_id", "renewal_id", "probability"]].assign(**days).reset_index(drop=True),
        temp=True,
    )
    outcomes = read_outcomes(con, job)
    labels = TARGET.label(rows.mutate(renewal_state=ibis.literal(DUE)), Outcomes(job.day, **outcomes))
    labelled = rows.inner_join(labels.filter(labels.label.notnull()), RENEWAL_KEY).select(
        *RENEWAL_KEY, "renewal_date", "probability", "label"
    )
    tables = warehouse.clean_tables(con, job.data)
    if "interventions" in tables:
        known = known_rows("interventions", tables["interventions"], job.day)
        treated = mark_treated(labelled, known, job.settings.folds.decided_days)
        labelled = labelled.anti_join(treated.filter(treated.treated == 1), RENEWAL_KEY)
    result: pd.DataFrame = labelled.order_by(*RENEWAL_KEY).to_pandas()
    return result.assign(renewal_date=pd.to_datetime(result["renewal_date"]))
