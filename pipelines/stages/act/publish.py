"""Publish the scored list of a day: all its files and its manifest, and archive the data that later lists need."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from renewals.pipelines.runtime import errors
from renewals.pipelines.runtime.checkout import code_revision, package_version
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.runtime.stage_main import main
from renewals.pipelines.storage import artifacts, data_files
from renewals.pipelines.storage.published import hindsight as training_day
from renewals.pipelines.storage.published.list_folder import list_key, lists_folder, publish_folder
from renewals.pipelines.storage.published.manifest import RISK_LIST

if TYPE_CHECKING:
    import pandas as pd

    from renewals.pipelines.storage.published.list_archive import InterventionsSince
    from renewals.pipelines.storage.published.published_lists import PreviousList
    from renewals.reports.render_failures import RenderFailures
    from renewals.reports.workbook.workbook import WorkbookData

NOT_PUBLISHED = "not published"


@dataclass(frozen=True)
class _ListSupplements:
    """Content of the list's files that does not come from its scores."""

    earlier_lists: list[PreviousList]
    """Previous lists, newest first."""
    forecast: list[dict[str, Any]] | None
    scorecard: dict[str, Any] | None
    """The scorecard of the day."""
    interventions: InterventionsSince | None
    """Interventions started since the last list."""


def publish(job: Job, failed_stages: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Publish the list that was scored for the act date: Parquet, CSV, workbook, pages and manifest.

    A trial publishes nothing: its list stays in the trial's folder. `failed_stages` contains the stages that failed but
    do not stop the list, with the reason, by name. Returns the outcome with the facts of the list.
    """
    from renewals.pipelines.scoring import page_data
    from renewals.pipelines.scoring.interventions_since import new_interventions
    from renewals.pipelines.scoring.render_failures import report_failures
    from renewals.pipelines.stages.act import scorecard
    from renewals.pipelines.storage.published.list_archive import archive_list
    from renewals.pipelines.storage.published.published_lists import archive_alerts
    from renewals.pipelines.storage.scored_list import read_scored_list
    from renewals.reports.render_failures import RenderFailures
    from renewals.reports.risk_list import count_rows

    score_summary, listed = read_scored_list(job)
    hindsight = training_day.is_hindsight_list(score_summary)
    models = {target: f"{model['name']}/{model['version']}" for target, model in score_summary["models"].items()}
    forecast = page_data.company_forecast(job, score_summary["models"].get("renewal"))
    interventions = new_interventions(job, listed, score_summary["playbooks"])
    supplements = _ListSupplements(
        page_data.load_earlier_lists(job), forecast, scorecard.read_scorecard(job), interventions
    )
    certificate = _read_validation_report(job.data)
    identity = _identity(job, score_summary, certificate["inputs"], supplements)
    manifest = {
        **score_summary,
        "identity": identity,
        "inputs": certificate["inputs"],
        "quarantine": certificate["quarantine"],
        "rows": count_rows(listed),
        "language": job.settings.list.language,
        "code_revision": code_revision(),
    }
    failures = RenderFailures()
    files = _render_files(job, score_summary, listed, models, supplements, list_key(identity), failures)
    manifest |= {"render_failures": report_failures(failures), "failed_stages": dict(failed_stages or {})}
    outcome = publish_folder(lists_folder(job), job.day, files, manifest, job.settings.list.keep_staging_hours)
    if job.trial:
        outcome |= {"state": NOT_PUBLISHED, "experiment": job.trial}
        structlog.get_logger().warning("trial: list not published", trial=job.trial, kept_in=outcome["folder"])
    else:
        archive_list(job, list_key(identity), interventions, hindsight)
        if not hindsight:
            archive_alerts(job)
    facts = {
        "as_of": score_summary["as_of"],
        training_day.HINDSIGHT_KEY: hindsight,
        "rows": len(listed),
        "models": models,
    }
    return (
        outcome
        | facts
        | {"targets_without_model": score_summary["targets_without_model"], "notices": score_summary["notices"]}
    )


def _render_files(
    job: Job,
    score_summary: Mapping[str, Any],
    listed: pd.DataFrame,
    models: Mapping[str, str],
    supplements: _ListSupplements,
    key: str,
    failures: RenderFailures,
) -> dict[str, bytes]:
    """Render every file of the list except its manifest; return the bytes by file name."""
    from renewals.pipelines.scoring import page_data
    from renewals.pipelines.stages.act import scorecard
    from renewals.reports.csv_export import to_csv
    from renewals.reports.html.list_page import render_list_page
    from renewals.reports.html.scorecard_page import render_scorecard_page
    from renewals.reports.risk_list import to_parquet
    from renewals.reports.workbook.workbook import build_workbook

    options, card = job.settings.list, supplements.scorecard
    page = page_data.build_page_data(job, listed, score_summary, supplements.earlier_lists, supplements.forecast)
    files = {
        RISK_LIST: to_parquet(listed),
        "risk_list.csv": to_csv(listed),
        "risk_list.xlsx": build_workbook(
            listed, _workbook_data(job, score_summary, listed, models, supplements, key), options, failures
        ),
        "risk_list.html": render_list_page(listed, page, options, scorecard.PAGE if card else "", failures),
    }
    if card:
        files[scorecard.PAGE] = render_scorecard_page(
            card, options.language, "risk_list.html", score_summary["notices"]
        )
    return files


def _workbook_data(
    job: Job,
    score_summary: Mapping[str, Any],
    listed: pd.DataFrame,
    models: Mapping[str, str],
    supplements: _ListSupplements,
    key: str,
) -> WorkbookData:
    """Collect the data that the workbook shows in addition to the list."""
    from renewals.reports.workbook.workbook import WorkbookData

    done, last = supplements.interventions, (score_summary["score_change"]["previous_list"] or {}).get("list_key")
    return WorkbookData(
        models=models,
        untrained_targets=score_summary["targets_without_model"],
        missing_families=score_summary["missing_families"],
        library=score_summary["playbooks"],
        interventions=(done.last_list_day, done.interventions) if done else None,
        previous_list=next(
            (
                (past_list.day, past_list.scores)
                for past_list in supplements.earlier_lists
                if str(past_list.manifest["list_key"]) == last
            ),
            None,
        ),
        forecast=supplements.forecast or (),
        scorecard=supplements.scorecard,
        disagreements=artifacts.read_disagreements(job),
        fingerprint=key,
        notices=score_summary["notices"],
        history=score_summary[artifacts.HISTORY],
    )


def _identity(
    job: Job, score_summary: Mapping[str, Any], inputs: Mapping[str, Any], supplements: _ListSupplements
) -> dict[str, Any]:
    """Everything that determines the list's content; its hash is the list key."""
    from renewals.pipelines.stages.act import scorecard

    return {
        "as_of": score_summary["as_of"],
        "models": score_summary["models"],
        "features_sha256": score_summary["features_sha256"],
        "inputs": inputs,
        "parameters_sha256": _policy_fingerprint(job),
        "list": job.settings.list.model_dump(mode="json", exclude={"hindsight"}),
        "playbooks": score_summary["playbooks"],
        "decided_days": job.settings.folds.decided_days,
        "previous_list": score_summary["score_change"]["previous_list"],
        "alerts": score_summary["alerts"]["digest"],
        "release": package_version(),
        "earlier_lists": [str(past_list.manifest["list_key"]) for past_list in supplements.earlier_lists],
        "forecast": list_key({"rows": supplements.forecast}),
        "scorecard": scorecard.fingerprint(job) if supplements.scorecard else None,
        "disagreements": artifacts.disagreements_fingerprint(job),
        "notices": score_summary["notices"],
    }


def _policy_fingerprint(job: Job) -> str:
    """SHA-256 of the parameters that decide who is listed and what a feature means, without those of the machine."""
    names = (
        "spine",
        "grace",
        "renewal",
        "contracts",
        "usage",
        "stakeholders",
        "tickets",
        "journey",
        "money",
        "quarantine",
        "source",
    )
    parameters = job.settings.model_dump_json(include=set(names))
    return hashlib.sha256(parameters.encode()).hexdigest()


def _read_validation_report(data: Path) -> dict[str, dict[str, Any]]:
    """Read each table's fingerprint and its number of quarantined rows from the validation report."""
    try:
        tables = data_files.load_json(data / artifacts.VALIDATION_REPORT)["tables"]
    except FileNotFoundError:
        raise errors.MissingInputError(f"no validation report in {data}: run `renewals check` first") from None
    inputs = {name: table["fingerprint"] for name, table in tables.items()}
    return {"inputs": inputs, "quarantine": {name: table["rows_quarantined"] for name, table in tables.items()}}


if __name__ == "__main__":
    main(publish)
