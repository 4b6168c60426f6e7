"""Read the workbook of a small list with openpyxl, a library that did not write it."""

import io
import warnings
from dataclasses import replace
from typing import Any

import openpyxl
import pandas as pd

from renewals.pipelines.storage.playbook_library import DEFAULT_LIBRARY, read_library
from renewals.reports.settings import ListOptions
from renewals.reports.workbook.workbook import WorkbookData, build_workbook
from tests.reports.small_list import MODELS

ABSENT = ("upsell", "cross_sell")
WORKBOOK_DATA = WorkbookData(MODELS, ABSENT)


def open_workbook(listed: pd.DataFrame, options: ListOptions | None = None, **changes: Any) -> Any:
    return read(build_workbook(listed, replace(WORKBOOK_DATA, **changes), options or ListOptions()))


def read(content: bytes) -> Any:
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", ".*extension is not supported"
        )  # openpyxl does not read data bars of Excel 2010
        return openpyxl.load_workbook(io.BytesIO(content))


def column(sheet: Any, heading: str) -> list[Any]:
    headings = [cell.value for cell in sheet[1]]
    return [row[headings.index(heading)] for row in sheet.iter_rows(min_row=2)]


def plays(treated: int = 0) -> dict[str, dict[str, Any]]:
    """The shipped playbooks as `score.json` holds them."""
    library = read_library(DEFAULT_LIBRARY)
    return {key: play.model_dump(mode="json") | {"treated": treated} for key, play in library.plays.items()}
