"""What each playbook did to renewals, as known on the day the run stands on: `effect/effect.json`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from renewals.features.patterns import normalize_text
from renewals.models.settings import RENEWAL
from renewals.pipelines.runtime.errors import DataContract, InputMissing
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.runtime.stage_main import main
from renewals.pipelines.storage.artifacts import TRAINING, as_json, read_catalogue, read_training
from renewals.pipelines.storage.engine import atomic, warehouse
from renewals.pipelines.storage.playbook_library import effects_path, library

if TYPE_CHECKING:
    import pandas as pd

    from renewals.models.ranking.treatment_effect import Found, Refused

NOTES = ("headline", "plain", "unseen")


def effect(job: Job) -> dict[str, Any]:
    """Compare treated observations of the training table with untreated ones that looked alike."""
    return written(*studied(job), job)


def written(rows: pd.DataFrame, told: list[Found | Refused], job: Job) -> dict[str, Any]:
    """Write `effect/effect.json`, and return the same with where it is."""
    report = _report(rows, told, job)
    file = effects_path(job)
    atomic.write_bytes(file, as_json(report))
    return {"file": str(file), **report}


def studied(job: Job) -> tuple[pd.DataFrame, list[Found | Refused]]:
    """The rows compared, one per (account_id, as_of), and what is said of each playbook."""
    from renewals.models.ranking.treatment_effect import compared, effects
    from renewals.models.training.splits import observations

    settings = job.settings
    interventions = logged(job)
    try:
        observed = observations(read_training(job), RENEWAL, job.day)
        rows = compared(observed, interventions, settings.effect)
        return rows, effects(rows, read_catalogue(job.side), settings.effect, settings.linear)
    except ValueError as error:
        raise DataContract(f"{job.side / TRAINING}: {error}") from error


def logged(job: Job) -> pd.DataFrame:
    """Every intervention known on the day: account_id, playbook, started_at; one row per intervention."""
    from renewals.features.point_in_time import known_on

    con = warehouse.connect(job.settings.engine)
    tables = warehouse.clean_tables(con, job.data)
    if "interventions" not in tables:
        raise InputMissing(
            f"{job.tables} holds no table `interventions`, so nobody knows who was treated: "
            "log each playbook carried out there (account_id, playbook, started_at)"
        )
    known = known_on("interventions", tables["interventions"], job.day)
    rows: pd.DataFrame = known.select("account_id", "playbook", "started_at").to_pandas()
    return rows.assign(playbook=rows["playbook"].map(_spellings(rows["playbook"].unique(), library(job).plays)))


def _spellings(logged: Iterable[str], plays: Iterable[str]) -> dict[str, str]:
    """The one name of each playbook that was logged, however it was spelled: the id of the library, where it has it."""
    names = {normalize_text(name): name for name in (*sorted(logged, reverse=True), *plays)}
    return {text: names[normalize_text(text)] for text in logged}


def _report(rows: pd.DataFrame, told: list[Found | Refused], job: Job) -> dict[str, Any]:
    from renewals.reports.words import LANGUAGES, Words

    languages = {language: Words(language) for language in LANGUAGES}
    notes = {f"effect.{note}": {n: words.say(f"effect.{note}") for n, words in languages.items()} for note in NOTES}
    return {
        "as_of": job.day.isoformat(),
        "headline": "points",
        "confidence": job.settings.effect.confidence,
        "observations": len(rows),
        "accounts": int(rows["account_id"].nunique()),
        "playbooks": [_as_tree(one, languages) for one in told],
        "notes": list(notes.values()),
    }


def _as_tree(one: Found | Refused, languages: dict[str, Any]) -> dict[str, Any]:
    from renewals.models.ranking.treatment_effect import Found
    from renewals.reports.sentences.treatment_effect import sentence

    verdict = one.verdict if isinstance(one, Found) else "refused"
    return {**asdict(one), "verdict": verdict, "words": {name: sentence(one, w) for name, w in languages.items()}}


if __name__ == "__main__":
    main(effect)
