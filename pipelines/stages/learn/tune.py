"""Search the learner's settings for one target, in the past alone: `tune/<target>.db` and `tune/<target>.json`.

Changes no setting: it says what it found, and a person takes it over.
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
"""So many digits of a fingerprint name a study."""
HELD_OUT_RESULTS = "holdout_results"
"""Where a study keeps what the held-out rows said, by trial and rows: they are looked at once for each."""
TRIAL_STATES = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}


def tune(job: Job, target: str) -> dict[str, Any]:
    """Go on with the study of these rows and settings, or begin it; write what it found, and return that in short.

    With too little history there is no study, but a report that says `"searched": false` and why.
    """
    from renewals.models.training.splits import InsufficientHistoryError

    try:
        past, held = _load_search_data(job, target)
    except InsufficientHistoryError as reason:
        report: dict[str, Any] = {"searched": False, "reason": str(reason)}
    else:
        report = {"searched": True, **_run_search(job, target, past, held)}
    file = job.data / TUNE / f"{target}.json"
    content = to_json_bytes({"target": target, "until": str(job.day), **report})
    already = file.is_file() and file.read_bytes() == content
    atomic.write_bytes(file, content)
    return {**report_summary(report), "unchanged": already, "file": str(file)}


def report_summary(report: dict[str, Any]) -> dict[str, Any]:
    """A report in one line."""
    kept = ("searched", "reason", "log_loss", "overrides")
    short = {name: report[name] for name in kept if name in report}
    if not report["searched"]:
        return short
    ran = [trial for trial in report["trials"] if trial["state"] != TRIAL_STATES["FAIL"]]
    return {**short, "trials": len(ran), **report["holdout"]}


def read_report(job: Job, target: str) -> dict[str, Any]:
    """What `tune` wrote."""
    report: dict[str, Any] = json.loads((job.data / TUNE / f"{target}.json").read_bytes())
    return report


def _load_search_data(job: Job, target: str) -> tuple[SearchData, pd.DataFrame]:
    """What the search may see, and the rows held out from it. Raises InsufficientHistoryError, DataContractError,
    MissingInputError."""
    from renewals.models.evaluation import tuning
    from renewals.models.training.splits import InsufficientHistoryError, observations

    options, training = job.settings, read_training(job)
    try:
        final = observations(training, target, job.day, options.folds.treated_rows)
        day = tuning.search_cutoff(final, options.tune.holdout_share)
        past = tuning.SearchData.from_training(training, read_catalogue(job.folder), target, day, options)
        return past, tuning.holdout_rows(final, day)
    except InsufficientHistoryError:
        raise
    except ValueError as error:
        raise DataContractError(f"{job.folder / TRAINING}: {error}") from error


def _run_search(job: Job, target: str, data: SearchData, held_out_rows: pd.DataFrame) -> dict[str, Any]:
    from renewals.models.evaluation import tuning

    options = job.settings
    now = tuning.current_setting(options, list(options.tune.search_space))
    with _open_study(job.data / TUNE / f"{target}.db", _study_name(data, job)) as study:
        _run_trials(study, data, job, f"{TUNE} {target}")
        found = tuning.best_trial(study)
        setting: Setting = found.user_attrs[tuning.SETTING_ATTRIBUTE]
        changes = tuning.changed_setting(setting, now)
        return {
            "study": study.study_name,
            "cutoff": str(data.cutoff.date()),
            "rows": len(data.observed),
            "terms": int(data.observed["term"].nunique()),
            "origins": [str(fold.origin.date()) for fold in data.folds],
            "log_loss": {"best": found.value, "current": tuning.finished_trials(study)[0].value},
            "trial": found.number,
            "setting": setting,
            "current": now,
            "overrides": [f"{key}={value}" for key, value in changes.items()],
            "holdout": _compare_held_out(study, found, data, held_out_rows, job) if changes else {"verdict": "same"},
            "trials": [_trial_record(trial) for trial in study.get_trials(deepcopy=False)],
        }


def _run_trials(study: optuna.Study, data: SearchData, job: Job, title: str) -> None:
    """The trials that are still to be done, with a line for each."""
    from renewals.models.evaluation import tuning

    options = job.settings
    with progress(max(options.tune.trials - len(tuning.finished_trials(study)), 0), title) as step:

        def tell(trial: optuna.trial.FrozenTrial) -> None:
            ended = f"log loss {trial.value:.5f}" if trial.state.name == "COMPLETE" else "stopped early"
            step(f"trial {trial.number}: {ended}, best {tuning.best_trial(study).value:.5f}")

        tuning.run_trials(study, data, options, options.tune, tell)


def _trial_record(trial: optuna.trial.FrozenTrial) -> dict[str, Any]:
    """A trial; where it was stopped early the log loss is that of the origins it came to."""
    from renewals.models.evaluation.tuning import SETTING_ATTRIBUTE

    loss, setting = trial.value, trial.user_attrs.get(SETTING_ATTRIBUTE)
    return {"number": trial.number, "state": TRIAL_STATES[trial.state.name], "log_loss": loss, "setting": setting}


def _compare_held_out(
    study: optuna.Study, best_trial: optuna.trial.FrozenTrial, data: SearchData, held_out_rows: pd.DataFrame, job: Job
) -> dict[str, Any]:
    """What the held-out rows say of the setting that was found; `evaluations` counts how often."""
    from renewals.models.evaluation.tuning import SETTING_ATTRIBUTE, TrialSettings, compare_with_current

    options = job.settings
    rows = rows_fingerprint(held_out_rows, data.schema.names)
    key = f"{best_trial.number} {sha256((rows + options.gate.model_dump_json()).encode())[:FINGERPRINT_DIGITS]}"
    judged: dict[str, Any] = dict(study.user_attrs.get(HELD_OUT_RESULTS, {}))
    if key not in judged:
        setting = TrialSettings.with_setting(options, best_trial.user_attrs[SETTING_ATTRIBUTE])
        judged[key] = compare_with_current(data, held_out_rows, setting, options, options.gate)
        study.set_user_attr(HELD_OUT_RESULTS, judged)
    return {**judged[key], "evaluations": len(judged)}


def _study_name(data: SearchData, job: Job) -> str:
    """The name of a study: all that its trials hang on. Others are begun beside it."""
    from renewals.models.evaluation.tuning import add_current_setting, current_setting

    options, about = job.settings, dict.fromkeys((*data.schema.names, "renewal_signed", "days_to_renewal"))
    search_space = add_current_setting(
        options.tune.search_space, current_setting(options, list(options.tune.search_space))
    )
    on = {
        "rows": rows_fingerprint(data.observed, tuple(about)),
        "schema": data.schema.hash,
        "day": str(data.cutoff),
        "search_space": search_space,
        "seed": options.tune.seed,
        "code": model_registry.code_fingerprint(),
        "lightgbm": options.lightgbm.model_dump(exclude={"parallel_fits"}),
        **{name: getattr(options, name).model_dump() for name in ("folds", "linear", "calibration")},
    }
    return sha256(json.dumps(on, sort_keys=True).encode())[:FINGERPRINT_DIGITS]


@contextmanager
def _open_study(path: Path, name: str) -> Iterator[optuna.Study]:
    """The study of this name in a database. Raises OutputError where the file is none, or cannot be written."""
    import optuna
    from sqlalchemy.exc import SQLAlchemyError

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        storage = optuna.storages.RDBStorage(addresses.file_address("sqlite", path.resolve()))
        yield optuna.create_study(storage=storage, study_name=name, load_if_exists=True)
    except (SQLAlchemyError, optuna.exceptions.StorageInternalError, OSError) as error:
        why = str(error).splitlines()[0]
        raise OutputError(
            f"{path} cannot be read or written ({why}): if it is damaged, move it away, and the search begins anew"
        ) from None


if __name__ == "__main__":
    main(tune)
