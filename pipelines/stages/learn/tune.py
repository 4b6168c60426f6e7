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
from renewals.pipelines.runtime.errors import DataContract, OutputFailed
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.runtime.stage_main import main
from renewals.pipelines.stages.learn.train import fingerprint
from renewals.pipelines.storage import addresses
from renewals.pipelines.storage.artifacts import TRAINING, TUNE, as_json, read_catalogue, read_training, sha256
from renewals.pipelines.storage.engine import atomic
from renewals.pipelines.storage.registry import model_registry

if TYPE_CHECKING:
    import optuna
    import pandas as pd

    from renewals.models.evaluation.tuning import Past, Setting

SHORT = 16
"""So many digits of a fingerprint name a study."""
JUDGED = "judged"
"""Where a study keeps what the held-out rows said, by trial and rows: they are looked at once for each."""
STATES = {"COMPLETE": "finished", "PRUNED": "stopped_early", "FAIL": "cut_off"}


def tune(job: Job, target: str) -> dict[str, Any]:
    """Go on with the study of these rows and settings, or begin it; write what it found, and return that in short.

    With too little history there is no study, but a report that says `"searched": false` and why.
    """
    from renewals.models.training.splits import TooFew

    try:
        past, held = _past(job, target)
    except TooFew as reason:
        report: dict[str, Any] = {"searched": False, "reason": str(reason)}
    else:
        report = {"searched": True, **_searched(job, target, past, held)}
    file = job.data / TUNE / f"{target}.json"
    content = as_json({"target": target, "until": str(job.day), **report})
    already = file.is_file() and file.read_bytes() == content
    atomic.write_bytes(file, content)
    return {**headline(report), "already": already, "file": str(file)}


def headline(report: dict[str, Any]) -> dict[str, Any]:
    """A report in one line."""
    kept = ("searched", "reason", "log_loss", "take_over")
    short = {name: report[name] for name in kept if name in report}
    if not report["searched"]:
        return short
    ran = [trial for trial in report["trials"] if trial["state"] != STATES["FAIL"]]
    return {**short, "trials": len(ran), **report["held_out"]}


def read_report(job: Job, target: str) -> dict[str, Any]:
    """What `tune` wrote."""
    report: dict[str, Any] = json.loads((job.data / TUNE / f"{target}.json").read_bytes())
    return report


def _past(job: Job, target: str) -> tuple[Past, pd.DataFrame]:
    """What the search may see, and the rows held out from it. Raises TooFew, DataContract, InputMissing."""
    from renewals.models.evaluation import tuning
    from renewals.models.training.splits import TooFew, observations

    options, training = job.settings, read_training(job)
    try:
        final = observations(training, target, job.day, options.folds.treated)
        day = tuning.stands_on(final, options.tune.held_out)
        past = tuning.Past.of(training, read_catalogue(job.side), target, day, options)
        return past, tuning.held_out(final, day)
    except TooFew:
        raise
    except ValueError as error:
        raise DataContract(f"{job.side / TRAINING}: {error}") from error


def _searched(job: Job, target: str, past: Past, held: pd.DataFrame) -> dict[str, Any]:
    from renewals.models.evaluation import tuning

    options = job.settings
    now = tuning.in_force(options, list(options.tune.ladders))
    with _kept(job.data / TUNE / f"{target}.db", _name(past, job)) as study:
        _go_on(study, past, job, f"{TUNE} {target}")
        found = tuning.best(study)
        setting: Setting = found.user_attrs[tuning.SET]
        changes = tuning.changes(setting, now)
        return {
            "study": study.study_name,
            "stood_on": str(past.day.date()),
            "rows": len(past.observed),
            "terms": int(past.observed["term"].nunique()),
            "origins": [str(fold.origin.date()) for fold in past.folds],
            "log_loss": {"found": found.value, "in_force": tuning.finished(study)[0].value},
            "trial": found.number,
            "setting": setting,
            "in_force": now,
            "take_over": [f"{key}={value}" for key, value in changes.items()],
            "held_out": _judged(study, found, past, held, job) if changes else {"verdict": "same"},
            "trials": [_told(trial) for trial in study.get_trials(deepcopy=False)],
        }


def _go_on(study: optuna.Study, past: Past, job: Job, words: str) -> None:
    """The trials that are still to be done, with a line for each."""
    from renewals.models.evaluation import tuning

    options = job.settings
    with progress(max(options.tune.trials - len(tuning.finished(study)), 0), words) as step:

        def tell(trial: optuna.trial.FrozenTrial) -> None:
            ended = f"log loss {trial.value:.5f}" if trial.state.name == "COMPLETE" else "stopped early"
            step(f"trial {trial.number}: {ended}, best {tuning.best(study).value:.5f}")

        tuning.go_on(study, past, options, options.tune, tell)


def _told(trial: optuna.trial.FrozenTrial) -> dict[str, Any]:
    """A trial; where it was stopped early the log loss is that of the origins it came to."""
    from renewals.models.evaluation.tuning import SET

    loss, setting = trial.value, trial.user_attrs.get(SET)
    return {"number": trial.number, "state": STATES[trial.state.name], "log_loss": loss, "setting": setting}


def _judged(
    study: optuna.Study, found: optuna.trial.FrozenTrial, past: Past, held: pd.DataFrame, job: Job
) -> dict[str, Any]:
    """What the held-out rows say of the setting that was found; `asked` counts how often this study asked them."""
    from renewals.models.evaluation.tuning import SET, Settled, compared

    options = job.settings
    rows = fingerprint(held, past.schema.names)
    key = f"{found.number} {sha256((rows + options.gate.model_dump_json()).encode())[:SHORT]}"
    judged: dict[str, Any] = dict(study.user_attrs.get(JUDGED, {}))
    if key not in judged:
        setting = Settled.of(options, found.user_attrs[SET])
        judged[key] = compared(past, held, setting, options, options.gate)
        study.set_user_attr(JUDGED, judged)
    return {**judged[key], "asked": len(judged)}


def _name(past: Past, job: Job) -> str:
    """The name of a study: all that its trials hang on. Others are begun beside it."""
    from renewals.models.evaluation.tuning import in_force, with_in_force

    options, about = job.settings, dict.fromkeys((*past.schema.names, "decided", "days_to_renewal"))
    ladders = with_in_force(options.tune.ladders, in_force(options, list(options.tune.ladders)))
    on = {
        "rows": fingerprint(past.observed, tuple(about)),
        "schema": past.schema.hash,
        "day": str(past.day),
        "ladders": ladders,
        "seed": options.tune.seed,
        "code": model_registry.code_fingerprint(),
        "lightgbm": options.lightgbm.model_dump(exclude={"threads"}),
        **{name: getattr(options, name).model_dump() for name in ("folds", "linear", "calibration")},
    }
    return sha256(json.dumps(on, sort_keys=True).encode())[:SHORT]


@contextmanager
def _kept(path: Path, name: str) -> Iterator[optuna.Study]:
    """The study of this name in a database. Raises OutputFailed where the file is none, or cannot be written."""
    import optuna
    from sqlalchemy.exc import SQLAlchemyError

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        storage = optuna.storages.RDBStorage(addresses.file_address("sqlite", path.resolve()))
        yield optuna.create_study(storage=storage, study_name=name, load_if_exists=True)
    except (SQLAlchemyError, optuna.exceptions.StorageInternalError, OSError) as error:
        why = str(error).splitlines()[0]
        raise OutputFailed(
            f"{path} cannot be read or written ({why}): if it is damaged, move it away, and the search begins anew"
        ) from None


if __name__ == "__main__":
    main(tune)
