"""Log of the managers' answers that `renewals collect` stores, and their actions as a part of the raw tables.

`feedback/feedback_log.parquet` is the log: one row per account answered in a workbook, in the order of collection.
`feedback/interventions.parquet` is derived from it and has the columns of the data contract.
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
"""Column that only actions from workbooks have: the date of the list that was answered."""

TIMESTAMP_TYPE = pa.timestamp("us")
LOG_SCHEMA = {
    **{"as_of": pa.date32(), "account_id": None, "account_name": pa.string(), "csm": pa.string()},
    **{"verdict": pa.string(), "action": pa.string(), "started_on": pa.date32(), "note": pa.string()},
    **{"renewal_date": pa.date32(), "renewal_probability": pa.float64(), "risk_band": pa.string()},
    **{"list_key": pa.string(), "file_sha256": pa.string(), "recorded_at": TIMESTAMP_TYPE},
}
"""Arrow types of the log's columns; None: the type of the ids in the list. `file_sha256` is that of the workbook."""


def feedback_folder(job: Job) -> Path:
    """Folder of the answers in the project's data folder; first undoes a replacement that a crash interrupted."""
    data = project_root() / job.data
    for name in (old_names.FOLDERS[FOLDER], FOLDER):
        folders.undo_replace(data / name)
    return old_names.current_folder(data, FOLDER)


def to_typed_parquet(rows: pd.DataFrame, types: Mapping[str, Any]) -> bytes:
    """Content of a Parquet file with the columns and Arrow types of `types`; a column of type None keeps its ids'
    type."""
    arrays = [pa.Array.from_pandas(rows[name], type=kind or _id_type(rows[name])) for name, kind in types.items()]
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_arrays(arrays, names=list(types)), sink, compression="zstd")
    return sink.getvalue()


def _id_type(ids: pd.Series) -> Any:
    return pa.int64() if pd.api.types.is_integer_dtype(ids) else pa.string()


def read_log(job: Job) -> pd.DataFrame | None:
    """All collected answers, one row per account answered in a workbook; None if there is no log yet."""
    path = feedback_folder(job) / LOG_FILE
    return data_files.load_frame(path) if old_names.existing_file(path).is_file() else None


def add_collected_actions(con: Any, job: Job, raw_tables: dict[str, RawTable]) -> dict[str, RawTable]:
    """Add the actions from workbooks to the raw table `interventions`, which is created if it is missing.

    Actions recorded after `source.extracted_at` are left out, because the run uses tables from before them.
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
    fingerprint = raw_table.fingerprint_rows(con, actions)
    company_table = raw_tables.get(INTERVENTIONS)
    numeric_texts = _numeric_text_columns(raw_tables)
    if company_table is None:
        combined = RawTable(INTERVENTIONS, (actions,), fingerprint, numeric_text_columns=numeric_texts)
    else:
        combined = RawTable(
            INTERVENTIONS,
            (*company_table.parts, actions),
            f"{company_table.fingerprint}+{fingerprint}",
            company_table.is_text,
            company_table.numeric_text_columns | numeric_texts,
        )
    tables = raw_tables | {INTERVENTIONS: combined}
    return {name: tables[name] for name in TABLES if name in tables}


def _numeric_text_columns(raw_tables: Mapping[str, RawTable]) -> frozenset[str]:
    """`account_id` if the company's ids are numbers (lists contain ids of more than 64 bits as text), else empty."""
    accounts = raw_tables.get("accounts")
    texts = accounts is None or accounts.parts[0].schema().get("account_id", dt.string).is_string()
    is_text = texts and not (accounts and "account_id" in accounts.numeric_text_columns)
    return frozenset() if is_text else frozenset({"account_id"})


def drop_duplicate_actions(rows: ir.Table, list_date_column: str) -> ir.Table:
    """Interventions without the workbook actions that the company's own table also contains.

    `list_date_column` is filled only for workbook actions. The company's row is kept because it also has the end date.
    Rows with the same account, playbook and start day are the same action, whatever the hour.
    """
    keyed = rows.mutate(_day=day_of(rows.started_at))
    key = ["account_id", "playbook", "_day"]
    company_keys = keyed.filter(keyed[list_date_column].isnull()).select(*key).distinct()
    joined = keyed.left_join(company_keys.mutate(_in_company_table=ibis.literal(True)), key)
    return joined.filter(joined[list_date_column].isnull() | joined._in_company_table.isnull()).select(*rows.columns)
