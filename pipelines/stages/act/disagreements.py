"""Where managers saw a renewal otherwise than the list, and who was right where that is final by the day."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import Any

import ibis
import pandas as pd
import pyarrow as pa

from renewals.features.family import KEY
from renewals.models.ranking import manager_feedback
from renewals.models.target import Outcomes
from renewals.models.targets import load_targets
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.runtime.stage_main import main
from renewals.pipelines.runtime.stage_order import Step
from renewals.pipelines.storage import feedback_log
from renewals.pipelines.storage.artifacts import DISAGREEMENTS, DISAGREEMENTS_SUMMARY, RENEWALS, read_outcomes
from renewals.pipelines.storage.engine import atomic, warehouse
from renewals.pipelines.storage.published import list_archive

STEP = Step(after="ledger", commands=("score",))

COLUMNS = {
    name: feedback_log.LOG_SCHEMA[name]
    for name in ("as_of", "account_id", "account_name", "csm", "verdict", "note", "renewal_date", "renewal_probability")
} | {
    "risk_band": pa.string(),
    "recorded_at": feedback_log.TIMESTAMP_TYPE,
    "renewed": pa.int8(),
    "correct_side": pa.string(),
}


def disagreements(job: Job) -> dict[str, Any]:
    """Write `disagreements.parquet`, one row per (as_of, account_id) of an earlier list that a manager saw otherwise,
    and the tally beside it. Only answers that came in before the day are known."""
    log = feedback_log.read_log(job)
    known = None if log is None else log[log["recorded_at"] < pd.Timestamp(job.day)]
    rows, tally = (_empty_table(), None) if known is None or known.empty else _find_disagreements(job, known)
    atomic.write_bytes(job.folder / DISAGREEMENTS, feedback_log.to_typed_parquet(rows, COLUMNS))
    digest = hashlib.sha256(pd.util.hash_pandas_object(rows.astype(str), index=False).to_numpy().tobytes()).hexdigest()
    standing = {"as_of": job.day.isoformat(), "tally": tally, "digest": digest if tally else None}
    atomic.write_bytes(job.folder / DISAGREEMENTS_SUMMARY, json.dumps(standing, indent=1).encode())
    return standing


def current_tally(job: Job, log: pd.DataFrame) -> dict[str, Any]:
    """The tally of all that was answered, as the outcomes stand on the day of the newest list.

    Of a later day the ledger knows nothing yet: a renewal whose grace has passed since would look lost.
    """
    days = list_archive.archived_days(job, RENEWALS)
    if not days:
        rows = manager_feedback.current_verdicts(log)
        return manager_feedback.count_correct(
            manager_feedback.add_correctness(rows, pd.Series(pd.NA, index=rows.index, dtype="Int8"))
        ) | {"as_of": None}
    newest = replace(job, as_of=days[-1], until=None)
    return list_archive.read_archived_list(newest, lambda day: _find_disagreements(day, log))[1]


def _find_disagreements(job: Job, log: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The disagreements among these answers, and the tally, by the ledger of the day."""
    given = manager_feedback.current_verdicts(log)
    rows = manager_feedback.add_correctness(given, verdict_outcomes(job, given))
    apart = rows[manager_feedback.is_disagreement(rows)].reset_index(drop=True)
    return apart[list(COLUMNS)], manager_feedback.count_correct(rows) | {"as_of": job.day.isoformat()}


def verdict_outcomes(job: Job, verdicts: pd.DataFrame) -> pd.Series:
    """What became of the renewal that each verdict is about: 1, 0, or nothing until final; one row per verdict."""
    con = warehouse.connect(job.settings.engine)
    made = read_outcomes(con, job)
    asked = verdicts[[*KEY, "renewal_date"]].assign(place=range(len(verdicts)))
    spine = ibis.memtable(asked.astype({"renewal_date": "datetime64[us]", "as_of": "datetime64[us]"}))
    spine = spine.mutate(account_id=spine.account_id.try_cast(made["renewals"].account_id.type()))
    labels = load_targets(["renewal"])["renewal"].label(spine, Outcomes(job.day, **made))
    joined = spine.mutate(as_of=spine.as_of.date()).join(labels, list(KEY)).select("place", "label").to_pandas()
    found: pd.Series = joined.drop_duplicates("place").set_index("place")["label"].reindex(range(len(verdicts)))
    return found.astype("Int8").set_axis(verdicts.index)


def _empty_table() -> pd.DataFrame:
    return pd.DataFrame({name: [] for name in COLUMNS}, dtype=object)


if __name__ == "__main__":
    main(disagreements)
