import datetime
import itertools
import re
from typing import Any

import openpyxl.utils
import pandas as pd
import pytest

from renewals.reports.settings import Capacity, ListOptions, ManagerCapacity
from renewals.reports.words import Messages
from renewals.reports.workbook import feedback_layout
from renewals.reports.workbook.manager_sheet import playbook_choices, sheet_titles
from tests.reports.books import column, open_workbook, plays
from tests.reports.small_list import HOSTILE, make_list, observations

LIBRARY = plays()
ENGLISH = Messages("en")
DAY = datetime.date(2026, 6, 1)


def chinese_options(**options: Any) -> ListOptions:
    return ListOptions.model_validate({"language": "zh", **options})


def hidden_rows(book: Any) -> dict[str, list[Any]]:
    """Row of the hidden sheet by title of each manager's sheet, with the columns of its answers."""
    sheet = book[feedback_layout.HIDDEN_SHEET]
    rows = sheet.iter_rows(
        min_row=feedback_layout.TABLES_HEADER_ROW + 1,
        max_col=len(feedback_layout.SHEET_TABLE_COLUMNS),
        values_only=True,
    )
    return {row[0]: list(row) for row in itertools.takewhile(lambda row: row[0], rows)}


def codes_by_text(book: Any, letters: tuple[str, str]) -> dict[str, str]:
    sheet = book[feedback_layout.HIDDEN_SHEET]
    pairs = (
        (sheet[f"{letters[0]}{row}"].value, sheet[f"{letters[1]}{row}"].value) for row in range(7, sheet.max_row + 1)
    )
    return dict(pair for pair in pairs if pair[0])


def validations(sheet: Any) -> dict[str, Any]:
    """Validation of each answer column, by column letter."""
    return {
        str(validation.sqref).split(":")[0].rstrip("0123456789"): validation
        for validation in sheet.data_validations.dataValidation
    }


def test_manager_sheet_lists_its_accounts_by_rank(listed: pd.DataFrame) -> None:
    book = open_workbook(listed)
    for csm in ("ann", "li"):
        accounts = listed[(listed["csm"] == csm) & (listed["status"] == "scored")]
        sheet = book[csm]
        assert [cell.value for cell in column(sheet, "Rank")] == list(range(1, len(accounts) + 1))
        assert [cell.value for cell in column(sheet, "Account")] == accounts["account_name"].tolist()
        assert sheet.freeze_panes == "C2"
        assert sheet.auto_filter.ref == f"A1:{openpyxl.utils.get_column_letter(sheet.max_column)}{len(accounts) + 1}"
    headings = [cell.value for cell in book["ann"][1]]
    assert headings[:3] == ["Rank", "Account", "Risk"]
    assert "ARR at risk (USD)" in headings
    assert "Currency" not in headings
    assert headings[-1] == "Account id"


# --- capacity line ------------------------------------------------------------------------------------


def formulas(sheet: Any) -> dict[str, str]:
    """Formula of each conditional format, by its cell range."""
    return {
        str(cells.sqref): rule.formula[0]
        for cells, cell_rules in sheet.conditional_formatting._cf_rules.items()
        for rule in cell_rules
        if rule.type == "expression"
    }


@pytest.mark.parametrize(("most", "within"), [(1, 1), (2, 2), (0, 0)])
def test_capacity_line_is_below_the_last_account_within_capacity(most: int, within: int) -> None:
    options = ListOptions(capacity=Capacity(accounts=most))
    listed = make_list(observations(), options)
    assert listed[listed["csm"] == "li"]["within_capacity"].sum() == within
    sheet = open_workbook(listed, options)["li"]
    formats = formulas(sheet)
    last = openpyxl.utils.get_column_letter(sheet.max_column)
    assert formats[f"A2:{last}4"] == f"AND($A2={within},$A3={within + 1})"
    greyed = next(span for span, rule in formats.items() if rule == f"$A2>{within}")
    letters = hidden_rows(open_workbook(listed, options))["li"][3:]
    first, _, rest = greyed.partition(" ")
    before, after = (openpyxl.utils.column_index_from_string(letters[index]) for index in (0, -1))
    assert first.endswith(f"{openpyxl.utils.get_column_letter(before - 1)}4")
    assert rest.startswith(f"{openpyxl.utils.get_column_letter(after + 1)}2"), "cells for answers stay blue"


def test_no_capacity_line_if_all_accounts_are_within_capacity(listed: pd.DataFrame) -> None:
    assert listed["within_capacity"].dropna().all()
    assert not formulas(open_workbook(listed)["li"])


def test_first_account_above_capacity_has_the_line_below_it() -> None:
    options = ListOptions(capacity=Capacity(managers={"li": ManagerCapacity(arr=1.0)}))
    listed = make_list(observations(), options)
    assert "AND($A2=1,$A3=2)" in formulas(open_workbook(listed, options)["li"]).values()
    assert not formulas(open_workbook(listed, options)["ann"])


# --- notices ------------------------------------------------------------------------------------------

NOTICES = [{"en": "=Usage data is old", "zh": "使用数据过旧"}, {"en": "x" * 300, "zh": "模型过旧"}]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_notices_are_on_top_of_the_summary_and_every_manager_sheet(language: str) -> None:
    options = ListOptions.model_validate({"language": language, "capacity": {"accounts": 1}})
    listed = make_list(observations(), options)
    book = open_workbook(listed, options, notices=NOTICES)
    for sheet in (book.worksheets[0], *(book[name] for name in hidden_rows(book))):
        assert [sheet[f"A{row}"].value for row in (1, 2)] == [f"⚠ {notice[language]}" for notice in NOTICES]
        assert sheet["A1"].fill.start_color.rgb == "FFFFE08A"
        assert sum(str(cells).startswith(("A1:", "A2:")) for cells in sheet.merged_cells.ranges) == 2
    assert book[feedback_layout.HIDDEN_SHEET]["B5"].value == "3"


def test_manager_sheet_below_notices_is_unchanged() -> None:
    options = ListOptions(capacity=Capacity(accounts=1))
    listed = make_list(observations(), options)
    without, with_notices = (
        open_workbook(listed, options, library=LIBRARY, notices=notices) for notices in ((), NOTICES)
    )
    for csm in ("ann", "li"):
        rows = [[cell.value for cell in row] for row in with_notices[csm].iter_rows(min_row=3)]
        assert rows == [[cell.value for cell in row] for row in without[csm].iter_rows()]
        assert with_notices[csm].freeze_panes == "C4"
        assert with_notices[csm].print_title_rows == "$1:$3"
        assert two_rows_lower(without[csm].auto_filter.ref) == with_notices[csm].auto_filter.ref
        assert {two_rows_lower(k): two_rows_lower(v) for k, v in formulas(without[csm]).items()} == formulas(
            with_notices[csm]
        )
        spans = (
            {str(validation.sqref) for validation in validations(book[csm]).values()}
            for book in (without, with_notices)
        )
        assert {two_rows_lower(span) for span in next(spans)} == next(spans)
        heights = (
            {row: row_format.height for row, row_format in book[csm].row_dimensions.items()}
            for book in (without, with_notices)
        )
        assert {row + 2: height for row, height in next(heights).items()}.items() <= next(heights).items()


def two_rows_lower(cells: str) -> str:
    """Cell references, two rows lower."""
    return re.sub(r"(\b\$?[A-Z]+)(\d+)\b", lambda match: f"{match[1]}{int(match[2]) + 2}", cells)


# --- titles -------------------------------------------------------------------------------------------

LONG = "Maximiliane von und zu Hohenstein-Falkenberg"


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a/b:c", "a?b*c"], ["a b c", "a b c (2)"]),
        (["Ann", "ANN", "ann"], ["Ann", "ANN (2)", "ann (3)"]),
        ([LONG, LONG + "s"], ["Maximiliane von und zu Hohenste", "Maximiliane von und zu Hohe (2)"]),
        (["'O'Neil'", "'"], ["O'Neil", "No manager"]),
        (["History", "history", "Renewals"], ["History (2)", "history (3)", "Renewals (2)"]),
        (["Summary", "summary "], ["Summary (2)", "summary (3)"]),
        (["", "  ", "No manager"], ["No manager", "No manager (2)", "No manager (3)"]),
        (["x" * 30 + "'s"], ["x" * 30]),
        (["🚀" * 20], ["🚀" * 15]),
        (["Ａnn", "ann"], ["Ａnn", "ann (2)"]),
        (["a\nb", "a\x00b"], ["a b", "a\u2400b"]),
        (["x" * 30 + "'" + "y"], ["x" * 30]),
    ],
)
def test_sheet_titles_are_valid_in_excel(names: list[str], expected: list[str]) -> None:
    assert sheet_titles(names, ["History", "renewals", "Summary"], "No manager") == expected


def test_managers_with_hostile_names_have_a_sheet_each() -> None:
    rows = observations(HOSTILE).assign(csm=list(HOSTILE))
    names = [LONG, LONG + "s", "ANN", "ann", "summary", "LIST", None]
    ids = [f"m{n}" for n in range(len(names))]
    more = observations([f"more {n}" for n in range(len(names))], ids).assign(csm=names)
    rows = pd.concat([rows, more], ignore_index=True)
    book = open_workbook(make_list(rows))
    sheets = hidden_rows(book)
    assert len(sheets) == len(HOSTILE) + len(names)
    shown = {("" if csm is None else csm): title for title, (_, csm, *_) in sheets.items()}
    assert set(names) - {None} <= set(shown)
    assert "" in shown
    for title, (_, csm, account, *_) in sheets.items():
        ids = [cell.value for cell in book[title][account]][1:]
        if csm in names:
            assert ids == [f"m{names.index(csm)}"]
    assert not [cell for title in sheets for row in book[title].iter_rows() for cell in row if cell.data_type == "f"]


def test_summary_counts_managers_without_a_sheet() -> None:
    rows = observations(tuple(f"account {n}" for n in range(6))).assign(csm=[f"manager {n}" for n in range(6)])
    book = open_workbook(make_list(rows), ListOptions(workbook_managers=2))
    assert [title for title in book.sheetnames if title.startswith("manager")] == ["manager 4", "manager 5"]
    assert list(hidden_rows(book)) == ["manager 4", "manager 5"]
    lines = [row[0].value for row in book["Summary"].iter_rows(max_row=8)]
    assert any("4 managers with less to renew have no sheet" in str(line) for line in lines)
    assert len(column(book["List"], "Account")) == 6


def test_list_of_one_manager_has_no_separate_list_sheet() -> None:
    book = open_workbook(make_list(observations().assign(csm="li")))
    assert book.sheetnames == ["Summary", "li", "renewals", "About this list"]
    nobody = open_workbook(make_list(observations().assign(csm=None)))
    assert nobody.sheetnames == ["Summary", "No manager", "renewals", "About this list"]
    assert hidden_rows(nobody)["No manager"][1] is None


# --- answers ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "verdicts", "days"),
    [
        (ListOptions(), ["Will renew", "Will be lost", "Not sure"], "[$-409]d mmm yyyy"),
        (chinese_options(), ["会续约", "会流失", "不确定"], 'yyyy"年"m"月"d"日"'),
    ],
)
def test_answer_choices_match_the_hidden_code_tables(
    listed: pd.DataFrame, options: ListOptions, verdicts: list[str], days: str
) -> None:
    book = open_workbook(listed, options, library=LIBRARY)
    messages = Messages(options.language)
    assert codes_by_text(book, feedback_layout.VERDICT_TABLE_COLUMNS) == dict(
        zip(verdicts, feedback_layout.VERDICT_CODES, strict=True)
    )
    action_codes = {play["name"][options.language]: key for key, play in LIBRARY.items()}
    assert codes_by_text(book, feedback_layout.ACTION_TABLE_COLUMNS) == action_codes
    sheet = book["li"]
    letters = dict(zip(feedback_layout.ANSWER_COLUMNS, hidden_rows(book)["li"][3:], strict=True))
    by_column = validations(sheet)
    last = sheet.max_row
    assert by_column[letters["verdict"]].formula1 == "renewals!$J$7:$J$9"
    assert by_column[letters["action"]].formula1 == f"renewals!$M$7:$M${6 + len(LIBRARY)}"
    assert {str(rule.sqref) for rule in by_column.values()} == {
        f"{letters[name]}2:{letters[name]}{last}" for name in ("verdict", "action", "started_on")
    }
    assert {rule.error for rule in by_column.values() if rule.type == "list"} == {messages.text("answer.not_listed")}
    start_day = by_column[letters["started_on"]]
    assert start_day.type == "date"
    epoch = datetime.date(1899, 12, 30)
    limits = [epoch + datetime.timedelta(days=int(formula)) for formula in (start_day.formula1, start_day.formula2)]
    assert limits == [DAY - datetime.timedelta(days=366), DAY + datetime.timedelta(days=366)]
    for name, letter in letters.items():
        assert [cell.value for cell in sheet[letter]] == [messages.text(f"answer.{name}")] + [None] * (last - 1)
        assert sheet[f"{letter}2"].number_format == (days if name == "started_on" else "@")
        assert sheet[f"{letter}2"].fill.fgColor.rgb == "FFEAF3FB"
        edges = sheet[f"{letter}2"].border
        assert (edges.top.style, edges.bottom.color.rgb) == (None, "FF9DC3E6"), "no border covers the capacity line"


def test_hidden_sheet_has_metadata_and_answer_columns(listed: pd.DataFrame) -> None:
    book = open_workbook(listed, library=LIBRARY, fingerprint="abc123")
    hidden_sheet = book[feedback_layout.HIDDEN_SHEET]
    assert hidden_sheet.sheet_state == "veryHidden"
    metadata = [(hidden_sheet[f"A{row}"].value, hidden_sheet[f"B{row}"].value) for row in range(1, 6)]
    assert metadata == [
        *[("format", "2"), ("as_of", "2026-06-01"), ("key", "abc123"), ("language", "en")],
        ("header", "1"),
    ]
    assert [hidden_sheet.cell(6, index + 1).value for index in range(7)] == list(feedback_layout.SHEET_TABLE_COLUMNS)
    assert (hidden_sheet["J6"].value, hidden_sheet["K6"].value, hidden_sheet["M6"].value, hidden_sheet["N6"].value) == (
        "verdict",
        "code",
        "action",
        "id",
    )
    assert {cell.data_type for row in hidden_sheet.iter_rows() for cell in row if cell.value is not None} == {"s"}
    for title, (_, csm, account, *answers) in hidden_rows(book).items():
        sheet = book[title]
        assert csm == title
        ids = [cell.value for cell in sheet[account]][1:]
        assert ids == listed[(listed["csm"] == csm) & (listed["status"] == "scored")]["account_id"].tolist()
        assert [sheet[f"{letter}1"].value for letter in answers] == [
            ENGLISH.text(f"answer.{name}") for name in feedback_layout.ANSWER_COLUMNS
        ]


def test_playbooks_with_equal_names_show_their_id() -> None:
    first, second = (dict(play) for play in list(LIBRARY.values())[:2])
    second["name"] = first["name"]
    name = first["name"]["en"]
    assert playbook_choices({"a": first, "b": second}, "en") == {f"{name} (a)": "a", f"{name} (b)": "b"}


def test_without_playbooks_any_action_is_accepted(listed: pd.DataFrame) -> None:
    book = open_workbook(listed)
    assert len(validations(book["li"])) == 2
    assert codes_by_text(book, feedback_layout.ACTION_TABLE_COLUMNS) == {}


def test_risk_has_a_data_bar_and_bands_have_colours(listed: pd.DataFrame) -> None:
    sheet = open_workbook(listed)["li"]
    kinds = {
        (str(cells.sqref).split(":")[0][0], rule.type)
        for cells, cell_rules in sheet.conditional_formatting._cf_rules.items()
        for rule in cell_rules
    }
    letters = {cell.value: cell.column_letter for cell in sheet[1]}
    assert (letters["ARR at risk (USD)"], "dataBar") in kinds
    assert (letters["Risk"], "cellIs") in kinds
