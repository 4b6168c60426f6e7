"""Read a returned workbook: valid answers, and the message of each fault."""

from __future__ import annotations

import io
import zipfile
from datetime import date, datetime, time
from typing import Any

import pytest
from openpyxl import Workbook

from renewals.reports.words import MESSAGES
from renewals.reports.workbook import feedback_reader
from renewals.reports.workbook.feedback_answers import ListedAccounts, parse_answers, reject_contradictions
from renewals.reports.workbook.feedback_layout import HIDDEN_SHEET
from renewals.reports.workbook.feedback_reader import InvalidWorkbookError, read_workbook
from tests.reports.returned_books import DAY, HEADINGS, returned

RECORDED = datetime(2026, 6, 10)
KNOWN = ListedAccounts({"acme": "acme", "beta": "beta", "gamma": "gamma"}, {"acme": date(2024, 1, 1)})


def parse(content: bytes, known: ListedAccounts = KNOWN) -> tuple[list[Any], list[str]]:
    answers, refusals = parse_answers(read_workbook(content), "june.xlsx", known, RECORDED)
    return answers, [str(one) for one in refusals]


def refusal_message(*row: Any) -> str:
    """The message that refuses the only row of a workbook."""
    answers, refusals = parse(returned({"Anna": [row]}))
    assert not answers
    assert len(refusals) == 1
    assert refusals[0].startswith("june.xlsx, sheet Anna, ")
    return refusals[0].removeprefix("june.xlsx, sheet Anna, ")


# --- valid answers ------------------------------------------------------------------------------


def test_row_is_parsed_into_an_answer() -> None:
    rows = [("acme", "Will be lost", "Visit the boss", DAY, " called twice "), ("beta", "Will renew"), ("gamma",)]
    answers, refusals = parse(returned({"Anna": rows}))
    assert not refusals
    acme, beta = answers
    assert (acme.account_id, acme.csm, *acme.content) == ("acme", "Anna", "lost", "visit", DAY, "called twice")
    assert (beta.account_id, *beta.content) == ("beta", "renews", None, None, None)
    assert (acme.as_of, acme.file, acme.sheet, acme.cell) == (date(2026, 6, 1), "june.xlsx", "Anna", "C2")


def test_rows_may_be_sorted_hidden_and_deleted() -> None:
    def sort_hide_and_delete(book: Workbook) -> None:
        sheet = book["Anna"]
        sheet.row_dimensions[3].hidden = True
        sheet.auto_filter.ref = "A1:G9"
        sheet.delete_rows(2)
        for column, cell in enumerate((9, "a name", "gamma", "Will renew"), start=1):
            sheet.cell(40, column, cell)

    answers, refusals = parse(returned({"Anna": [("beta",), ("acme", "Will be lost")]}, change=sort_hide_and_delete))
    assert not refusals
    assert [(answer.account_id, answer.verdict, answer.cell) for answer in answers] == [
        ("acme", "lost", "C2"),
        ("gamma", "renews", "C40"),
    ]


def test_chinese_workbook_is_parsed() -> None:
    rows = [("acme", "会流失", "拜访决策人", "2026年6月3日", "等待回复")]
    answers, refusals = parse(returned({"王芳": rows}, language="zh"))
    assert not refusals
    assert (answers[0].csm, *answers[0].content) == ("王芳", "lost", "visit", DAY, "等待回复")


def test_sheet_of_accounts_without_a_manager_is_parsed() -> None:
    assert parse(returned({"Nobody": [("acme", "Will renew")]}))[0][0].csm is None


@pytest.mark.parametrize("ids", [(7, 2**53), ("007", "A-1"), (str(2**60), "x")])
def test_ids_are_numbers_or_text(ids: tuple[Any, ...]) -> None:
    known = ListedAccounts({str(account_id): account_id for account_id in ids}, {})
    answers, refusals = parse(returned({"Anna": [(account_id, "Will renew") for account_id in ids]}), known)
    assert not refusals
    assert [answer.account_id for answer in answers] == list(ids)


def test_number_does_not_match_a_text_id() -> None:
    answers, refusals = parse(returned({"Anna": [(7, "Will renew")]}), ListedAccounts({"007": "007"}, {}))
    assert not answers
    assert "no account '7' on this list" in refusals[0]


@pytest.mark.parametrize(
    ("typed", "listed"),
    [
        (float(352776136104522888), 352776136104522888),  # a double that equals several ids
        (352776136104522888, 352776136104522880),  # as a spreadsheet writes it
        (352776136104523000, 352776136104523000),
        (1234567890123450, 1234567890123450),  # 16 digits, of which Excel stores 15
    ],
)
def test_number_that_may_have_lost_digits_is_refused(typed: float, listed: int) -> None:
    answers, refusals = parse(
        returned({"Anna": [(typed, "Will renew")]}), ListedAccounts({str(int(typed)): listed}, {})
    )
    assert not answers
    assert "keeps only 15 digits" in refusals[0]
    assert "write the id as text" in refusals[0]


@pytest.mark.parametrize("exact", [1234567890123456, 2**53 - 1, 10**15 - 10])
def test_number_with_all_its_digits_is_accepted(exact: int) -> None:
    answers, refusals = parse(returned({"Anna": [(exact, "Will renew")]}), ListedAccounts({str(exact): exact}, {}))
    assert (refusals, [answer.account_id for answer in answers]) == ([], [exact])


@pytest.mark.parametrize(
    "day", [datetime(2026, 6, 3, 14, 30), DAY, "2026-06-03", "2026/6/3", " 2026.6.3 ", "2026年6月3日"]
)
def test_unambiguous_date_is_accepted(day: Any) -> None:
    assert parse(returned({"Anna": [("acme", None, "Visit the boss", day)]}))[0][0].started_on == DAY


def test_verdict_typed_by_hand_is_accepted() -> None:
    assert parse(returned({"Anna": [("acme", " will  RENEW ")]}))[0][0].verdict == "renews"


def test_note_of_any_type_becomes_text() -> None:
    answers, _ = parse(returned({"Anna": [("acme", None, None, None, 42), ("beta", None, None, None, True)]}))
    assert [answer.note for answer in answers] == ["42", "True"]


# --- refused rows --------------------------------------------------------------------------------


def test_unknown_account_id_is_refused() -> None:
    assert refusal_message("acmee", "Will renew") == "C2: no account 'acmee' on this list: did you mean acme?"
    assert refusal_message("zzz", "Will renew").endswith("write the id as in the list")
    assert refusal_message(None, "Will renew").startswith("C2: an answer without an account id")


def test_unknown_verdict_or_action_is_refused() -> None:
    assert refusal_message("acme", "maybe").startswith("D2: 'maybe' is not a valid verdict: choose one of ")
    assert refusal_message("acme", "maybe").endswith("Will renew, Will be lost, Not sure")
    assert "Visit the boss" in refusal_message("acme", None, "Call", DAY)


def test_action_needs_a_day_and_a_day_needs_an_action() -> None:
    assert refusal_message("acme", None, "Visit the boss").startswith(
        "F2: the action 'Visit the boss' has no start day"
    )
    assert refusal_message("acme", None, None, DAY).startswith("E2: a start day ('2026-06-03') without an action")


@pytest.mark.parametrize("day", ["soon", "03/06/2026", 46176, "2026-02-30", time(9, 30)])
def test_invalid_date_is_refused(day: Any) -> None:
    assert "is not a date: write the day as a date, for example 2026-06-10" in refusal_message(
        "acme", None, "Visit the boss", day
    )


def test_start_day_must_lie_between_first_contract_and_return() -> None:
    assert "2026-06-11 is after 2026-06-10" in refusal_message("acme", None, "Visit the boss", date(2026, 6, 11))
    early = refusal_message("acme", None, "Visit the boss", date(1900, 1, 31))
    assert "1900-01-31 is before the account's first contract, which began on 2024-01-01" in early
    assert "is before" in refusal_message("acme", None, "Visit the boss", date(2023, 12, 31))
    assert parse(returned({"Anna": [("acme", None, "Visit the boss", date(2024, 1, 1))]}))[0]
    assert parse(returned({"Anna": [("acme", None, "Visit the boss", date(2026, 6, 10))]}))[0]


@pytest.mark.parametrize(("position", "name"), [(1, "D2"), (4, "G2"), (0, "C2"), (3, "F2")])
def test_formula_is_refused_with_its_cell(position: int, name: str) -> None:
    row: list[Any] = ["acme", "Will renew", "Visit the boss", DAY, "note"]
    row[position] = "=1+1"
    assert refusal_message(*row) == f"{name}: holds a formula ('=1+1'): write the answer itself"


def test_text_that_looks_like_a_formula_is_accepted() -> None:
    def enter_text(book: Workbook) -> None:
        cell = book["Anna"]["G2"]
        cell.value, cell.data_type = "=not a formula", "s"

    answers, refusals = parse(returned({"Anna": [("acme",)]}, change=enter_text))
    assert not refusals
    assert answers[0].note == "=not a formula"


def test_error_value_in_a_cell_is_refused() -> None:
    assert refusal_message("acme", "#REF!").startswith("D2: holds an error ('#REF!')")


def test_note_longer_than_a_cell_is_refused() -> None:
    content = returned({"Anna": [("acme", None, None, None, "MARK")]})
    sink = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as new:
        for part in old.namelist():
            new.writestr(part, old.read(part).replace(b"MARK", b"x" * 32_768))
    answers, refusals = parse(sink.getvalue())
    assert not answers
    assert "G2: has 32,768 characters, and a cell holds 32,767" in refusals[0]


def test_every_fault_of_a_row_is_reported_and_the_row_refused() -> None:
    answers, refusals = parse(returned({"Anna": [("acmee", "maybe", None, DAY), ("beta", "Will renew")]}))
    assert [answer.account_id for answer in answers] == ["beta"]
    assert [text.split(", ")[2][:2] for text in refusals] == ["C2", "D2", "E2"]


def test_contradicting_answers_for_an_account_are_refused() -> None:
    rows = [("acme", "Will renew"), ("acme", "Will be lost"), ("beta", "Will renew"), ("beta", "Will renew")]
    answers, refusals = reject_contradictions(parse(returned({"Anna": rows}))[0])
    assert [answer.account_id for answer in answers] == ["beta"]
    assert [str(one) for one in refusals] == [
        "june.xlsx, sheet Anna, C2: two different answers for account acme: keep one (also in sheet Anna, C3)",
        "june.xlsx, sheet Anna, C3: two different answers for account acme: keep one (also in sheet Anna, C2)",
    ]


# --- refused files -------------------------------------------------------------------------------


def file_error(content: bytes) -> str:
    with pytest.raises(InvalidWorkbookError) as error:
        read_workbook(content)
    return str(error.value)


def zip_archive(**parts: bytes) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in parts.items():
            file.writestr(name.replace("__", "/").replace("_xml", ".xml"), content)
    return sink.getvalue()


def test_file_that_is_no_workbook_is_refused() -> None:
    ole = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600)
    assert file_error(b"").startswith("it is empty: send back the .xlsx file that came with the list")
    assert file_error(b"account_id,verdict\nacme,lost\n").startswith("it is not a workbook: ")
    assert file_error(ole).startswith("it is in the old format .xls")
    assert file_error(ole + "EncryptedPackage".encode("utf-16-le")).startswith("it is protected by a password")
    assert file_error(zip_archive(mimetype=b"application/vnd.oasis.opendocument.spreadsheet")).startswith(
        "it is not an Excel workbook"
    )
    assert file_error(returned({"Anna": []})[:-40]).startswith("it is incomplete, as after an interrupted transfer")


def test_damaged_workbook_is_refused() -> None:
    assert file_error(zip_archive(xl__workbook_xml=b"<no", **{"[Content_Types]_xml": b"<no"})).startswith(
        "it is damaged ("
    )


def test_zip_bomb_is_not_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feedback_reader, "MAX_UNPACKED_BYTES", 10_000_000)
    bomb = zip_archive(xl__workbook_xml=b"<w/>", xl__big_xml=bytes(10_000_000))
    assert len(bomb) < 20_000
    assert file_error(bomb).startswith("it would unpack to 0 GB, more than any list needs")


def test_sheet_with_too_many_rows_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def add_far_cell(book: Workbook) -> None:
        book["Anna"].cell(60, 1, "x")

    monkeypatch.setattr(feedback_reader, "MAX_SHEET_ROWS", 50)
    assert "'Anna' has more than 50 rows" in file_error(returned({"Anna": []}, change=add_far_cell))


def test_unknown_layout_or_changed_metadata_is_refused() -> None:
    def delete_hidden_sheet(book: Workbook) -> None:
        del book[HIDDEN_SHEET]

    def break_hidden_sheet(book: Workbook) -> None:
        book[HIDDEN_SHEET]["C7"] = "not a column"

    assert "its hidden sheet 'renewals' was deleted" in file_error(returned({"Anna": []}, change=delete_hidden_sheet))
    assert file_error(returned({"Anna": []}, format="3")).startswith(
        "its layout is version '3', and this program reads versions up to '2'"
    )
    assert "was changed" in file_error(returned({"Anna": []}, as_of="last month"))
    assert "was changed" in file_error(returned({"Anna": []}, change=break_hidden_sheet))
    assert "was changed" in file_error(returned({"Anna": []}, header="soon"))
    assert "was changed" in file_error(returned({"Anna": []}, header="999999999"))
    assert "was changed" in file_error(returned({}))


def test_missing_sheet_is_reported() -> None:
    def rename_sheet(book: Workbook) -> None:
        book["Bob"].title = "Bobby"

    book = read_workbook(
        returned({"Anna": [("acme", "Will renew")], "Bob": [("beta", "Will renew")]}, change=rename_sheet)
    )
    assert [row.cells["account_id"].value for row in book.rows] == ["acme"]
    assert [sheet.csm for sheet in book.missing_sheets] == ["Bob"]


# --- moved columns -------------------------------------------------------------------------------


@pytest.fixture
def with_headings(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = ("heading.account_id", *(f"answer.{name}" for name in ("verdict", "action", "started_on", "note")))
    for key, heading in zip(keys, HEADINGS[2:], strict=True):
        monkeypatch.setitem(MESSAGES["en"], key, heading)  # type: ignore[index]


def insert_column(book: Workbook) -> None:
    book["Anna"].insert_cols(4)


@pytest.mark.usefixtures("with_headings")
def test_answers_are_parsed_after_a_column_was_inserted() -> None:
    rows = [("acme", "Will be lost", "Visit the boss", DAY, "so")]
    answers, refusals = parse(returned({"Anna": rows}, change=insert_column))
    assert not refusals
    assert answers[0].content == ("lost", "visit", DAY, "so")


@pytest.mark.usefixtures("with_headings")
def test_shifted_columns_with_a_changed_heading_are_refused() -> None:
    def insert_and_rename(book: Workbook) -> None:
        insert_column(book)
        book["Anna"]["H1"] = "My words"

    message = file_error(returned({"Anna": [("acme", "Will renew")]}, change=insert_and_rename))
    assert "on its sheet 'Anna' columns were moved and the heading of note was changed" in message


@pytest.mark.usefixtures("with_headings")
def test_changed_heading_is_accepted_if_columns_are_in_place() -> None:
    def reword_heading(book: Workbook) -> None:
        book["Anna"]["D1"] = "What do you think?"

    assert parse(returned({"Anna": [("acme", "Will renew")]}, change=reword_heading))[0][0].verdict == "renews"


# --- notices above the headings ------------------------------------------------------------------

ANSWERED = [("acme", "Will be lost", "Visit the boss", DAY, "so"), ("beta", "Will renew")]
NOTICES = ("⚠ Usage data is old.", "⚠ The model is old.")


def delete_notices(book: Workbook) -> None:
    book["Anna"].delete_rows(1, 2)


@pytest.mark.usefixtures("with_headings")
@pytest.mark.parametrize(("change", "cell"), [(None, "C4"), (delete_notices, "C2")])
def test_answers_are_parsed_below_notices_or_without_them(change: Any, cell: str) -> None:
    answers, refusals = parse(returned({"Anna": ANSWERED}, change=change, notices=NOTICES))
    assert not refusals
    assert [answer.content for answer in answers] == [("lost", "visit", DAY, "so"), ("renews", None, None, None)]
    assert answers[0].cell == cell


@pytest.mark.usefixtures("with_headings")
def test_renamed_sheet_is_read_below_notices() -> None:
    book = read_workbook(returned({"Anna": ANSWERED, "Bob": [("gamma",)]}, change=rename_sheet, notices=NOTICES))
    assert [(sheet.title, sheet.account_ids) for sheet in book.unknown_sheets] == [("Robert", {"gamma"})]


def test_workbook_of_the_previous_layout_is_parsed() -> None:
    answers, refusals = parse(returned({"Anna": ANSWERED}, format="1", header=""))
    assert (len(answers), refusals) == (2, [])


# --- renamed sheets ------------------------------------------------------------------------------

MANAGERS = {"acme": "Anna", "beta": "Bob", "gamma": "Bob"}


def match_sheets(change: Any, managers: Any = MANAGERS) -> tuple[list[tuple[Any, ...]], list[str], list[str]]:
    """Matched answers, titles of missing sheets, and titles of unknown sheets."""
    rows = {"Anna": [("acme", "Will renew")], "Bob": [("beta", "Will be lost"), ("gamma",)]}
    book, unknown = feedback_reader.match_renamed_sheets(read_workbook(returned(rows, change=change)), managers)
    answers = [(row.sheet.csm, row.sheet.title, row.cells["account_id"].value) for row in book.rows]
    return answers, [sheet.title for sheet in book.missing_sheets], [sheet.title for sheet in unknown]


def rename_sheet(book: Workbook) -> None:
    book["Bob"].title = "Robert"


@pytest.mark.usefixtures("with_headings")
def test_renamed_sheet_is_matched_by_its_accounts() -> None:
    assert match_sheets(rename_sheet) == ([("Anna", "Anna", "acme"), ("Bob", "Robert", "beta")], [], [])


@pytest.mark.usefixtures("with_headings")
def test_renamed_sheet_with_an_account_of_a_different_manager_is_unknown() -> None:
    managers = MANAGERS | {"gamma": "Cleo"}
    assert match_sheets(rename_sheet, managers) == ([("Anna", "Anna", "acme")], ["Bob"], ["Robert"])


@pytest.mark.usefixtures("with_headings")
def test_copied_sheet_is_unknown() -> None:
    def copy_sheet(book: Workbook) -> None:
        book.copy_worksheet(book["Bob"])

    def copy_and_rename(book: Workbook) -> None:
        copy_sheet(book)
        rename_sheet(book)

    answers, missing, unknown = match_sheets(copy_sheet)
    assert (len(answers), missing, unknown) == (2, [], ["Bob Copy"])
    assert match_sheets(copy_and_rename) == ([("Anna", "Anna", "acme")], ["Bob"], ["Robert", "Bob Copy"])


def test_text_of_two_actions_is_refused() -> None:
    def add_second_action(book: Workbook) -> None:
        book[HIDDEN_SHEET]["M8"], book[HIDDEN_SHEET]["N8"] = "visit the BOSS", "other"

    answers, refusals = parse(returned({"Anna": [("acme", None, "Visit the boss", DAY)]}, change=add_second_action))
    assert not answers
    assert "is not a valid action" in refusals[0]
