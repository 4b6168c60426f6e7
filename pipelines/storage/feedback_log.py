"""What managers answered, as `renewals collect` keeps it in the data folder, and their actions among the raw tables.

`feedback/feedback_log.parquet` is the log: one row per account answered in a workbook, in the order of collecting.
`feedback/interventions.parquet` follows from it, in the columns of the data contract.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ibis
import ibis.expr.datatypes as dt
import ibis.expr.types as ir
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from ibis import _

from renewals.features.point_in_time import day_of
from renewals.features.tables import TABLES
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.runtime.paths import project_root
from renewals.pipelines.storage import data_files, folders, old_names
from renewals.pipelines.storage.engine import warehouse
from renewals.pipelines.storage.engine.raw import raw_table
from renewals.pipelines.storage.engine.raw.raw_table import RawTable

FOLDER, LOG_FILE, VERDICTS_FILE, REJECTIONS_FILE = (
    "feedback",
    "feedback_log.parquet",
    "verdicts.parquet",
    "rejected_answers.csv",
)
INTERVENTIONS = "interventions"
LIST_DATE_COLUMN = "list_as_of"
"""A column that only actions from workbooks have: the day of the list they answer."""

TIMESTAMP_TYPE = pa.timestamp("us")
LOG_SCHEMA = {
    **{"as_of": pa.date32(), "account_id": None, "account_name": pa.string(), "csm": pa.string()},
    **{"verdict": pa.string(), "action": pa.string(), "started_on": pa.date32(), "note": pa.string()},
    **{"renewal_date": pa.date32(), "renewal_probability": pa.float64(), "risk_band": pa.string()},
    **{"list_key": pa.string(), "file_sha256": pa.string(), "recorded_at": TIMESTAMP_TYPE},
}
"""The log's columns. Ids are of the list's own type; `list_key` is the list's, and `file_sha256` the workbook's."""


def feedback_folder(job: Job) -> Path:
    """Where answers are kept, in the project's data folder; what a crash left half-done is undone first."""
    data = project_root() / job.data
    for name in (old_names.FOLDERS[FOLDER], FOLDER):
        folders.undo_replace(data / name)
    return old_names.current_folder(data, FOLDER)


def to_typed_parquet(rows: pd.DataFrame, types: Mapping[str, Any]) -> bytes:
    """The rows in these columns and Arrow types; without a type, ids as they are."""
    arrays = [pa.Array.from_pandas(rows[name], type=kind or _id_type(rows[name])) for name, kind in types.items()]
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_arrays(arrays, names=list(types)), sink, compression="zstd")
    return sink.getvalue()


def _id_type(ids: pd.Series) -> Any:
    return pa.int64() if pd.api.types.is_integer_dtype(ids) else pa.string()


def read_log(job: Job) -> pd.DataFrame | None:
    """Every answer ever collected, one row per account answered in a workbook; None where there is none yet."""
    path = feedback_folder(job) / LOG_FILE
    return data_files.load_frame(path) if old_names.existing_file(path).is_file() else None


def add_collected_actions(con: Any, job: Job, raw_tables: dict[str, RawTable]) -> dict[str, RawTable]:
    """The raw tables with the actions from workbooks as a part of `interventions`, or as that table if there is none.

    Actions that came in after the extract are left out: a run on those tables stands before them.
    """
    path = feedback_folder(job) / f"{INTERVENTIONS}.parquet"
    if not path.is_file():
        return raw_tables
    actions, extract = warehouse.read_parquet(con, path), job.settings.source.extracted_at
    actions = old_names.rename_columns(actions, old_names.COLLECTED_ACTION_COLUMNS)
    if extract is not None:
        actions = actions.filter(_.recorded_at <= extract)
    if not actions.count().to_pyarrow().as_py():
        return raw_tables
    mark = raw_table.fingerprint_rows(con, actions)
    own = raw_tables.get(INTERVENTIONS)
    numerals = _numeric_text_columns(raw_tables)
    if own is None:
        both = RawTable(INTERVENTIONS, (actions,), mark, numeric_text_columns=numerals)
    else:
        both = RawTable(
            INTERVENTIONS,
            (*own.parts, actions),
            f"{own.fingerprint}+{mark}",
            own.is_text,
            own.numeric_text_columns | numerals,
        )
    together = raw_tables | {INTERVENTIONS: both}
    return {name: together[name] for name in TABLES if name in together}


def _numeric_text_columns(raw_tables: Mapping[str, RawTable]) -> frozenset[str]:
    """The ids of actions, where the company's ids are numbers: those beyond 64 bits stand in its lists as text."""
    accounts = raw_tables.get("accounts")
    texts = accounts is None or accounts.parts[0].schema().get("account_id", dt.string).is_string()
    is_text = texts and not (accounts and "account_id" in accounts.numeric_text_columns)
    return frozenset() if is_text else frozenset({"account_id"})


def drop_duplicate_actions(rows: ir.Table, list_date_column: str) -> ir.Table:
    """Interventions without the actions from workbooks that the company's own table tells too: one row per row left.

    `list_date_column` is the column that tells the former. The company's row stands: it is its own record, and has the
    end. One account, one play and one day is one beginning, whatever the hour.
    """
    keyed = rows.mutate(_day=day_of(rows.started_at))
    key = ["account_id", "playbook", "_day"]
    own = keyed.filter(keyed[list_date_column].isnull()).select(*key).distinct().mutate(_told=ibis.literal(True))
    joined = keyed.left_join(own, key)
    return joined.filter(joined[list_date_column].isnull() | joined._told.isnull()).select(*rows.columns)
