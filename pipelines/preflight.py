"""What can be known at the start of a run is checked at the start: before the lock, and before any table is read.

Each check raises the error that a stage would raise minutes later.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from renewals.pipelines.runtime.errors import Config, OutputFailed
from renewals.pipelines.runtime.job import Job, first_of_month, iso_date
from renewals.pipelines.storage.engine.raw import raw_tables
from renewals.pipelines.storage.registry import trained_models

Check = Callable[[Job], None]

ROOM = 100 * 2**20
"""Bytes that a run needs beside the size of the tables, which it copies at most once before older copies go."""


def check(command: str, job: Job) -> None:
    """Raise the first error that the command would meet later on; a command without checks passes."""
    for passes in CHECKS.get(command, ()):
        passes(job)


def target_learned(job: Job, target: str | None) -> None:
    """Raise `Config` where a target is asked for that `targets` leaves out."""
    if target is not None and target not in job.settings.targets:
        raise Config(f"--target {target}: only {', '.join(job.settings.targets)} are learned here (targets)")


def targets_known(job: Job) -> None:
    """Raise `Config` where `targets` names one that there is none of."""
    from renewals.models.targets import targets

    try:
        targets(job.settings.targets)
    except ValueError as error:
        raise Config(f"targets: {error}") from None


def playbooks_valid(job: Job) -> None:
    """Raise where the library of plays, or what `renewals effect` wrote, cannot be read."""
    from renewals.pipelines.storage import playbook_library

    playbook_library.library(job)
    playbook_library.measured(job)


def words_complete(job: Job) -> None:
    """Raise `Config` where an alert or a code of the list has no words in some language."""
    from renewals.features.alerts import CODES
    from renewals.features.family import THEMES
    from renewals.models.ranking.worklist import QUADRANTS, RISK_BANDS, STATUSES
    from renewals.reports.words import LANGUAGES

    coded = {"alert": CODES, "alerts": CODES, "status": STATUSES, "risk_band": RISK_BANDS, "quadrant": QUADRANTS}
    keys = [f"{kind}.{code}" for kind, codes in {**coded, "theme": THEMES}.items() for code in codes]
    for language, words in LANGUAGES.items():
        missing = [key for key in keys if key not in words]
        if missing:
            raise Config(
                f"{len(missing)} texts are missing in the language {language!r}, for example {missing[0]!r}: "
                "add them to reports/words/renewals.pot, run `make words`, and translate what it marks"
            )


def champion_there(job: Job) -> None:
    """Raise where no model of renewal serves, its files are not what was registered, or it may not serve."""
    from renewals.models.settings import RENEWAL
    from renewals.pipelines.storage.registry import model_registry
    from renewals.pipelines.storage.registry.logged_actions import refuse_actions

    _, version, files = model_registry.champion(job, RENEWAL)
    refuse_actions(RENEWAL, version, files)


def foresight(job: Job) -> None:
    """Raise `Config` where models that serve learned after the day, and hindsight is not asked for."""
    _made_with_hindsight(job)


def foresight_or_room(job: Job) -> None:
    """As `foresight`; and raise `Config` where the list would take the place of one made in its time."""
    from renewals.pipelines.storage.published.list_folder import lists_folder, require_no_list_in_time

    if _made_with_hindsight(job):
        require_no_list_in_time(lists_folder(job) / job.day.isoformat())


def _made_with_hindsight(job: Job) -> bool:
    from renewals.models.settings import RENEWAL
    from renewals.pipelines.storage.published.hindsight import require_foresight
    from renewals.pipelines.storage.registry import model_registry

    return require_foresight(job, model_registry.trained(job, dict.fromkeys((RENEWAL, *job.settings.targets))))


def demo_foresees(job: Job) -> None:
    """Raise `Config` where the models of the demonstration would learn until after the day of its list."""
    from renewals.models.settings import RENEWAL
    from renewals.pipelines.storage.published.hindsight import Trained, require_foresight

    dates = job.settings.dates
    until, as_of = iso_date(dates.until, "dates.until"), iso_date(dates.as_of, "dates.as_of")
    require_foresight(replace(job, as_of=as_of), {RENEWAL: Trained("1", until)})


def registry_answers(job: Job) -> None:
    """Raise `Unavailable` where a registry outside the data folder does not answer."""
    from renewals.pipelines.storage.registry import model_registry

    if job.settings.tracking.uri:
        with model_registry.answering(job.settings.tracking.uri):
            model_registry.tracking(job).search_experiments(max_results=1)


def warehouse_answers(job: Job) -> None:
    """Raise where the Spark that `warehouse` names cannot be reached."""
    if job.settings.warehouse:
        from renewals.pipelines.storage.engine import spark

        spark.require(job.settings.warehouse)


def tables_there(job: Job) -> None:
    """Raise where a required table is missing, or the place of the tables cannot be reached."""

    raw_tables.require_tables(job)


def tables_there_or_learned(job: Job) -> None:
    """As `tables_there`, unless the models of this day lie in the data folder: then no table is read."""

    if trained_models.learned_at(job) is None:
        tables_there(job)


def data_writable(job: Job) -> None:
    """Raise `OutputFailed` where the data folder cannot be written, or has no room for a run."""
    _require_writable(job.data)
    free, needed = shutil.disk_usage(job.data).free, ROOM + _size_of(job.tables)
    if free < needed:
        raise OutputFailed(
            f"{job.data}: {free / 2**20:,.0f} MiB are free and about {needed / 2**20:,.0f} MiB are needed: "
            "make room, or name another folder with --data"
        )


def lists_writable(job: Job) -> None:
    """Raise `OutputFailed` where the list of the day cannot be published."""
    from renewals.pipelines.storage.published.list_folder import refuse_link

    _require_writable(job.lists)
    if job.as_of is not None:
        refuse_link(job.lists / job.as_of.isoformat())


def _require_writable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder, prefix=".writable-"):
            pass
    except OSError as error:
        raise OutputFailed(f"{folder} cannot be written: {error.strerror or error}") from None


def _size_of(tables: str) -> int:
    """Bytes of the files in a folder of tables; none for a database."""
    folder = Path(tables)
    if "://" in tables or not folder.is_dir():
        return 0
    return sum(os.stat(path).st_size for path in folder.rglob("*") if path.is_file())


READ = (tables_there, data_writable, warehouse_answers)
LISTED = (playbooks_valid, words_complete, *READ)
CHECKS: Mapping[str, tuple[Check, ...]] = {
    "demo": (demo_foresees, playbooks_valid, words_complete, data_writable, lists_writable),
    "stage tables": (targets_known, playbooks_valid, words_complete, data_writable),
    "check": READ,
    "learn": (targets_known, *READ, registry_answers),
    "backtest": (targets_known, playbooks_valid, tables_there_or_learned, data_writable),
    "tune": (targets_known, tables_there_or_learned, data_writable),
    "score": (*LISTED, lists_writable, champion_there, foresight_or_room),
    "scorecard": READ,
    "forecast": (first_of_month, *LISTED, champion_there, foresight),
    "effect": READ,
}
"""What each command checks, cheap things first; the stage `tables` is the first that `dvc repro` runs."""
