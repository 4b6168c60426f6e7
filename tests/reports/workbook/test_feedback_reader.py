"""A returned workbook read back: what is understood, and every fault by its words."""

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


def taken(content: bytes, known: ListedAccounts = KNOWN) -> tuple[list[Any], list[str]]:
    kept, refused = parse_answers(read_workbook(content), "june.xlsx", known, RECORDED)
    return kept, [str(one) for one in refused]


def refused(*row: Any) -> str:
    """Why the one row of a workbook is refused."""
    kept, said = taken(returned({"Anna": [row]}))
    assert not kept
    assert len(said) == 1
    assert said[0].startswith("june.xlsx, sheet Anna, ")
    return said[0].removeprefix("june.xlsx, sheet Anna, ")


# --- what is understood --------------------------------------------------------------------------


def test_a_row_says_who_what_and_when() -> None:
    rows = [("acme", "Will be lost", "Visit the boss", DAY, " called twice "), ("beta", "Will renew"), ("gamma",)]
    kept, said = taken(returned({"Anna": rows}))
    assert not said
    acme, beta = kept
    assert (acme.account_id, acme.csm, *acme.content) == ("acme", "Anna", "lost", "visit", DAY, "called twice")
    assert (beta.account_id, *beta.content) == ("beta", "renews", None, None, None)
    assert (acme.as_of, acme.file, acme.sheet, acme.cell) == (date(2026, 6, 1), "june.xlsx", "Anna", "C2")


def test_rows_may_be_sorted_hidden_and_deleted() -> None:
    def meddled(book: Workbook) -> None:
        sheet = book["Anna"]
        sheet.row_dimensions[3].hidden = True
        sheet.auto_filter.ref = "A1:G9"
        sheet.delete_rows(2)
        for place, cell in enumerate((9, "a name", "gamma", "Will renew"), start=1):
            sheet.cell(40, place, cell)

    kept, said = taken(returned({"Anna": [("beta",), ("acme", "Will be lost")]}, change=meddled))
    assert not said
    assert [(own.account_id, own.verdict, own.cell) for own in kept] == [
        ("acme", "lost", "C2"),
        ("gamma", "renews", "C40"),
    ]


def test_a_list_in_chinese() -> None:
    rows = [("acme", "会流失", "拜访决策人", "2026年6月3日", "等待回复")]
    kept, said = taken(returned({"王芳": rows}, language="zh"))
    assert not said
    assert (kept[0].csm, *kept[0].content) == ("王芳", "lost", "visit", DAY, "等待回复")


def test_accounts_without_a_manager_have_a_sheet_too() -> None:
    assert taken(returned({"Nobody": [("acme", "Will renew")]}))[0][0].csm is None


@pytest.mark.parametrize("ids", [(7, 2**53), ("007", "A-1"), (str(2**60), "x")])
def test_ids_are_numbers_or_text(ids: tuple[Any, ...]) -> None:
    known = ListedAccounts({str(own): own for own in ids}, {})
    kept, said = taken(returned({"Anna": [(own, "Will renew") for own in ids]}), known)
    assert not said
    assert [own.account_id for own in kept] == list(ids)


def test_a_number_is_not_the_text_of_another_id() -> None:
    kept, said = taken(returned({"Anna": [(7, "Will renew")]}), ListedAccounts({"007": "007"}, {}))
    assert not kept
    assert "no account '7' on this list" in said[0]


@pytest.mark.parametrize(
    ("typed", "other"),
    [
        (float(352776136104522888), 352776136104522888),  # a double that stands for several ids
        (352776136104522888, 352776136104522880),  # as a spreadsheet writes it
        (352776136104523000, 352776136104523000),
        (1234567890123450, 1234567890123450),  # 16 digits, of which Excel kept 15
    ],
)
def test_a_number_whose_last_digits_may_be_lost_is_nobodys(typed: float, other: int) -> None:
    kept, said = taken(returned({"Anna": [(typed, "Will renew")]}), ListedAccounts({str(int(typed)): other}, {}))
    assert not kept
    assert "keeps only 15 digits" in said[0]
    assert "write the id as text" in said[0]


@pytest.mark.parametrize("exact", [1234567890123456, 2**53 - 1, 10**15 - 10])
def test_a_number_with_all_its_digits_is_taken(exact: int) -> None:
    kept, said = taken(returned({"Anna": [(exact, "Will renew")]}), ListedAccounts({str(exact): exact}, {}))
    assert (said, [own.account_id for own in kept]) == ([], [exact])


@pytest.mark.parametrize(
    "day", [datetime(2026, 6, 3, 14, 30), DAY, "2026-06-03", "2026/6/3", " 2026.6.3 ", "2026年6月3日"]
)
def test_a_day_that_can_be_read_in_one_way(day: Any) -> None:
    assert taken(returned({"Anna": [("acme", None, "Visit the boss", day)]}))[0][0].started_on == DAY


def test_a_word_typed_by_hand() -> None:
    assert taken(returned({"Anna": [("acme", " will  RENEW ")]}))[0][0].verdict == "renews"


def test_a_note_may_be_anything_but_a_formula() -> None:
    kept, _ = taken(returned({"Anna": [("acme", None, None, None, 42), ("beta", None, None, None, True)]}))
    assert [own.note for own in kept] == ["42", "True"]


# --- rows refused --------------------------------------------------------------------------------


def test_an_id_that_is_not_on_the_list() -> None:
    assert refused("acmee", "Will renew") == "C2: no account 'acmee' on this list: did you mean acme?"
    assert refused("zzz", "Will renew").endswith("write the id as in the list")
    assert refused(None, "Will renew").startswith("C2: an answer without an account id")


def test_words_that_are_none() -> None:
    assert refused("acme", "maybe").startswith("D2: 'maybe' is not a valid verdict: choose one of ")
    assert refused("acme", "maybe").endswith("Will renew, Will be lost, Not sure")
    assert "Visit the boss" in refused("acme", None, "Call", DAY)


def test_an_action_without_a_day_and_a_day_without_an_action() -> None:
    assert refused("acme", None, "Visit the boss").startswith("F2: the action 'Visit the boss' has no start day")
    assert refused("acme", None, None, DAY).startswith("E2: a start day ('2026-06-03') without an action")


@pytest.mark.parametrize("day", ["soon", "03/06/2026", 46176, "2026-02-30", time(9, 30)])
def test_no_day(day: Any) -> None:
    assert "is not a date: write the day as a date, for example 2026-06-10" in refused(
        "acme", None, "Visit the boss", day
    )


def test_days_that_cannot_be() -> None:
    assert "2026-06-11 is after 2026-06-10" in refused("acme", None, "Visit the boss", date(2026, 6, 11))
    early = refused("acme", None, "Visit the boss", date(1900, 1, 31))
    assert "1900-01-31 is before the account's first contract, which began on 2024-01-01" in early
    assert "is before" in refused("acme", None, "Visit the boss", date(2023, 12, 31))
    assert taken(returned({"Anna": [("acme", None, "Visit the boss", date(2024, 1, 1))]}))[0]
    assert taken(returned({"Anna": [("acme", None, "Visit the boss", date(2026, 6, 10))]}))[0]


@pytest.mark.parametrize(("place", "name"), [(1, "D2"), (4, "G2"), (0, "C2"), (3, "F2")])
def test_a_formula_is_refused_where_it_stands(place: int, name: str) -> None:
    row: list[Any] = ["acme", "Will renew", "Visit the boss", DAY, "note"]
    row[place] = "=1+1"
    assert refused(*row) == f"{name}: holds a formula ('=1+1'): write the answer itself"


def test_a_text_that_begins_like_a_formula_is_a_text() -> None:
    def quoted(book: Workbook) -> None:
        cell = book["Anna"]["G2"]
        cell.value, cell.data_type = "=not a formula", "s"

    kept, said = taken(returned({"Anna": [("acme",)]}, change=quoted))
    assert not said
    assert kept[0].note == "=not a formula"


def test_an_error_in_a_cell() -> None:
    assert refused("acme", "#REF!").startswith("D2: holds an error ('#REF!')")


def test_a_note_too_long_for_a_cell() -> None:
    content = returned({"Anna": [("acme", None, None, None, "MARK")]})
    sink = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as new:
        for part in old.namelist():
            new.writestr(part, old.read(part).replace(b"MARK", b"x" * 32_768))
    kept, said = taken(sink.getvalue())
    assert not kept
    assert "G2: has 32,768 characters, and a cell holds 32,767" in said[0]


def test_every_fault_of_a_row_is_told_and_nothing_of_it_taken() -> None:
    kept, said = taken(returned({"Anna": [("acmee", "maybe", None, DAY), ("beta", "Will renew")]}))
    assert [own.account_id for own in kept] == ["beta"]
    assert [text.split(", ")[2][:2] for text in said] == ["C2", "D2", "E2"]


def test_an_account_answered_twice() -> None:
    rows = [("acme", "Will renew"), ("acme", "Will be lost"), ("beta", "Will renew"), ("beta", "Will renew")]
    kept, said = reject_contradictions(taken(returned({"Anna": rows}))[0])
    assert [own.account_id for own in kept] == ["beta"]
    assert [str(one) for one in said] == [
        "june.xlsx, sheet Anna, C2: two different answers for account acme: keep one (also in sheet Anna, C3)",
        "june.xlsx, sheet Anna, C3: two different answers for account acme: keep one (also in sheet Anna, C2)",
    ]


# --- files refused -------------------------------------------------------------------------------


def why(content: bytes) -> str:
    with pytest.raises(InvalidWorkbookError) as stop:
        read_workbook(content)
    return str(stop.value)


def packed(**parts: bytes) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in parts.items():
            file.writestr(name.replace("__", "/").replace("_xml", ".xml"), content)
    return sink.getvalue()


def test_what_is_no_workbook() -> None:
    ole = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600)
    assert why(b"").startswith("it is empty: send back the .xlsx file that came with the list")
    assert why(b"account_id,verdict\nacme,lost\n").startswith("it is not a workbook: ")
    assert why(ole).startswith("it is in the old format .xls")
    assert why(ole + "EncryptedPackage".encode("utf-16-le")).startswith("it is protected by a password")
    assert why(packed(mimetype=b"application/vnd.oasis.opendocument.spreadsheet")).startswith(
        "it is not an Excel workbook"
    )
    assert why(returned({"Anna": []})[:-40]).startswith("it is incomplete, as after an interrupted transfer")


def test_a_workbook_that_is_harmed_inside() -> None:
    assert why(packed(xl__workbook_xml=b"<no", **{"[Content_Types]_xml": b"<no"})).startswith("it is damaged (")


def test_a_bomb_is_not_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feedback_reader, "MAX_UNPACKED_BYTES", 10_000_000)
    bomb = packed(xl__workbook_xml=b"<w/>", xl__big_xml=bytes(10_000_000))
    assert len(bomb) < 20_000
    assert why(bomb).startswith("it would unpack to 0 GB, more than any list needs")


def test_rows_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    def far_down(book: Workbook) -> None:
        book["Anna"].cell(60, 1, "x")

    monkeypatch.setattr(feedback_reader, "MAX_SHEET_ROWS", 50)
    assert "'Anna' has more than 50 rows" in why(returned({"Anna": []}, change=far_down))


def test_another_workbook_or_another_layout() -> None:
    def without(book: Workbook) -> None:
        del book[HIDDEN_SHEET]

    def broken(book: Workbook) -> None:
        book[HIDDEN_SHEET]["C7"] = "not a column"

    assert "its hidden sheet 'renewals' was deleted" in why(returned({"Anna": []}, change=without))
    assert why(returned({"Anna": []}, format="3")).startswith(
        "its layout is version '3', and this program reads versions up to '2'"
    )
    assert "was changed" in why(returned({"Anna": []}, as_of="last month"))
    assert "was changed" in why(returned({"Anna": []}, change=broken))
    assert "was changed" in why(returned({"Anna": []}, header="soon"))
    assert "was changed" in why(returned({"Anna": []}, header="999999999"))
    assert "was changed" in why(returned({}))


def test_a_sheet_that_is_gone_is_told() -> None:
    def renamed(book: Workbook) -> None:
        book["Bob"].title = "Bobby"

    book = read_workbook(returned({"Anna": [("acme", "Will renew")], "Bob": [("beta", "Will renew")]}, change=renamed))
    assert [row.cells["account_id"].value for row in book.rows] == ["acme"]
    assert [sheet.csm for sheet in book.missing_sheets] == ["Bob"]


# --- columns that were moved ---------------------------------------------------------------------


@pytest.fixture
def with_headings(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = ("heading.account_id", *(f"answer.{name}" for name in ("verdict", "action", "started_on", "note")))
    for key, heading in zip(keys, HEADINGS[2:], strict=True):
        monkeypatch.setitem(MESSAGES["en"], key, heading)  # type: ignore[index]


def inserted(book: Workbook) -> None:
    book["Anna"].insert_cols(4)


@pytest.mark.usefixtures("with_headings")
def test_a_column_that_was_inserted_moves_the_answers() -> None:
    rows = [("acme", "Will be lost", "Visit the boss", DAY, "so")]
    kept, said = taken(returned({"Anna": rows}, change=inserted))
    assert not said
    assert kept[0].content == ("lost", "visit", DAY, "so")


@pytest.mark.usefixtures("with_headings")
def test_moved_columns_without_their_headings_are_not_guessed() -> None:
    def both(book: Workbook) -> None:
        inserted(book)
        book["Anna"]["H1"] = "My words"

    said = why(returned({"Anna": [("acme", "Will renew")]}, change=both))
    assert "on its sheet 'Anna' columns were moved and the heading of note was changed" in said


@pytest.mark.usefixtures("with_headings")
def test_headings_in_other_words_where_nothing_moved() -> None:
    def reworded(book: Workbook) -> None:
        book["Anna"]["D1"] = "What do you think?"

    assert taken(returned({"Anna": [("acme", "Will renew")]}, change=reworded))[0][0].verdict == "renews"


# --- notices above the headings ------------------------------------------------------------------

ANSWERED = [("acme", "Will be lost", "Visit the boss", DAY, "so"), ("beta", "Will renew")]
NOTICES = ("⚠ Usage data is old.", "⚠ The model is old.")


def without_notices(book: Workbook) -> None:
    book["Anna"].delete_rows(1, 2)


@pytest.mark.usefixtures("with_headings")
@pytest.mark.parametrize(("change", "cell"), [(None, "C4"), (without_notices, "C2")])
def test_answers_are_read_below_notices_which_may_be_deleted(change: Any, cell: str) -> None:
    kept, said = taken(returned({"Anna": ANSWERED}, change=change, notices=NOTICES))
    assert not said
    assert [one.content for one in kept] == [("lost", "visit", DAY, "so"), ("renews", None, None, None)]
    assert kept[0].cell == cell


@pytest.mark.usefixtures("with_headings")
def test_a_renamed_sheet_is_found_again_below_notices() -> None:
    book = read_workbook(returned({"Anna": ANSWERED, "Bob": [("gamma",)]}, change=renamed, notices=NOTICES))
    assert [(stray.title, stray.account_ids) for stray in book.unknown_sheets] == [("Robert", {"gamma"})]


def test_a_workbook_of_the_layout_before_is_still_read() -> None:
    kept, said = taken(returned({"Anna": ANSWERED}, format="1", header=""))
    assert (len(kept), said) == (2, [])


# --- sheets that were renamed --------------------------------------------------------------------

MANAGERS = {"acme": "Anna", "beta": "Bob", "gamma": "Bob"}


def placed(change: Any, managers: Any = MANAGERS) -> tuple[list[tuple[Any, ...]], list[str], list[str]]:
    """Who answered what, whose sheet is missing, and which sheets are nobody's."""
    rows = {"Anna": [("acme", "Will renew")], "Bob": [("beta", "Will be lost"), ("gamma",)]}
    book, left = feedback_reader.match_renamed_sheets(read_workbook(returned(rows, change=change)), managers)
    said = [(row.sheet.csm, row.sheet.title, row.cells["account_id"].value) for row in book.rows]
    return said, [sheet.title for sheet in book.missing_sheets], [stray.title for stray in left]


def renamed(book: Workbook) -> None:
    book["Bob"].title = "Robert"


@pytest.mark.usefixtures("with_headings")
def test_a_sheet_is_found_again_by_its_accounts() -> None:
    assert placed(renamed) == ([("Anna", "Anna", "acme"), ("Bob", "Robert", "beta")], [], [])


@pytest.mark.usefixtures("with_headings")
def test_a_sheet_with_an_account_of_another_manager_is_not_guessed() -> None:
    others = MANAGERS | {"gamma": "Cleo"}
    assert placed(renamed, others) == ([("Anna", "Anna", "acme")], ["Bob"], ["Robert"])


@pytest.mark.usefixtures("with_headings")
def test_a_copy_is_nobodys_sheet() -> None:
    def copied(book: Workbook) -> None:
        book.copy_worksheet(book["Bob"])

    def copied_and_renamed(book: Workbook) -> None:
        copied(book)
        renamed(book)

    said, missing, left = placed(copied)
    assert (len(said), missing, left) == (2, [], ["Bob Copy"])
    assert placed(copied_and_renamed) == ([("Anna", "Anna", "acme")], ["Bob"], ["Robert", "Bob Copy"])


def test_a_word_that_names_two_plays_names_none() -> None:
    def twice(book: Workbook) -> None:
        book[HIDDEN_SHEET]["M8"], book[HIDDEN_SHEET]["N8"] = "visit the BOSS", "other"

    kept, said = taken(returned({"Anna": [("acme", None, "Visit the boss", DAY)]}, change=twice))
    assert not kept
    assert "is not a valid action" in said[0]
