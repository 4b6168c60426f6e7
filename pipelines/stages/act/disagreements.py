"""Find renewals on which a manager disagreed with the list, and who was right once the outcome is final."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import Any

import ibis
import pandas as pd
import pyarrow as pa

from renewals.features.family import RENEWAL_KEY
from renewals.features.spine import DUE
from renewals.models.ranking import manager_feedback
from renewals.models.target import Outcomes
from renewals.models.targets import load_targets
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.runtime.stage_main import main
from renewals.pipelines.runtime.stage_order import Step
from renewals.pipelines.storage import feedback_log
from renewals.pipelines.storage.artifacts import (
    DISAGREEMENTS,
    DISAGREEMENTS_SUMMARY,
    TERM_STATES,
    read_outcomes,
)
from renewals.pipelines.storage.engine import atomic, warehouse
from renewals.pipelines.storage.old_keys import add_renewal_id
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
    """Write `disagreements.parquet`, the verdicts that contradict an earlier list, and the tally; return the summary.

    One row per (as_of, account_id). Only answers received before the act date are used.
    """
    log = feedback_log.read_log(job)
    known = None if log is None else log[log["recorded_at"] < pd.Timestamp(job.day)]
    rows, tally = (_empty_table(), None) if known is None or known.empty else _find_disagreements(job, known)
    atomic.write_bytes(job.folder / DISAGREEMENTS, feedback_log.to_typed_parquet(rows, COLUMNS))
    digest = hashlib.sha256(pd.util.hash_pandas_object(rows.astype(str), index=False).to_numpy().tobytes()).hexdigest()
    summary = {"as_of": job.day.isoformat(), "tally": tally, "digest": digest if tally else None}
    atomic.write_bytes(job.folder / DISAGREEMENTS_SUMMARY, json.dumps(summary, indent=1).encode())
    return summary


def current_tally(job: Job, log: pd.DataFrame) -> dict[str, Any]:
    """Tally of all answers, with the outcomes known on the day of the newest list.

    The ledger ends on that day: at a later day, a renewal whose grace has passed since would look lost.
    """
    days = list_archive.archived_days(job, TERM_STATES)
    if not days:
        rows = manager_feedback.current_verdicts(log)
        return manager_feedback.count_correct(
            manager_feedback.add_correctness(rows, pd.Series(pd.NA, index=rows.index, dtype="Int8"))
        ) | {"as_of": None}
    newest = replace(job, as_of=days[-1], until=None)
    return list_archive.read_archived_list(newest, lambda day: _find_disagreements(day, log))[1]


def _find_disagreements(job: Job, log: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Find the disagreements in an answer log; return them and the tally, with the outcomes of the day's ledger."""
    verdicts = manager_feedback.current_verdicts(log)
    rows = manager_feedback.add_correctness(verdicts, verdict_outcomes(job, verdicts))
    disagreeing = rows[manager_feedback.is_disagreement(rows)].reset_index(drop=True)
    return disagreeing[list(COLUMNS)], manager_feedback.count_correct(rows) | {"as_of": job.day.isoformat()}


def verdict_outcomes(job: Job, verdicts: pd.DataFrame) -> pd.Series:
    """Outcome of the renewal of each verdict: 1 renewed, 0 lost, missing until final; one row per verdict."""
    con = warehouse.connect(job.settings.engine)
    outcomes = read_outcomes(con, job)
    keyed = add_renewal_id(verdicts[["account_id", "as_of", "renewal_date"]]).assign(place=range(len(verdicts)))
    spine = ibis.memtable(keyed.astype({"renewal_date": "datetime64[us]", "as_of": "datetime64[us]"}))
    id_type = outcomes["term_states"].account_id.type()
    spine = spine.mutate(account_id=spine.account_id.try_cast(id_type), renewal_state=ibis.literal(DUE))
    labels = load_targets(["renewal"])["renewal"].label(spine, Outcomes(job.day, **outcomes))
    joined = spine.mutate(as_of=spine.as_of.date()).join(labels, list(RENEWAL_KEY)).select("place", "label").to_pandas()
    result: pd.Series = joined.drop_duplicates("place").set_index("place")["label"].reindex(range(len(verdicts)))
    return result.astype("Int8").set_axis(verdicts.index)


def _empty_table() -> pd.DataFrame:
    return pd.DataFrame({name: [] for name in COLUMNS}, dtype=object)


if __name__ == "__main__":
    main(disagreements)
