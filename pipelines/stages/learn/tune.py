"""Tune hyperparameters for one target, on past data only: `tune/<target>.db` and `tune/<target>.json`.

It changes no setting: the report contains the best setting found, and a person decides whether to use it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from renewals.pipelines.runtime.console import progress
from renewals.pipelines.runtime.errors import DataContractError, OutputError
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.runtime.stage_main import main
from renewals.pipelines.stages.learn.train import rows_fingerprint
from renewals.pipelines.storage import addresses
from renewals.pipelines.storage.artifacts import TRAINING, TUNE, read_catalogue, read_training, sha256, to_json_bytes
from renewals.pipelines.storage.engine import atomic
from renewals.pipelines.storage.registry import model_registry

if TYPE_CHECKING:
    import optuna
    import pandas as pd

    from renewals.models.evaluation.tuning import SearchData, Setting

FINGERPRINT_DIGITS = 16
"""Number of fingerprint digits in the name of a study."""
HELD_OUT_RESULTS = "holdout_results"
"""Study attribute with the held-out results by trial and rows, so that each is evaluated only once."""
TRIAL_STATES = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}


def tune(job: Job, target: str) -> dict[str, Any]:
    """Start or continue the study of these rows and settings; write the report of the search, return its summary.

    With too little history there is no study; the report then has `"searched": false` and the reason.
    """
    from renewals.models.training.splits import InsufficientHistoryError

    try:
        search_data, held_out_rows = _load_search_data(job, target)
    except InsufficientHistoryError as error:
        report: dict[str, Any] = {"searched": False, "reason": str(error)}
    else:
        report = {"searched": True, **_run_search(job, target, search_data, held_out_rows)}
    path = job.data / TUNE / f"{target}.json"
    content = to_json_bytes({"target": target, "until": str(job.day), **report})
    is_unchanged = path.is_file() and path.read_bytes() == content
    atomic.write_bytes(path, content)
    return {**report_summary(report), "unchanged": is_unchanged, "file": str(path)}


def report_summary(report: dict[str, Any]) -> dict[str, Any]:
    """Short summary of a report: losses, changed settings, number of trials and the held-out result."""
    keys = ("searched", "reason", "log_loss", "overrides")
    summary = {name: report[name] for name in keys if name in report}
    if not report["searched"]:
        return summary
    finished = [trial for trial in report["trials"] if trial["state"] != TRIAL_STATES["FAIL"]]
    return {**summary, "trials": len(finished), **report["holdout"]}


def read_report(job: Job, target: str) -> dict[str, Any]:
    """Read the report that `tune` wrote for the target."""
    report: dict[str, Any] = json.loads((job.data / TUNE / f"{target}.json").read_bytes())
    return report


def _load_search_data(job: Job, target: str) -> tuple[SearchData, pd.DataFrame]:
    """Load the data of the search and the rows held out from it (the newest, by `tune.holdout_share`).

    Raises InsufficientHistoryError, DataContractError or MissingInputError.
    """
    from renewals.models.evaluation import tuning
    from renewals.models.training.splits import InsufficientHistoryError, observations

    options, training = job.settings, read_training(job)
    try:
        observed = observations(training, target, job.day, options.folds.treated_rows)
        cutoff = tuning.search_cutoff(observed, options.tune.holdout_share)
        search_data = tuning.SearchData.from_training(training, read_catalogue(job.folder), target, cutoff, options)
        return search_data, tuning.holdout_rows(observed, cutoff)
    except InsufficientHistoryError:
        raise
    except ValueError as error:
        raise DataContractError(f"{job.folder / TRAINING}: {error}") from error


def _run_search(job: Job, target: str, data: SearchData, held_out_rows: pd.DataFrame) -> dict[str, Any]:
    from renewals.models.evaluation import tuning

    options = job.settings
    current = tuning.current_setting(options, list(options.tune.search_space))
    with _open_study(job.data / TUNE / f"{target}.db", _study_name(data, job)) as study:
        _run_trials(study, data, job, f"{TUNE} {target}")
        best = tuning.best_trial(study)
        setting: Setting = best.user_attrs[tuning.SETTING_ATTRIBUTE]
        changes = tuning.changed_setting(setting, current)
        return {
            "study": study.study_name,
            "cutoff": str(data.cutoff.date()),
            "rows": len(data.observed),
            "terms": int(data.observed["term"].nunique()),
            "origins": [str(fold.origin.date()) for fold in data.folds],
            "log_loss": {"best": best.value, "current": tuning.finished_trials(study)[0].value},
            "trial": best.number,
            "setting": setting,
            "current": current,
            "overrides": [f"{key}={value}" for key, value in changes.items()],
            "holdout": _compare_held_out(study, best, data, held_out_rows, job) if changes else {"verdict": "same"},
            "trials": [_trial_record(trial) for trial in study.get_trials(deepcopy=False)],
        }


def _run_trials(study: optuna.Study, data: SearchData, job: Job, title: str) -> None:
    """Run the trials that remain of `tune.trials`, with a progress line for each."""
    from renewals.models.evaluation import tuning

    options = job.settings
    with progress(max(options.tune.trials - len(tuning.finished_trials(study)), 0), title) as step:

        def report_trial(trial: optuna.trial.FrozenTrial) -> None:
            result = f"log loss {trial.value:.5f}" if trial.state.name == "COMPLETE" else "stopped early"
            step(f"trial {trial.number}: {result}, best {tuning.best_trial(study).value:.5f}")

        tuning.run_trials(study, data, options, options.tune, report_trial)


def _trial_record(trial: optuna.trial.FrozenTrial) -> dict[str, Any]:
    """Record of a trial for the report; if it was stopped early, its log loss is over the origins completed so far."""
    from renewals.models.evaluation.tuning import SETTING_ATTRIBUTE

    loss, setting = trial.value, trial.user_attrs.get(SETTING_ATTRIBUTE)
    return {"number": trial.number, "state": TRIAL_STATES[trial.state.name], "log_loss": loss, "setting": setting}


def _compare_held_out(
    study: optuna.Study, best_trial: optuna.trial.FrozenTrial, data: SearchData, held_out_rows: pd.DataFrame, job: Job
) -> dict[str, Any]:
    """Compare the best setting with the current one on the held-out rows; return the stored result if there is one.

    `evaluations` is the number of comparisons of this study on held-out rows.
    """
    from renewals.models.evaluation.tuning import SETTING_ATTRIBUTE, TrialSettings, compare_with_current

    options = job.settings
    rows = rows_fingerprint(held_out_rows, data.schema.names)
    key = f"{best_trial.number} {sha256((rows + options.gate.model_dump_json()).encode())[:FINGERPRINT_DIGITS]}"
    results: dict[str, Any] = dict(study.user_attrs.get(HELD_OUT_RESULTS, {}))
    if key not in results:
        setting = TrialSettings.with_setting(options, best_trial.user_attrs[SETTING_ATTRIBUTE])
        results[key] = compare_with_current(data, held_out_rows, setting, options, options.gate)
        study.set_user_attr(HELD_OUT_RESULTS, results)
    return {**results[key], "evaluations": len(results)}


def _study_name(data: SearchData, job: Job) -> str:
    """Name of the study: a hash of everything that its trials depend on. If any of it changes, a new study is
    started."""
    from renewals.models.evaluation.tuning import add_current_setting, current_setting

    options = job.settings
    columns = dict.fromkeys((*data.schema.names, "renewal_signed", "notice_given", "days_to_renewal"))
    search_space = add_current_setting(
        options.tune.search_space, current_setting(options, list(options.tune.search_space))
    )
    identity = {
        "rows": rows_fingerprint(data.observed, tuple(columns)),
        "schema": data.schema.hash,
        "day": str(data.cutoff),
        "search_space": search_space,
        "seed": options.tune.seed,
        "code": model_registry.code_fingerprint(),
        "lightgbm": options.lightgbm.model_dump(exclude={"parallel_fits"}),
        **{name: getattr(options, name).model_dump() for name in ("folds", "linear", "calibration")},
    }
    return sha256(json.dumps(identity, sort_keys=True).encode())[:FINGERPRINT_DIGITS]


@contextmanager
def _open_study(path: Path, name: str) -> Iterator[optuna.Study]:
    """Open or create the study of this name in a SQLite file. Raises OutputError if the file is damaged or not
    writable."""
    import optuna
    from sqlalchemy.exc import SQLAlchemyError

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        storage = optuna.storages.RDBStorage(addresses.file_address("sqlite", path.resolve()))
        yield optuna.create_study(storage=storage, study_name=name, load_if_exists=True)
    except (SQLAlchemyError, optuna.exceptions.StorageInternalError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise OutputError(
            f"{path} cannot be read or written ({reason}): if it is damaged, move it away, and the search starts again"
        ) from None


if __name__ == "__main__":
    main(tune)
