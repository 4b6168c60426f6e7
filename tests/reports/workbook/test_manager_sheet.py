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
from tests.reports.books import column, opened, plays
from tests.reports.small_list import HOSTILE, make_list, observations

LIBRARY = plays()
ENGLISH = Messages("en")
DAY = datetime.date(2026, 6, 1)


def chinese(**options: Any) -> ListOptions:
    return ListOptions.model_validate({"language": "zh", **options})


def hidden(book: Any) -> dict[str, list[Any]]:
    """One entry per manager's sheet: its row of the hidden sheet by heading, and the cells of the columns it names."""
    own = book[feedback_layout.HIDDEN_SHEET]
    rows = own.iter_rows(
        min_row=feedback_layout.TABLES_HEADER_ROW + 1,
        max_col=len(feedback_layout.SHEET_TABLE_COLUMNS),
        values_only=True,
    )
    return {row[0]: list(row) for row in itertools.takewhile(lambda row: row[0], rows)}


def words(book: Any, letters: tuple[str, str]) -> dict[str, str]:
    own = book[feedback_layout.HIDDEN_SHEET]
    pairs = ((own[f"{letters[0]}{row}"].value, own[f"{letters[1]}{row}"].value) for row in range(7, own.max_row + 1))
    return dict(pair for pair in pairs if pair[0])


def rules(sheet: Any) -> dict[str, Any]:
    """The validation of each answer, by column letter."""
    return {str(one.sqref).split(":")[0].rstrip("0123456789"): one for one in sheet.data_validations.dataValidation}


def test_a_manager_finds_own_accounts_in_rank_order(listed: pd.DataFrame) -> None:
    book = opened(listed)
    for csm in ("ann", "li"):
        own = listed[(listed["csm"] == csm) & (listed["status"] == "scored")]
        sheet = book[csm]
        assert [cell.value for cell in column(sheet, "Rank")] == list(range(1, len(own) + 1))
        assert [cell.value for cell in column(sheet, "Account")] == own["account_name"].tolist()
        assert sheet.freeze_panes == "C2"
        assert sheet.auto_filter.ref == f"A1:{openpyxl.utils.get_column_letter(sheet.max_column)}{len(own) + 1}"
    headings = [cell.value for cell in book["ann"][1]]
    assert headings[:3] == ["Rank", "Account", "Risk"]
    assert "ARR at risk (USD)" in headings
    assert "Currency" not in headings
    assert headings[-1] == "Account id"


# --- the line of capacity -----------------------------------------------------------------------------


def formulas(sheet: Any) -> dict[str, str]:
    """What is drawn by a formula: the rule by the cells it is laid over."""
    return {
        str(cells.sqref): rule.formula[0]
        for cells, own in sheet.conditional_formatting._cf_rules.items()
        for rule in own
        if rule.type == "expression"
    }


@pytest.mark.parametrize(("most", "within"), [(1, 1), (2, 2), (0, 0)])
def test_the_line_stands_under_the_last_account_within_capacity(most: int, within: int) -> None:
    options = ListOptions(capacity=Capacity(accounts=most))
    listed = make_list(observations(), options)
    assert listed[listed["csm"] == "li"]["within_capacity"].sum() == within
    sheet = opened(listed, options)["li"]
    drawn = formulas(sheet)
    last = openpyxl.utils.get_column_letter(sheet.max_column)
    assert drawn[f"A2:{last}4"] == f"AND($A2={within},$A3={within + 1})"
    greyed = next(span for span, rule in drawn.items() if rule == f"$A2>{within}")
    letters = hidden(opened(listed, options))["li"][3:]
    first, _, rest = greyed.partition(" ")
    before, after = (openpyxl.utils.column_index_from_string(letters[place]) for place in (0, -1))
    assert first.endswith(f"{openpyxl.utils.get_column_letter(before - 1)}4")
    assert rest.startswith(f"{openpyxl.utils.get_column_letter(after + 1)}2"), "cells for answers stay blue"


def test_where_all_is_within_capacity_there_is_no_line(listed: pd.DataFrame) -> None:
    assert listed["within_capacity"].dropna().all()
    assert not formulas(opened(listed)["li"])


def test_a_portfolio_whose_first_account_is_too_large_is_cut_below_it() -> None:
    options = ListOptions(capacity=Capacity(managers={"li": ManagerCapacity(arr=1.0)}))
    listed = make_list(observations(), options)
    assert "AND($A2=1,$A3=2)" in formulas(opened(listed, options)["li"]).values()
    assert not formulas(opened(listed, options)["ann"])


# --- notices ------------------------------------------------------------------------------------------

NOTICES = [{"en": "=Usage data is old", "zh": "使用数据过旧"}, {"en": "x" * 300, "zh": "模型过旧"}]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_notices_stand_on_top_of_the_first_sheet_and_of_every_manager(language: str) -> None:
    options = ListOptions.model_validate({"language": language, "capacity": {"accounts": 1}})
    listed = make_list(observations(), options)
    book = opened(listed, options, notices=NOTICES)
    for sheet in (book.worksheets[0], *(book[name] for name in hidden(book))):
        assert [sheet[f"A{row}"].value for row in (1, 2)] == [f"⚠ {one[language]}" for one in NOTICES]
        assert sheet["A1"].fill.start_color.rgb == "FFFFE08A"
        assert sum(str(one).startswith(("A1:", "A2:")) for one in sheet.merged_cells.ranges) == 2
    assert book[feedback_layout.HIDDEN_SHEET]["B5"].value == "3"


def test_below_notices_a_managers_sheet_is_as_it_is_without() -> None:
    options = ListOptions(capacity=Capacity(accounts=1))
    listed = make_list(observations(), options)
    plain, noticed = (opened(listed, options, library=LIBRARY, notices=own) for own in ((), NOTICES))
    for csm in ("ann", "li"):
        rows = [[cell.value for cell in row] for row in noticed[csm].iter_rows(min_row=3)]
        assert rows == [[cell.value for cell in row] for row in plain[csm].iter_rows()]
        assert noticed[csm].freeze_panes == "C4"
        assert noticed[csm].print_title_rows == "$1:$3"
        assert lowered(plain[csm].auto_filter.ref) == noticed[csm].auto_filter.ref
        assert {lowered(k): lowered(v) for k, v in formulas(plain[csm]).items()} == formulas(noticed[csm])
        spans = ({str(one.sqref) for one in rules(book[csm]).values()} for book in (plain, noticed))
        assert {lowered(span) for span in next(spans)} == next(spans)
        heights = ({row: own.height for row, own in book[csm].row_dimensions.items()} for book in (plain, noticed))
        assert {row + 2: height for row, height in next(heights).items()}.items() <= next(heights).items()


def lowered(cells: str) -> str:
    """References to cells, two rows lower."""
    return re.sub(r"(\b\$?[A-Z]+)(\d+)\b", lambda own: f"{own[1]}{int(own[2]) + 2}", cells)


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
def test_a_title_is_one_that_excel_takes(names: list[str], expected: list[str]) -> None:
    assert sheet_titles(names, ["History", "renewals", "Summary"], "No manager") == expected


def test_managers_with_hostile_names_have_a_sheet_each() -> None:
    rows = observations(HOSTILE).assign(csm=list(HOSTILE))
    names = [LONG, LONG + "s", "ANN", "ann", "summary", "LIST", None]
    more = observations(tuple(f"more {n}" for n in range(len(names)))).assign(csm=names)
    rows = pd.concat([rows, more.assign(account_id=[f"m{n}" for n in range(len(names))])], ignore_index=True)
    book = opened(make_list(rows))
    told = hidden(book)
    assert len(told) == len(HOSTILE) + len(names)
    shown = {("" if csm is None else csm): title for title, (_, csm, *_) in told.items()}
    assert set(names) - {None} <= set(shown)
    assert "" in shown
    for title, (_, csm, account, *_) in told.items():
        ids = [cell.value for cell in book[title][account]][1:]
        if csm in names:
            assert ids == [f"m{names.index(csm)}"]
    assert not [cell for title in told for row in book[title].iter_rows() for cell in row if cell.data_type == "f"]


def test_more_managers_than_sheets_are_said_to_be_on_the_list() -> None:
    rows = observations(tuple(f"account {n}" for n in range(6))).assign(csm=[f"manager {n}" for n in range(6)])
    book = opened(make_list(rows), ListOptions(workbook_managers=2))
    assert [title for title in book.sheetnames if title.startswith("manager")] == ["manager 4", "manager 5"]
    assert list(hidden(book)) == ["manager 4", "manager 5"]
    said = [row[0].value for row in book["Summary"].iter_rows(max_row=8)]
    assert any("4 managers with less to renew have no sheet" in str(line) for line in said)
    assert len(column(book["List"], "Account")) == 6


def test_the_list_of_one_manager_is_told_once() -> None:
    book = opened(make_list(observations().assign(csm="li")))
    assert book.sheetnames == ["Summary", "li", "renewals", "About this list"]
    nobody = opened(make_list(observations().assign(csm=None)))
    assert nobody.sheetnames == ["Summary", "No manager", "renewals", "About this list"]
    assert hidden(nobody)["No manager"][1] is None


# --- answers ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "verdicts", "days"),
    [
        (ListOptions(), ["Will renew", "Will be lost", "Not sure"], "[$-409]d mmm yyyy"),
        (chinese(), ["会续约", "会流失", "不确定"], 'yyyy"年"m"月"d"日"'),
    ],
)
def test_answers_are_chosen_from_what_can_be_read_back(
    listed: pd.DataFrame, options: ListOptions, verdicts: list[str], days: str
) -> None:
    book = opened(listed, options, library=LIBRARY)
    own = Messages(options.language)
    assert words(book, feedback_layout.VERDICT_TABLE_COLUMNS) == dict(
        zip(verdicts, feedback_layout.VERDICT_CODES, strict=True)
    )
    named = {play["name"][options.language]: key for key, play in LIBRARY.items()}
    assert words(book, feedback_layout.ACTION_TABLE_COLUMNS) == named
    sheet = book["li"]
    letters = dict(zip(feedback_layout.ANSWER_COLUMNS, hidden(book)["li"][3:], strict=True))
    asked = rules(sheet)
    last = sheet.max_row
    assert asked[letters["verdict"]].formula1 == "renewals!$J$7:$J$9"
    assert asked[letters["action"]].formula1 == f"renewals!$M$7:$M${6 + len(LIBRARY)}"
    assert {str(rule.sqref) for rule in asked.values()} == {
        f"{letters[name]}2:{letters[name]}{last}" for name in ("verdict", "action", "started_on")
    }
    assert {rule.error for rule in asked.values() if rule.type == "list"} == {own.text("answer.not_listed")}
    begun = asked[letters["started_on"]]
    assert begun.type == "date"
    epoch = datetime.date(1899, 12, 30)
    near = [epoch + datetime.timedelta(days=int(formula)) for formula in (begun.formula1, begun.formula2)]
    assert near == [DAY - datetime.timedelta(days=366), DAY + datetime.timedelta(days=366)]
    for name, letter in letters.items():
        assert [cell.value for cell in sheet[letter]] == [own.text(f"answer.{name}")] + [None] * (last - 1)
        assert sheet[f"{letter}2"].number_format == (days if name == "started_on" else "@")
        assert sheet[f"{letter}2"].fill.fgColor.rgb == "FFEAF3FB"
        edges = sheet[f"{letter}2"].border
        assert (edges.top.style, edges.bottom.color.rgb) == (None, "FF9DC3E6"), "nothing lies over the line of capacity"


def test_the_hidden_sheet_says_which_list_and_where(listed: pd.DataFrame) -> None:
    book = opened(listed, library=LIBRARY, fingerprint="abc123")
    own = book[feedback_layout.HIDDEN_SHEET]
    assert own.sheet_state == "veryHidden"
    standing = [(own[f"A{row}"].value, own[f"B{row}"].value) for row in range(1, 6)]
    assert standing == [
        *[("format", "2"), ("as_of", "2026-06-01"), ("key", "abc123"), ("language", "en")],
        ("header", "1"),
    ]
    assert [own.cell(6, place + 1).value for place in range(7)] == list(feedback_layout.SHEET_TABLE_COLUMNS)
    assert (own["J6"].value, own["K6"].value, own["M6"].value, own["N6"].value) == ("verdict", "code", "action", "id")
    assert {cell.data_type for row in own.iter_rows() for cell in row if cell.value is not None} == {"s"}
    for title, (_, csm, account, *answers) in hidden(book).items():
        sheet = book[title]
        assert csm == title
        ids = [cell.value for cell in sheet[account]][1:]
        assert ids == listed[(listed["csm"] == csm) & (listed["status"] == "scored")]["account_id"].tolist()
        assert [sheet[f"{letter}1"].value for letter in answers] == [
            ENGLISH.text(f"answer.{name}") for name in feedback_layout.ANSWER_COLUMNS
        ]


def test_two_plays_of_one_name_are_told_apart() -> None:
    one, other = (dict(play) for play in list(LIBRARY.values())[:2])
    other["name"] = one["name"]
    name = one["name"]["en"]
    assert playbook_choices({"a": one, "b": other}, "en") == {f"{name} (a)": "a", f"{name} (b)": "b"}


def test_without_plays_an_action_is_free(listed: pd.DataFrame) -> None:
    book = opened(listed)
    assert len(rules(book["li"])) == 2
    assert words(book, feedback_layout.ACTION_TABLE_COLUMNS) == {}


def test_risk_is_drawn_as_a_bar_and_bands_in_colour(listed: pd.DataFrame) -> None:
    sheet = opened(listed)["li"]
    kinds = {
        (str(cells.sqref).split(":")[0][0], rule.type)
        for cells, own in sheet.conditional_formatting._cf_rules.items()
        for rule in own
    }
    place = {cell.value: cell.column_letter for cell in sheet[1]}
    assert (place["ARR at risk (USD)"], "dataBar") in kinds
    assert (place["Risk"], "cellIs") in kinds
