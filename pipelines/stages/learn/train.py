"""Learn one target from every outcome that was final on the training day, and walk forward to see how far to trust it.

Makes no MLflow run: DVC may skip this stage, and then nothing must be missing elsewhere. `register` does that.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from renewals.pipelines.runtime.errors import DataContract, InputMissing
from renewals.pipelines.runtime.job import Job, main
from renewals.pipelines.scoring.feature_policy import feature_policy
from renewals.pipelines.stages.prepare.freshness import freshness_notices
from renewals.pipelines.storage import data_files, notices, warehouse

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from renewals.models.training.schema import Schema
    from renewals.models.training.walk_forward import Choice, Step

RENEWAL = "renewal"
MODELS = "models"
BACKTEST, AGED, CARD, SCHEMA = "backtest.parquet", "aged.parquet", "training.json", "schema.json"
EXPLAINED = 2000
"""Rows behind the importance of features: the newest ones."""


def train(job: Job, target: str) -> dict[str, Any]:
    """Learn the target and write `models/<target>/`: the model, its card, and what it would have said in the past.

    All of it lies on the side of learning; `register` takes it to where the last learning is kept.
    With too few outcomes there is no model but a `schema.json` that says `"trained": false` and why.
    """
    from renewals.models.training.splits import TooFew, observations

    training, catalogue = read_training(job), read_catalogue(job)
    try:
        observed = observations(training, target, job.day, job.settings.folds.treated)
    except ValueError as error:
        raise DataContract(f"{job.side / 'training.parquet'}: {error}") from error
    try:
        files, card = learned(observed, training, catalogue, target, job)
    except TooFew as reason:
        files, card = _untrained(target, str(reason)), {"trained": False, "reason": str(reason)}
    except ValueError as error:
        raise DataContract(f"{job.side / 'training.parquet'}: {error}") from error
    _write(files, job.side / MODELS / target)
    return {"target": target, "rows": len(observed), **card}


def learned(
    observed: pd.DataFrame, training: pd.DataFrame, catalogue: list[dict[str, Any]], target: str, job: Job
) -> tuple[dict[str, bytes], dict[str, Any]]:
    """The files of a model, and its card in short; `observed` are the rows of the training table that are final.

    Raises TooFew where history does not bear a model.
    """
    import pandas as pd

    from renewals.models.training import uncertainty, walk_forward
    from renewals.models.training.schema import Schema
    from renewals.pipelines.scoring import drift

    options = job.settings
    schema = Schema.of(catalogue, observed, target, options.lightgbm.monotone)
    steps = walk_forward.walk(observed, schema, options)
    choice = walk_forward.choose(observed, steps, pd.Timestamp(job.day), options)
    chosen = walk_forward.choices(observed, steps, options)
    told = walk_forward.backtest(observed, steps, chosen, options)
    aged = walk_forward.aged(observed, schema, steps, chosen, options)
    hidden = uncertainty.hidden(told) if target == RENEWAL else 0.0
    model = walk_forward.learn(observed, schema, choice, options, hidden)
    newest = observed.sort_values("as_of", kind="stable").tail(EXPLAINED)
    short = _short(observed, schema, choice, model.spread, hidden, steps)
    card = {
        "target": target,
        "until": str(job.day),
        "rows": len(observed),
        **short,
        "fingerprint": fingerprint(observed, schema.names),
        "training_sha256": sha256((job.side / "training.parquet").read_bytes()),
        "options_sha256": options_fingerprint(job),
        "notices": notices.with_words(freshness_notices(job)),
        "parameters": feature_policy(job.settings),
        "tried": walk_forward.as_table(choice.tried),
        "importance": walk_forward.importance(model.contributions(newest)[0]),
    }
    tables = {BACKTEST: as_parquet(told), AGED: as_parquet(aged)}
    beside = {CARD: as_json(card), drift.REFERENCE: as_json(drift.reference(training, told, schema))}
    return {**model.to_files(), **beside, **tables}, short


def _short(
    observed: pd.DataFrame, schema: Schema, choice: Choice, spread: float, hidden: float, steps: Sequence[Step]
) -> dict[str, Any]:
    """What is worth knowing of a model at a glance."""
    recipe, sigmoid = choice.recipe, choice.sigmoid
    return {
        "trained": True,
        "terms": int(observed["term"].nunique()),
        "yes": int(observed.groupby("term")["label"].max().sum()),
        "features": len(schema.names),
        "recipe": {"strength": recipe.strength, "rounds": recipe.rounds, "share_of_trees": recipe.share},
        "calibration": {"slope": sigmoid.slope, "level": sigmoid.level, "rows": choice.rows, "terms": choice.terms},
        "doubt": {"spread": spread, "hidden": hidden},
        "origins": [str(step.fold.origin.date()) for step in steps],
    }


def _untrained(target: str, reason: str) -> dict[str, bytes]:
    return {SCHEMA: as_json({"target": target, "trained": False, "reason": reason})}


def _write(files: dict[str, bytes], folder: Path) -> None:
    """The folder holds these files and no older ones; the schema, by which a model is known, comes last."""
    shutil.rmtree(folder, ignore_errors=True)
    for name in sorted(files, key=lambda name: name == SCHEMA):
        warehouse.write_bytes(folder / name, files[name])


def read_training(job: Job) -> pd.DataFrame:
    """The training table; one row per (account_id, as_of)."""
    import pandas as pd

    path = job.side / "training.parquet"
    if not path.is_file():
        raise InputMissing(f"no training table at {path}: run `renewals learn`, or the stage assemble, first")
    return pd.read_parquet(path)


def read_catalogue(job: Job) -> list[dict[str, Any]]:
    """What each feature means."""
    path = job.side / "features.json"
    if not path.is_file():
        raise InputMissing(f"no catalogue of features at {path}: run `renewals learn`, or the stage assemble, first")
    catalogue: list[dict[str, Any]] = json.loads(path.read_bytes())["features"]
    return catalogue


def read_model(home: Path, target: str) -> dict[str, bytes]:
    """The files of `<home>/models/<target>/`, by name.

    `home` is the side of the job for what was trained just now, the data folder for the last learning.
    """
    folder = home / MODELS / target
    if not (folder / SCHEMA).is_file():
        raise InputMissing(f"no model in {folder}: run `renewals learn`, or the stage train, first")
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}


def why_untrained(files: dict[str, bytes]) -> str | None:
    """Why there is no model, or None where there is one."""
    schema = json.loads(files[SCHEMA])
    return None if schema["trained"] else str(schema["reason"])


def fingerprint(observed: pd.DataFrame, names: tuple[str, ...]) -> str:
    """One fingerprint for the rows that were learned from, whatever file they came in."""
    import pandas as pd

    told = observed[["account_id", "as_of", "label", "matured_at", "term", *names]]
    return sha256(pd.util.hash_pandas_object(told, index=False).to_numpy().tobytes())


def learning_options(job: Job) -> dict[str, Any]:
    """The parameters on which a model depends, by their key in `params.yaml`."""
    sections = ("folds", "linear", "lightgbm", "calibration")
    chosen = {
        f"{name}.{key}": value for name in sections for key, value in getattr(job.settings, name).model_dump().items()
    }
    return {
        **chosen,
        "grace.before_days": job.settings.grace.before_days,
        "grace.after_days": job.settings.grace.after_days,
    }


def options_fingerprint(job: Job) -> str:
    """One fingerprint for the parameters on which a model depends."""
    return sha256(json.dumps(learning_options(job), sort_keys=True).encode())


def sha256(content: bytes) -> str:
    """The SHA-256 of some bytes."""
    return hashlib.sha256(content).hexdigest()


def as_json(tree: dict[str, Any]) -> bytes:
    """A JSON file; a number that is none (NaN) becomes null."""
    return (json.dumps(data_files.without_nan(tree), indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def as_parquet(table: pd.DataFrame) -> bytes:
    """A Parquet file."""
    sink = io.BytesIO()
    table.to_parquet(sink, index=False)
    return sink.getvalue()


if __name__ == "__main__":
    main(train)
