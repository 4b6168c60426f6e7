"""Publish the scored accounts of a day: every file of the list, its manifest, and what is kept behind it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from renewals.pipelines.runtime import errors
from renewals.pipelines.runtime.checkout import code_revision, release
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.runtime.stage_main import main
from renewals.pipelines.storage import artifacts, data_files
from renewals.pipelines.storage.published import hindsight as training_day
from renewals.pipelines.storage.published.list_folder import key_of, lists_folder, place
from renewals.pipelines.storage.published.manifest import RISK_LIST

if TYPE_CHECKING:
    import pandas as pd

    from renewals.pipelines.storage.published.list_archive import Since
    from renewals.pipelines.storage.published.published_lists import Published
    from renewals.reports.render_failures import Losses
    from renewals.reports.workbook.workbook import Behind

NOT_PUBLISHED = "not published"


@dataclass(frozen=True)
class _Beside:
    """What a list is shown with that its scores do not hold."""

    before: list[Published]
    """The lists before it, the newest first."""
    foretold: list[dict[str, Any]] | None
    card: dict[str, Any] | None
    """The scorecard of the day."""
    since: Since | None
    """What was begun since the last list."""


def publish(job: Job, without: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Publish the list that was scored for the act date: Parquet, CSV, workbook, pages and manifest.

    A trial publishes nothing: its list is kept in the trial's folder, for a look at it. `without` names what failed
    beside the list, and why.
    """
    from renewals.pipelines.scoring import page_data
    from renewals.pipelines.scoring.interventions_since import since
    from renewals.pipelines.scoring.render_failures import report_losses
    from renewals.pipelines.stages.act import scorecard
    from renewals.pipelines.storage.published.list_archive import keep_day
    from renewals.pipelines.storage.published.published_lists import keep_told
    from renewals.pipelines.storage.scored_list import read_scored
    from renewals.reports.render_failures import Losses
    from renewals.reports.risk_list import counts

    standing, listed = read_scored(job)
    hindsight = training_day.is_marked(standing)
    models = {target: f"{model['name']}/{model['version']}" for target, model in standing["models"].items()}
    foretold = page_data.forecast(job, standing["models"]["renewal"])
    done = since(job, listed, standing["playbooks"])
    beside = _Beside(page_data.earlier_lists(job), foretold, scorecard.read(job), done)
    certificate = _certificate(job.data)
    identity = _identity(job, standing, certificate["inputs"], beside)
    manifest = {
        **standing,
        "identity": identity,
        "inputs": certificate["inputs"],
        "quarantine": certificate["quarantine"],
        "rows": counts(listed),
        "language": job.settings.list.language,
        "code": code_revision(),
    }
    losses = Losses()
    files = _files(job, standing, listed, models, beside, key_of(identity), losses)
    manifest |= {"left_out": report_losses(losses), "without": dict(without or {})}
    outcome = place(lists_folder(job), job.day, files, manifest, job.settings.list.keep_staging_hours)
    if job.trial:
        outcome |= {"state": NOT_PUBLISHED, "trial": job.trial}
        structlog.get_logger().warning("a trial publishes no list", trial=job.trial, kept_in=outcome["folder"])
    else:
        keep_day(job, key_of(identity), done, hindsight)
        if not hindsight:
            keep_told(job)
    about = {"as_of": standing["as_of"], training_day.MARK: hindsight, "rows": len(listed), "models": models}
    return outcome | about | {"absent": standing["absent"], "notices": standing["notices"]}


def _files(
    job: Job,
    standing: Mapping[str, Any],
    listed: pd.DataFrame,
    models: Mapping[str, str],
    beside: _Beside,
    key: str,
    losses: Losses,
) -> dict[str, bytes]:
    """The bytes of every file of the list but its manifest, by name."""
    from renewals.pipelines.scoring import page_data
    from renewals.pipelines.stages.act import scorecard
    from renewals.reports.csv_export import as_csv
    from renewals.reports.html.list_page import as_page
    from renewals.reports.html.scorecard_page import as_page as as_scorecard
    from renewals.reports.risk_list import as_parquet
    from renewals.reports.workbook.workbook import as_workbook

    options, card = job.settings.list, beside.card
    drawn = page_data.behind(job, listed, standing, beside.before, beside.foretold)
    files = {
        RISK_LIST: as_parquet(listed),
        "risk_list.csv": as_csv(listed),
        "risk_list.xlsx": as_workbook(listed, _behind(job, standing, listed, models, beside, key), options, losses),
        "risk_list.html": as_page(listed, drawn, options, scorecard.PAGE if card else "", losses),
    }
    if card:
        files[scorecard.PAGE] = as_scorecard(card, options.language, "risk_list.html", standing["notices"])
    return files


def _behind(
    job: Job, standing: Mapping[str, Any], listed: pd.DataFrame, models: Mapping[str, str], beside: _Beside, key: str
) -> Behind:
    """What stands behind the workbook."""
    from renewals.reports.workbook.workbook import Behind

    done, last = beside.since, (standing["change"]["last"] or {}).get("key")
    return Behind(
        models=models,
        absent=standing["absent"],
        untold=standing["families_absent"],
        plays=standing["playbooks"],
        since=(done.last, done.begun) if done else None,
        last=next(((one.day, one.listed) for one in beside.before if str(one.manifest["key"]) == last), None),
        forecast=beside.foretold or (),
        card=beside.card,
        apart=artifacts.read_disagreements(job),
        key=key,
        notices=standing["notices"],
    )


def _identity(job: Job, standing: Mapping[str, Any], inputs: Mapping[str, Any], beside: _Beside) -> dict[str, Any]:
    """All that a list is made from."""
    from renewals.pipelines.stages.act import scorecard

    return {
        "as_of": standing["as_of"],
        "models": standing["models"],
        "features": standing["features"],
        "inputs": inputs,
        "policy": _policy(job),
        "list": job.settings.list.model_dump(mode="json", exclude={"hindsight"}),
        "playbooks": standing["playbooks"],
        "decided_days": job.settings.folds.decided_days,
        "last": standing["change"]["last"],
        "alerts": standing["alerts"]["digest"],
        "release": release(),
        "earlier": [str(one.manifest["key"]) for one in beside.before],
        "forecast": key_of({"rows": beside.foretold}),
        "scorecard": scorecard.digest(job) if beside.card else None,
        "disagreements": artifacts.disagreements_digest(job),
        "notices": standing["notices"],
    }


def _policy(job: Job) -> str:
    """A digest of the parameters that decide who is listed and what a feature means; those of the machine do not."""
    names = (
        "spine",
        "grace",
        "renewal",
        "usage",
        "stakeholders",
        "tickets",
        "journey",
        "money",
        "quarantine",
        "source",
    )
    told = job.settings.model_dump_json(include=set(names))
    return hashlib.sha256(told.encode()).hexdigest()


def _certificate(data: Path) -> dict[str, dict[str, Any]]:
    """The fingerprint of each table read, and how many of its rows were set aside."""
    try:
        tables = data_files.load_json(data / artifacts.CERTIFICATE)["tables"]
    except FileNotFoundError:
        raise errors.InputMissing(f"no certificate in {data}: run `renewals check` first") from None
    inputs = {name: table["fingerprint"] for name, table in tables.items()}
    return {"inputs": inputs, "quarantine": {name: table["rows_quarantined"] for name, table in tables.items()}}


if __name__ == "__main__":
    main(publish)
