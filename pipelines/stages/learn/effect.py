"""What each playbook did to renewals, as known on the day the run stands on: `effect/effect.json`."""

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
    """Compare treated observations of the training table with untreated ones that looked alike."""
    return write_report(*estimate_effects(job), job)


def write_report(rows: pd.DataFrame, estimates: list[EffectEstimate | NoEstimate], job: Job) -> dict[str, Any]:
    """Write `effect/effect.json`, and return the same with where it is."""
    report = _build_report(rows, estimates, job)
    file = effects_path(job)
    atomic.write_bytes(file, to_json_bytes(report))
    return {"file": str(file), **report}


def estimate_effects(job: Job) -> tuple[pd.DataFrame, list[EffectEstimate | NoEstimate]]:
    """The rows compared, one per (account_id, as_of), and what is said of each playbook."""
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
    """Every intervention known on the day: account_id, playbook, started_at; one row per intervention."""
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
    """The one name of each playbook that was logged, however it was spelled: the id of the library, where it has it."""
    names = {normalize_text(name): name for name in (*sorted(spellings, reverse=True), *library_ids)}
    return {text: names[normalize_text(text)] for text in spellings}


def _build_report(rows: pd.DataFrame, estimates: list[EffectEstimate | NoEstimate], job: Job) -> dict[str, Any]:
    from renewals.reports.words import MESSAGES, Messages

    languages = {language: Messages(language) for language in MESSAGES}
    notes = {
        f"effect.{note}": {n: words.text(f"effect.{note}") for n, words in languages.items()} for note in NOTE_KEYS
    }
    return {
        "as_of": job.day.isoformat(),
        "headline": "points",
        "confidence": job.settings.effect.confidence,
        "observations": len(rows),
        "accounts": int(rows["account_id"].nunique()),
        "playbooks": [_estimate_json(one, languages) for one in estimates],
        "notes": list(notes.values()),
    }


def _estimate_json(estimate: EffectEstimate | NoEstimate, languages: dict[str, Any]) -> dict[str, Any]:
    from renewals.models.ranking.treatment_effect import EffectEstimate
    from renewals.reports.sentences.treatment_effect import effect_sentence

    verdict = estimate.verdict if isinstance(estimate, EffectEstimate) else NO_ESTIMATE
    return {
        **asdict(estimate),
        "verdict": verdict,
        "sentences": {name: effect_sentence(estimate, w) for name, w in languages.items()},
    }


if __name__ == "__main__":
    main(effect)
