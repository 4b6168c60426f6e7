"""Estimate the effect of each playbook on renewals, from data known on the day of the run: `effect/effect.json`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from renewals.features.patterns import normalize_text
from renewals.models.settings import RENEWAL
from renewals.pipelines.runtime.errors import DataContractError, MissingInputError
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.runtime.stage_main import main
from renewals.pipelines.storage.artifacts import TRAINING, read_catalogue, read_training, to_json_bytes
from renewals.pipelines.storage.engine import atomic, warehouse
from renewals.pipelines.storage.playbook_library import NO_ESTIMATE, effects_path, load_library

if TYPE_CHECKING:
    import pandas as pd

    from renewals.models.ranking.treatment_effect import EffectEstimate, NoEstimate

NOTE_KEYS = ("headline", "plain", "limits")


def effect(job: Job) -> dict[str, Any]:
    """Estimate playbook effects by comparing treated with similar untreated observations; write and return the
    report."""
    return write_report(*estimate_effects(job), job)


def write_report(rows: pd.DataFrame, estimates: list[EffectEstimate | NoEstimate], job: Job) -> dict[str, Any]:
    """Write `effect/effect.json`; return its content with the path."""
    report = _build_report(rows, estimates, job)
    path = effects_path(job)
    atomic.write_bytes(path, to_json_bytes(report))
    return {"file": str(path), **report}


def estimate_effects(job: Job) -> tuple[pd.DataFrame, list[EffectEstimate | NoEstimate]]:
    """Estimate the effect of each playbook; return the analysis sample, one row per (account_id, as_of), and the
    estimates.

    Raises DataContractError if the training table cannot be used.
    """
    from renewals.models.ranking.treatment_effect import analysis_sample, estimate_effects
    from renewals.models.training.splits import observations

    settings = job.settings
    interventions = load_interventions(job)
    try:
        observed = observations(read_training(job), RENEWAL, job.day)
        rows = analysis_sample(observed, interventions, settings.effect)
        return rows, estimate_effects(rows, read_catalogue(job.folder), settings.effect, settings.linear)
    except ValueError as error:
        raise DataContractError(f"{job.folder / TRAINING}: {error}") from error


def load_interventions(job: Job) -> pd.DataFrame:
    """Load the interventions known on the day: account_id, playbook, started_at; one row per intervention.

    Raises MissingInputError if the table `interventions` is missing.
    """
    from renewals.features.point_in_time import known_rows

    con = warehouse.connect(job.settings.engine)
    tables = warehouse.clean_tables(con, job.data)
    if "interventions" not in tables:
        raise MissingInputError(
            f"no table `interventions` in {job.tables}: to measure effects, record each playbook there "
            "(account_id, playbook, started_at)"
        )
    known = known_rows("interventions", tables["interventions"], job.day)
    rows: pd.DataFrame = known.select("account_id", "playbook", "started_at").to_pandas()
    return rows.assign(
        playbook=rows["playbook"].map(_canonical_names(rows["playbook"].unique(), load_library(job).plays))
    )


def _canonical_names(spellings: Iterable[str], library_ids: Iterable[str]) -> dict[str, str]:
    """Map each spelling of a playbook to one name: the library's id, else its first spelling in alphabetical order."""
    names = {normalize_text(name): name for name in (*sorted(spellings, reverse=True), *library_ids)}
    return {text: names[normalize_text(text)] for text in spellings}


def _build_report(rows: pd.DataFrame, estimates: list[EffectEstimate | NoEstimate], job: Job) -> dict[str, Any]:
    from renewals.reports.words import MESSAGES, Messages

    languages = {language: Messages(language) for language in MESSAGES}
    notes = {
        f"effect.{note}": {name: messages.text(f"effect.{note}") for name, messages in languages.items()}
        for note in NOTE_KEYS
    }
    return {
        "as_of": job.day.isoformat(),
        "headline": "points",
        "confidence": job.settings.effect.confidence,
        "observations": len(rows),
        "accounts": int(rows["account_id"].nunique()),
        "playbooks": [_estimate_json(estimate, languages) for estimate in estimates],
        "notes": list(notes.values()),
    }


def _estimate_json(estimate: EffectEstimate | NoEstimate, languages: dict[str, Any]) -> dict[str, Any]:
    from renewals.models.ranking.treatment_effect import EffectEstimate
    from renewals.reports.sentences.treatment_effect import effect_sentence

    verdict = estimate.verdict if isinstance(estimate, EffectEstimate) else NO_ESTIMATE
    return {
        **asdict(estimate),
        "verdict": verdict,
        "sentences": {name: effect_sentence(estimate, messages) for name, messages in languages.items()},
    }


if __name__ == "__main__":
    main(effect)
