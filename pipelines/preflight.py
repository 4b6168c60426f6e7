"""Preflight checks of each command, run before the lock is taken and before any table is read.

Each check raises an error that a stage would raise only minutes later.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from renewals.pipelines.runtime.errors import ConfigError, OutputError
from renewals.pipelines.runtime.job import Job, parse_date, require_first_of_month
from renewals.pipelines.storage.engine.raw import raw_tables
from renewals.pipelines.storage.registry import trained_models

PreflightCheck = Callable[[Job], None]

WORKING_BYTES = 100 * 2**20
"""Bytes that a run needs in addition to the size of the tables, of which it keeps at most one extra copy."""


def run_checks(command: str, job: Job) -> None:
    """Run the preflight checks of a command and raise the first error; a command without checks passes."""
    for check in CHECKS_BY_COMMAND.get(command, ()):
        check(job)


def require_configured_target(job: Job, target: str | None) -> None:
    """Raise `ConfigError` if the requested target is not in `targets`."""
    if target is not None and target not in job.settings.targets:
        raise ConfigError(f"--target {target}: `targets` has only {', '.join(job.settings.targets)}")


def require_known_targets(job: Job) -> None:
    """Raise `ConfigError` if `targets` contains an unknown target."""
    from renewals.models.targets import load_targets

    try:
        load_targets(job.settings.targets)
    except ValueError as error:
        raise ConfigError(f"targets: {error}") from None


def require_valid_playbooks(job: Job) -> None:
    """Raise if the playbook library, or the effects that `renewals effect` measured, cannot be read."""
    from renewals.pipelines.storage import playbook_library

    playbook_library.load_library(job)
    playbook_library.load_measured_effects(job)


def require_complete_translations(job: Job) -> None:
    """Raise `ConfigError` if a code of the list (alert, status, theme ...) has no text in some language."""
    from renewals.features.alert_registry import ALERT_CODES
    from renewals.features.family import THEMES
    from renewals.models.ranking.health import HEALTH
    from renewals.models.ranking.worklist import QUADRANTS, RISK_BANDS, STATUSES
    from renewals.reports.words import MESSAGES

    coded = {
        "alert": ALERT_CODES,
        "alerts": ALERT_CODES,
        "status": STATUSES,
        "risk_band": RISK_BANDS,
        "quadrant": QUADRANTS,
        "health": HEALTH,
    }
    keys = [f"{kind}.{code}" for kind, codes in {**coded, "theme": THEMES}.items() for code in codes]
    for language, texts in MESSAGES.items():
        missing = [key for key in keys if key not in texts]
        if missing:
            raise ConfigError(
                f"{len(missing)} texts are missing in the language {language!r}, for example {missing[0]!r}: "
                "add them to reports/words/renewals.pot, run `make words`, and translate the entries it marks"
            )


def require_champion(job: Job) -> None:
    """Raise if there is no champion for renewal, its files differ from the registered ones, or it may not serve."""
    from renewals.models.settings import RENEWAL
    from renewals.pipelines.storage.registry import model_registry
    from renewals.pipelines.storage.registry.serving_checks import reject_unservable_model

    _, version, files = model_registry.fetch_champion(job, RENEWAL)
    reject_unservable_model(RENEWAL, version, files)


def require_usable_champion(job: Job) -> None:
    """Raise as `require_champion`, but not if no model ever was a champion: then the list is made without one."""
    from renewals.pipelines.runtime.errors import NoChampionError
    from renewals.pipelines.scoring.champion_models import require_never_scored

    try:
        require_champion(job)
    except NoChampionError as error:
        require_never_scored(job, error)


def require_hindsight_allowed(job: Job) -> None:
    """Raise `ConfigError` if a champion was trained after the as-of date and hindsight is not allowed."""
    _check_hindsight(job)


def require_replaceable_list(job: Job) -> None:
    """Raise as `require_hindsight_allowed`, or if a hindsight list would replace one made without hindsight.

    Both errors are `ConfigError`.
    """
    from renewals.pipelines.storage.published.list_folder import lists_folder, require_no_original_list

    if _check_hindsight(job):
        require_no_original_list(lists_folder(job) / job.day.isoformat())


def _check_hindsight(job: Job) -> bool:
    from renewals.models.settings import RENEWAL
    from renewals.pipelines.storage.published.hindsight import check_hindsight
    from renewals.pipelines.storage.registry import model_registry

    return check_hindsight(
        job, model_registry.champions_by_target(job, dict.fromkeys((RENEWAL, *job.settings.targets)))
    )


def require_demo_dates(job: Job) -> None:
    """Raise `ConfigError` if `dates.until` is after `dates.as_of`: the demo would need hindsight."""
    from renewals.models.settings import RENEWAL
    from renewals.pipelines.storage.published.hindsight import TrainedVersion, check_hindsight

    dates = job.settings.dates
    until, as_of = parse_date(dates.until, "dates.until"), parse_date(dates.as_of, "dates.as_of")
    check_hindsight(replace(job, as_of=as_of), {RENEWAL: TrainedVersion("1", until)})


def require_registry_connection(job: Job) -> None:
    """Raise `ServiceUnavailableError` if an MLflow server (`tracking.uri`) does not answer."""
    from renewals.pipelines.storage.registry import model_registry

    if job.settings.tracking.uri:
        with model_registry.translate_mlflow_errors(job.settings.tracking.uri):
            model_registry.mlflow_client(job).search_experiments(max_results=1)


def require_warehouse_connection(job: Job) -> None:
    """Raise if the Spark server that `warehouse` names cannot be reached."""
    if job.settings.warehouse:
        from renewals.pipelines.storage.engine import spark

        spark.require_spark(job.settings.warehouse)


def require_raw_tables(job: Job) -> None:
    """Raise if a required input table is missing or the address of the tables cannot be reached."""

    raw_tables.require_tables(job)


def require_tables_or_models(job: Job) -> None:
    """Raise as `require_raw_tables`, unless the data folder has models of this date: then no table is read."""

    if trained_models.find_model_folder(job) is None:
        require_raw_tables(job)


def require_writable_data(job: Job) -> None:
    """Raise `OutputError` if the data folder cannot be written or has too little free space for a run."""
    _require_writable_folder(job.data)
    free, needed = shutil.disk_usage(job.data).free, WORKING_BYTES + _tables_size(job.tables)
    if free < needed:
        raise OutputError(
            f"{job.data}: {free / 2**20:,.0f} MiB are free and about {needed / 2**20:,.0f} MiB are needed: "
            "free some space, or choose another folder with --data"
        )


def require_writable_lists(job: Job) -> None:
    """Raise `OutputError` if the list of the date cannot be written to the lists folder."""
    from renewals.pipelines.storage.published.list_folder import require_plain_folder

    _require_writable_folder(job.lists)
    if job.as_of is not None:
        require_plain_folder(job.lists / job.as_of.isoformat())


def _require_writable_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder, prefix=".writable-"):
            pass
    except OSError as error:
        raise OutputError(f"{folder} cannot be written: {error.strerror or error}") from None


def _tables_size(tables: str) -> int:
    """Size in bytes of the files in a folder of tables; 0 for a database."""
    folder = Path(tables)
    if "://" in tables or not folder.is_dir():
        return 0
    return sum(os.stat(path).st_size for path in folder.rglob("*") if path.is_file())


TABLE_CHECKS = (require_raw_tables, require_writable_data, require_warehouse_connection)
LIST_CHECKS = (require_valid_playbooks, require_complete_translations, *TABLE_CHECKS)
CHECKS_BY_COMMAND: Mapping[str, tuple[PreflightCheck, ...]] = {
    "demo": (
        require_demo_dates,
        require_valid_playbooks,
        require_complete_translations,
        require_writable_data,
        require_writable_lists,
    ),
    "stage tables": (
        require_known_targets,
        require_valid_playbooks,
        require_complete_translations,
        require_writable_data,
    ),
    "check": TABLE_CHECKS,
    "learn": (require_known_targets, *TABLE_CHECKS, require_registry_connection),
    "backtest": (require_known_targets, require_valid_playbooks, require_tables_or_models, require_writable_data),
    "tune": (require_known_targets, require_tables_or_models, require_writable_data),
    "score": (*LIST_CHECKS, require_writable_lists, require_usable_champion, require_replaceable_list),
    "scorecard": TABLE_CHECKS,
    "forecast": (require_first_of_month, *LIST_CHECKS, require_champion, require_hindsight_allowed),
    "effect": TABLE_CHECKS,
}
"""Checks of each command, fast ones first. The stage `tables` is the first one that `dvc repro` runs."""
