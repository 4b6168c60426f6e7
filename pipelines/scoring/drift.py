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
from renewals.models.evaluation.drift import Look
from renewals.models.explanation.reasons import Words as Feature
from renewals.models.ranking import worklist
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.storage import features_file
from renewals.pipelines.storage.artifacts import SCORING, read_outcomes
from renewals.pipelines.storage.engine import warehouse
from renewals.pipelines.storage.notices import Notice
from renewals.pipelines.storage.published import published_lists
from renewals.reports.sentences.drift import sentence
from renewals.reports.words import LANGUAGES, Words

SHOWN = 10
"""So many looks of a kind stand in the manifest, those furthest from what was usual."""
MANY = 5
"""Up to so many figures that differ, a reader can look at each; more are summed up in one notice. At a confidence of
99 % for all figures together chance alone warns on one list of a hundred, so more than a few have a common cause."""
NAMED = 3
"""So many changed parameters are named in the notice."""
DAYS = 365
"""Renewals that fell due within so many days, and are final, are held against what was said of them."""


def watched(
    job: Job, listed: pd.DataFrame, features: Sequence[Feature], usual: Mapping[str, Any] | None
) -> dict[str, Any]:
    """What the manifest says of drift, with a warning in both languages and in the log for each alarm."""
    try:
        return _watched(job, listed, features, usual)
    except Exception as fault:  # a monitor may not fail a list, whatever is wrong with it
        structlog.get_logger().warning("drift was not looked for", why=str(fault))
        return {"failed": str(fault), "warnings": []}


def drift_notices(found: Mapping[str, Any], changed: Sequence[str]) -> list[Notice]:
    """At most one notice: the accounts differ in many figures from those the model learned from, or the list is made
    with other parameters, which then is the cause.

    `found` is what `watched` returns, and `changed` says which parameters differ from those of learning.
    """
    differing = len({one["name"] for one in found["warnings"] if one["what"] in ("inputs", "missing")})
    counts = {"differing": differing, "figures": found["figures"]} if differing > MANY else {}
    more = [f"… ({len(changed)})"] if len(changed) > NAMED else []
    cause = {"parameters": "; ".join([*changed[:NAMED], *more])} if changed else {}
    code = "_".join([*(["drift"] if counts else []), *(["other_parameters"] if cause else [])])
    return [Notice(code, {**counts, **cause})] if code else []


def _watched(
    job: Job, listed: pd.DataFrame, features: Sequence[Feature], usual: Mapping[str, Any] | None
) -> dict[str, Any]:
    scored = listed[listed["status"].eq(worklist.SCORED)]
    looks = list(_of_inputs(job, scored, usual)) + list(_of_scores(job, scored, usual)) + _of_outcomes(job)
    alarms = drift.alarms(looks, job.settings.drift.confidence)
    families = {str(feature["name"]): str(feature["family"]) for feature in features}
    warnings = [_as_tree(look) | _words(look, families.get(look.name)) for look in alarms]
    for warning in warnings:
        structlog.get_logger().warning("drift", what=warning["what"], why=warning[job.settings.list.language])
    return {
        "reference": {name: usual[name] for name in ("accounts", "from", "to")} if usual else None,
        "looks": len(looks),
        "figures": len({look.name for look in looks if look.what in ("inputs", "missing")}),
        "confidence": job.settings.drift.confidence,
        "warnings": warnings,
        **{what: [_as_tree(look) for look in _furthest(looks, what)] for what in ("inputs", "missing")},
        **{what: [_as_tree(look) for look in looks if look.what == what] for what in ("score", "last_list")},
        "calibration": [_as_tree(look) for look in looks if look.what == "calibration"],
    }


def _furthest(looks: Iterable[Look], what: str) -> list[Look]:
    own = [look for look in looks if look.what == what]
    return sorted(own, key=lambda look: (-look.size / look.limit, look.name))[:SHOWN]


def _as_tree(look: Look) -> dict[str, Any]:
    return {name: round(own, 6) if isinstance(own, float) else own for name, own in asdict(look).items()}


def _words(look: Look, family: str | None) -> dict[str, str]:
    return {language: sentence(look, family, Words(language)) for language in LANGUAGES}


def _of_inputs(job: Job, scored: pd.DataFrame, usual: Mapping[str, Any] | None) -> Iterable[Look]:
    """The features of the scored accounts, one after the other: a million accounts' figures are not held at once."""
    if not usual or scored.empty:
        return
    figures = features_file.FeatureRows(job.side / SCORING)
    places = figures.places(scored["account_id"])
    for name, own in usual["features"].items():
        if name in figures.names:
            column = figures.column(name).take(places)
            yield from drift.feature_looks(name, column, own, usual["accounts"], job.settings.drift)


def _of_scores(job: Job, scored: pd.DataFrame, usual: Mapping[str, Any] | None) -> Iterable[Look]:
    """The chances of renewal beside those of the back-test and of the last list, in the bins of the back-test."""
    if not usual or not usual["score"] or scored.empty:
        return
    score, options = usual["score"], job.settings.drift
    counts, _ = drift.binned(scored["renewal_probability"], score)
    yield drift.distribution("score", "renewal_probability", counts, score, score["accounts"], options)
    last = published_lists.newest(job)
    if last is not None:
        before, _ = drift.binned(last.listed["renewal_probability"].dropna(), score)
        was = {"shares": (before / max(before.sum(), 1)).tolist()}
        yield drift.distribution("last_list", last.day.isoformat(), counts, was, before.sum(), options)


def _of_outcomes(job: Job) -> list[Look]:
    """What earlier lists said of renewals that have become final since, month by month."""
    settings = job.settings
    final_by = pd.Timestamp(job.day) - timedelta(days=settings.grace.after_days + 1)
    first = final_by - timedelta(days=DAYS)
    told = [
        one.listed for one in published_lists.published(job) if pd.Timestamp(one.day) >= first - timedelta(days=DAYS)
    ]
    if not told:
        return []
    rows = pd.concat(told, ignore_index=True).rename(columns={"renewal_probability": "probability"})
    rows = rows.assign(**{day: pd.to_datetime(rows[day]) for day in ("as_of", "renewal_date")})
    # By the date planned: a contract cancelled before it is final sooner, and would be counted before the others.
    due = rows[rows["probability"].notna() & rows["renewal_date"].between(first, final_by, inclusive="right")]
    once = drift.once_each(due, settings.gate.lead_days)
    if once.empty:
        return []
    return drift.calibration_looks(_labelled(job, once), settings.forecast.usual_spread, settings.drift)


def _labelled(job: Job, told: pd.DataFrame) -> pd.DataFrame:
    """The rows whose outcome is known, with `label`, one row per renewal.

    Those that an intervention worked on are left out: the list says what becomes of an account left alone.
    """
    from renewals.features.family import KEY
    from renewals.features.point_in_time import known_on
    from renewals.models.target import Outcomes
    from renewals.models.targets.renewal import TARGET
    from renewals.models.training.treated import treated_between

    con = warehouse.connect(job.settings.engine)
    days = {day: told[day].dt.date for day in ("as_of", "renewal_date")}
    rows = con.create_table(
        "told", told[["account_id", "probability"]].assign(**days).reset_index(drop=True), temp=True
    )
    made = read_outcomes(con, job)
    labels = TARGET.label(rows.select(*KEY, "renewal_date"), Outcomes(job.day, **made))
    both = rows.inner_join(labels.filter(labels.label.notnull()), KEY).select(
        *KEY, "renewal_date", "probability", "label"
    )
    tables = warehouse.clean_tables(con, job.data)
    if "interventions" in tables:
        known = known_on("interventions", tables["interventions"], job.day)
        worked_on = treated_between(both, known, job.settings.folds.decided_days)
        both = both.anti_join(worked_on.filter(worked_on.treated == 1), KEY)
    found: pd.DataFrame = both.order_by(*KEY).to_pandas()
    return found.assign(renewal_date=pd.to_datetime(found["renewal_date"]))
