"""Whether today's accounts, their scores, and what came of earlier lists are as usual: part of every score's manifest.

A monitor may not fail a list: whatever is in its way is a warning, and a word in the manifest.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import timedelta
from typing import Any

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
"""So many looks of a kind stand in the manifest, those furthest from what was usual."""
MAX_LISTED_FEATURES = 5
"""Up to so many figures that differ, a reader can look at each; more are summed up in one notice. At a confidence of
99 % for all figures together chance alone warns on one list of a hundred, so more than a few have a common cause."""
MAX_LISTED_PARAMETERS = 3
"""So many changed parameters are named in the notice."""
OUTCOME_DAYS = 365
"""Renewals that fell due within so many days, and are final, are held against what was said of them."""


def drift_report(
    job: Job, listed: pd.DataFrame, catalogue: Sequence[Feature], model_reference: Mapping[str, Any] | None
) -> dict[str, Any]:
    """What the manifest says of drift, with a warning in both languages and in the log for each alarm."""
    try:
        return _build_report(job, listed, catalogue, model_reference)
    except Exception as fault:  # a monitor may not fail a list, whatever is wrong with it
        structlog.get_logger().warning("drift check failed", why=str(fault))
        return {"failed": str(fault), "warnings": []}


def drift_notices(report: Mapping[str, Any], changed_parameters: Sequence[str]) -> list[Notice]:
    """At most one notice: the accounts differ in many figures from those the model learned from, or the list is made
    with other parameters, which then is the cause.

    `report` is what `drift_report` returns, and `changed_parameters` says which parameters differ from those of
    learning.
    """
    differing = len({one["name"] for one in report["warnings"] if one["kind"] in ("inputs", "missing")})
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
    looks = (
        list(_compare_inputs(job, scored, model_reference))
        + list(_compare_scores(job, scored, model_reference))
        + _compare_outcomes(job)
    )
    alarms = drift.select_alarms(looks, job.settings.drift.confidence)
    families = {str(feature["name"]): str(feature["family"]) for feature in catalogue}
    warnings = [_comparison_json(look) | _sentences(look, families.get(look.name)) for look in alarms]
    for warning in warnings:
        structlog.get_logger().warning("drift", kind=warning["kind"], why=warning[job.settings.list.language])
    return {
        "reference": {name: model_reference[name] for name in ("accounts", "from", "to")} if model_reference else None,
        "comparisons": len(looks),
        "features_compared": len({look.name for look in looks if look.kind in ("inputs", "missing")}),
        "confidence": job.settings.drift.confidence,
        "warnings": warnings,
        **{what: [_comparison_json(look) for look in _largest_shifts(looks, what)] for what in ("inputs", "missing")},
        **{
            what: [_comparison_json(look) for look in looks if look.kind == what] for what in ("score", "previous_list")
        },
        "calibration": [_comparison_json(look) for look in looks if look.kind == "calibration"],
    }


def _largest_shifts(comparisons: Iterable[DriftComparison], kind: str) -> list[DriftComparison]:
    own = [look for look in comparisons if look.kind == kind]
    return sorted(own, key=lambda look: (-look.difference / look.limit, look.name))[:COMPARISONS_IN_MANIFEST]


def _comparison_json(comparison: DriftComparison) -> dict[str, Any]:
    return {name: round(own, 6) if isinstance(own, float) else own for name, own in asdict(comparison).items()}


def _sentences(comparison: DriftComparison, family: str | None) -> dict[str, str]:
    return {language: drift_sentence(comparison, family, Messages(language)) for language in MESSAGES}


def _compare_inputs(
    job: Job, scored: pd.DataFrame, model_reference: Mapping[str, Any] | None
) -> Iterable[DriftComparison]:
    """The features of the scored accounts, one after the other: a million accounts' figures are not held at once."""
    if not model_reference or scored.empty:
        return
    figures = features_file.FeatureRows(job.folder / SCORING)
    places = figures.row_positions(scored["account_id"])
    for name, own in model_reference["features"].items():
        if name in figures.names:
            column = figures.column(name).take(places)
            yield from drift.compare_feature(name, column, own, model_reference["accounts"], job.settings.drift)


def _compare_scores(
    job: Job, scored: pd.DataFrame, model_reference: Mapping[str, Any] | None
) -> Iterable[DriftComparison]:
    """The chances of renewal beside those of the back-test and of the last list, in the bins of the back-test."""
    if not model_reference or not model_reference["score"] or scored.empty:
        return
    score, options = model_reference["score"], job.settings.drift
    counts, _ = drift.count_bins(scored["renewal_probability"], score)
    yield drift.compare_distribution("score", "renewal_probability", counts, score, score["accounts"], options)
    last = published_lists.latest_list(job)
    if last is not None:
        before, _ = drift.count_bins(last.scores["renewal_probability"].dropna(), score)
        was = {"shares": (before / max(before.sum(), 1)).tolist()}
        yield drift.compare_distribution("previous_list", last.day.isoformat(), counts, was, before.sum(), options)


def _compare_outcomes(job: Job) -> list[DriftComparison]:
    """What earlier lists said of renewals that have become final since, month by month."""
    settings = job.settings
    final_by = pd.Timestamp(job.day) - timedelta(days=settings.grace.after_days + 1)
    first = final_by - timedelta(days=OUTCOME_DAYS)
    told = [
        one.scores
        for one in published_lists.iter_previous_lists(job)
        if pd.Timestamp(one.day) >= first - timedelta(days=OUTCOME_DAYS)
    ]
    if not told:
        return []
    rows = pd.concat(told, ignore_index=True).rename(columns={"renewal_probability": "probability"})
    rows = rows.assign(**{day: pd.to_datetime(rows[day]) for day in ("as_of", "renewal_date")})
    # By the date planned: a contract cancelled before it is final sooner, and would be counted before the others.
    due = rows[rows["probability"].notna() & rows["renewal_date"].between(first, final_by, inclusive="right")]
    once = drift.last_predictions(due, settings.gate.lead_days)
    if once.empty:
        return []
    return drift.compare_calibration(_join_outcomes(job, once), settings.forecast.quarter_effect_sd, settings.drift)


def _join_outcomes(job: Job, predictions: pd.DataFrame) -> pd.DataFrame:
    """The rows whose outcome is known, with `label`, one row per renewal.

    Those that an intervention worked on are left out: the list says what becomes of an account left alone.
    """
    from renewals.features.family import KEY
    from renewals.features.point_in_time import known_rows
    from renewals.models.target import Outcomes
    from renewals.models.targets.renewal import TARGET
    from renewals.models.training.treated import mark_treated

    con = warehouse.connect(job.settings.engine)
    days = {day: predictions[day].dt.date for day in ("as_of", "renewal_date")}
    rows = con.create_table(
        "told", predictions[["account_id", "probability"]].assign(**days).reset_index(drop=True), temp=True
    )
    made = read_outcomes(con, job)
    labels = TARGET.label(rows.select(*KEY, "renewal_date"), Outcomes(job.day, **made))
    both = rows.inner_join(labels.filter(labels.label.notnull()), KEY).select(
        *KEY, "renewal_date", "probability", "label"
    )
    tables = warehouse.clean_tables(con, job.data)
    if "interventions" in tables:
        known = known_rows("interventions", tables["interventions"], job.day)
        worked_on = mark_treated(both, known, job.settings.folds.decided_days)
        both = both.anti_join(worked_on.filter(worked_on.treated == 1), KEY)
    found: pd.DataFrame = both.order_by(*KEY).to_pandas()
    return found.assign(renewal_date=pd.to_datetime(found["renewal_date"]))
