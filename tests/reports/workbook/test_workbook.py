import datetime
import io
import zipfile
from dataclasses import replace

import pandas as pd
import pytest

from renewals.reports.sanitize import make_printable
from renewals.reports.sentences import playbooks
from renewals.reports.settings import ListOptions
from renewals.reports.words import Messages
from renewals.reports.workbook.workbook import build_workbook
from tests.reports.books import WORKBOOK_DATA, column, open_workbook, plays, read
from tests.reports.small_list import HOSTILE, MODELS, make_list, not_due, observations

LIST, NOT_SCORED = {"en": "List", "zh": "名单"}, {"en": "Not scored", "zh": "未评分"}


def test_sheets_and_first_columns_of_the_list(listed: pd.DataFrame) -> None:
    book = open_workbook(listed)
    assert book.sheetnames == ["Summary", "ann", "li", "renewals", "List", "Not scored", "About this list"]
    assert [sheet.title for sheet in book if sheet.sheet_state != "visible"] == ["renewals"]
    sheet = book["List"]
    assert [cell.value for cell in sheet[1]][:4] == ["Rank", "Account", "Account id", "Manager"]
    assert sheet.freeze_panes == "C2"
    assert sheet.auto_filter.ref.startswith("A1:")
    assert [cell.value for cell in column(sheet, "Account")] == listed["account_name"].iloc[:-1].tolist()
    assert [cell.value for cell in column(book["Not scored"], "Account")] == ["fresh"]
    assert column(book["Not scored"], "Status")[0].value == "Too little history to score"


def test_cells_have_their_type_and_format(listed: pd.DataFrame) -> None:
    sheet = open_workbook(listed)["List"]
    chance, date, arr = (column(sheet, name)[0] for name in ("Chance of renewal", "Renewal date", "ARR"))
    assert (chance.data_type, chance.number_format) == ("n", "0%")
    change = column(open_workbook(listed.assign(probability_change=-0.1))["List"], "Change since last list")[0]
    assert (change.value, change.number_format) == (-0.1, "+0%;-0%;0%")
    small_change = column(open_workbook(listed.assign(probability_change=-0.004))["List"], "Change since last list")[0]
    assert str(small_change.value) == "0", "a small decrease is not shown as -0%"
    assert date.value == datetime.datetime(2026, 9, 1)
    assert date.number_format == "[$-409]d mmm yyyy"
    assert (arr.data_type, arr.number_format) == ("n", "#,##0")
    assert column(sheet, "Risk")[0].value in ("High", "Medium", "Low")
    assert column(sheet, "Within capacity")[0].value == "Yes"


@pytest.mark.parametrize(
    ("language", "heading", "theme", "background"),
    [
        ("en", "Reason 1", "Use by the staff", "Use by the staff (background)"),
        ("zh", "原因 1", "员工使用", "员工使用（背景）"),
    ],
)
def test_reason_cell_has_its_theme_and_marks_background_reasons(
    listed: pd.DataFrame, language: str, heading: str, theme: str, background: str
) -> None:
    listed["reason_1_theme"], listed["reason_1_actionable"] = "adoption", pd.array([True, False] * 3, dtype="boolean")
    sheets = open_workbook(listed, ListOptions.model_validate({"language": language}))
    cells = column(sheets[LIST[language]], heading)
    reasons = listed.loc[listed["status"] == "scored", "reason_1"]
    expected = [None if text is None else f"{(theme, background)[row % 2]}\n{text}" for row, text in reasons.items()]
    assert [cell.value for cell in cells] == expected
    assert sum(text is not None for text in expected) >= 4
    assert listed["reason_1"].dropna().str.contains("\n").sum() == 0, "the list itself contains only the sentence"


@pytest.mark.parametrize(
    ("language", "heading", "expected"),
    [
        ("en", "Status", ["Ended, not renewed yet", "Gave notice", "Renewal signed", "Nothing due"]),
        ("zh", "状态", ["已到期，尚未续约", "已通知不续约", "续约已签", "暂无到期"]),
    ],
)
def test_customers_with_nothing_to_score_are_listed_with_their_status(
    language: str, heading: str, expected: list[str]
) -> None:
    rows = observations()
    rows["status"] = ["not_due", "signed", "leaving", "overdue", "scored", "scored"]
    rows = pd.concat([not_due(rows.iloc[:1]), rows.iloc[1:]], ignore_index=True)
    book = open_workbook(make_list(rows), ListOptions.model_validate({"language": language}))
    assert [cell.value for cell in column(book[NOT_SCORED[language]], heading)] == expected


@pytest.mark.parametrize(
    ("language", "heading", "expected"),
    [("en", "Alerts", "Use has dropped\nA sponsor has left"), ("zh", "预警", "使用骤降\n关键支持者离开")],
)
def test_alerts_are_shown_as_text_with_and_without_a_score(language: str, heading: str, expected: str) -> None:
    rows = observations()
    rows["status"] = ["scored"] * 5 + ["too_little_history"]
    rows["alerts"] = ["usage_drop;sponsor_lost", None, None, None, None, "usage_drop;sponsor_lost"]
    book = open_workbook(make_list(rows), ListOptions.model_validate({"language": language}))
    texts = [[cell.value for cell in column(book[title], heading)] for title in (LIST[language], NOT_SCORED[language])]
    assert sorted(filter(None, texts[0])) == [expected]
    assert texts[1] == [expected]


def test_hostile_names_are_verbatim_text_cells() -> None:
    book = open_workbook(make_list(observations(HOSTILE)))
    cells = {c.value: c for c in column(book["List"], "Account")}
    for name in HOSTILE:
        shown = name if len(name) < 32_768 else next(value for value in cells if value.startswith("xxx"))
        assert cells[shown].data_type == "s"
        assert cells[shown].hyperlink is None
    long = next(value for value in cells if value.startswith("xxx"))
    assert len(long) == 32_767
    assert long.endswith("(cut: 40000 characters)")


def test_no_cell_is_a_formula_or_a_link() -> None:
    rows = observations(HOSTILE, [name[:50] for name in HOSTILE])
    rows["csm"] = list(HOSTILE)
    book = open_workbook(make_list(rows))
    cells = [cell for sheet in book for row in sheet.iter_rows() for cell in row if cell.value is not None]
    assert {cell.data_type for cell in cells} == {"s", "n", "d"}
    assert not [cell for cell in cells if cell.hyperlink]
    assert all(cell.data_type == "s" for cell in cells if isinstance(cell.value, str))


def test_control_characters_are_replaced_by_visible_symbols() -> None:
    book = open_workbook(make_list(observations(("a\x00b\x1bc\x7f\r", "d\x85e\uffff"))))
    assert {cell.value for cell in column(book["List"], "Account")} == {"a\u2400b\u241bc\u2421\u240d", "d\ufffde\ufffd"}


def test_broken_character_is_replaced_by_a_mark() -> None:
    assert make_printable("d\ud800e") == "d\ufffde"


def test_same_list_gives_the_same_bytes_without_a_creation_time(listed: pd.DataFrame) -> None:
    one, second = (build_workbook(listed, WORKBOOK_DATA, ListOptions()) for _ in range(2))
    assert one == second
    core = zipfile.ZipFile(io.BytesIO(one)).read("docProps/core.xml").decode()
    assert core.count("2026-06-01T00:00:00Z") == 2


def test_every_column_is_explained_in_the_language_of_the_list(listed: pd.DataFrame) -> None:
    for language, title in (("en", "About this list"), ("zh", "名单说明")):
        sheet = open_workbook(listed, ListOptions.model_validate({"language": language}))[title]
        lines = [tuple(cell.value for cell in row) for row in sheet.iter_rows(max_col=3)]
        explained = " ".join(str(line[2]) for line in lines)
        for name in (
            "renewal_probability",
            "reason_1",
            "strength_1",
            "playbook_1",
            "alerts",
            "expansion_model",
            "rank",
        ):
            assert name in explained
        assert sum("manifest" in str(line[0]) for line in lines) == 2
        assert any(MODELS["renewal"] in str(line[0]) for line in lines)


def test_workbook_names_missing_tables(listed: pd.DataFrame) -> None:
    for language, title, notice in (
        ("en", "About this list", "No table was given for: Support, Satisfaction. The list does without."),
        ("zh", "名单说明", "未提供以下类别的数据，名单未予考虑：服务工单、满意度"),
    ):
        options = ListOptions.model_validate({"language": language})
        content = build_workbook(listed, replace(WORKBOOK_DATA, missing_families=["tickets", "sentiment"]), options)
        sheet = read(content)[title]
        assert notice in [row[0].value for row in sheet.iter_rows(max_row=8)]


def test_chinese_workbook_has_only_chinese_headings(listed: pd.DataFrame) -> None:
    book = open_workbook(listed, ListOptions.model_validate({"language": "zh"}))
    assert book.sheetnames == ["总览", "ann", "li", "renewals", "名单", "未评分", "名单说明"]
    assert {cell.value for cell in column(book["名单"], "风险")} <= {"高", "中", "低"}
    headings = [cell.value for title in ("ann", "名单", "未评分") for cell in book[title][1]]
    assert not [heading for heading in headings if heading.isascii()]


def test_workbook_refers_to_the_files_with_all_accounts(listed: pd.DataFrame) -> None:
    book = open_workbook(listed, ListOptions(workbook_rows=2))
    assert len(column(book["List"], "Account")) == 2
    about = [row[0].value for row in book["About this list"].iter_rows(max_row=8)]
    assert "This workbook shows 2 of 5 accounts, in rank order; the Parquet and CSV files hold all." in about


@pytest.mark.parametrize(
    "ids", [[1, 2, 3, 4, 5, 6], [2**53 + 1, 2, 3, 4, 5, 6], [2**63 - 1, 10**15, 10**15 - 1, 2**53 - 1, 5, 6]]
)
def test_integer_ids_lose_no_digit(ids: list[int]) -> None:
    cells = column(open_workbook(make_list(observations(ids=ids)))["List"], "Account id")
    assert sorted(int(cell.value) for cell in cells) == sorted(ids)
    assert {int(cell.value) for cell in cells if isinstance(cell.value, str)} == {id_ for id_ in ids if id_ >= 10**15}


def test_workbook_of_an_empty_list(listed: pd.DataFrame) -> None:
    book = open_workbook(listed.iloc[:0])
    assert book.sheetnames == ["Summary", "About this list"]
    assert book["Summary"]["A2"].value == "No renewal is in sight."


@pytest.mark.parametrize(("language", "sheet"), [("en", "Playbooks"), ("zh", "行动方案")])
def test_playbooks_sheet_lists_names_hours_and_steps(listed: pd.DataFrame, language: str, sheet: str) -> None:
    options = ListOptions.model_validate({"language": language})
    content = build_workbook(listed, replace(WORKBOOK_DATA, library=plays()), options)
    rows = [[cell.value for cell in row] for row in read(content)[sheet].iter_rows()]
    assert [row[0] for row in rows[1:]] == [play["name"][language] for play in plays().values()]
    assert [row[5] for row in rows[1:]] == [play["hours"] for play in plays().values()]
    for row, play in zip(rows[1:], plays().values(), strict=True):
        assert row[7].splitlines() == [f"{n}. {step}" for n, step in enumerate(play["steps"][language], start=1)]
    assert not any(code in str(row[1:4]) for row in rows[1:] for code in ("first_value", "pre_renewal", "upsell"))


def test_effect_text_marks_measured_and_assumed_effects() -> None:
    one = next(iter(plays(treated=120).values())) | {"log_odds_effect": 0.0}
    assert playbooks.effect_text(one, Messages("en")).startswith("a chance of 70 % becomes 70% (measured on 120")
    assert playbooks.effect_text(next(iter(plays().values())), Messages("en")).endswith("becomes 78% (assumed)")


def test_interventions_sheet_lists_actions_and_claims_no_effect(listed: pd.DataFrame) -> None:
    names = {"account_id": ["a0", 7], "account_name": ["=1+1", None], "csm": ["li", None], "playbook": ["Push", "old"]}
    actions = pd.DataFrame(
        names
        | {
            "started_on": [datetime.date(2026, 5, 12)] * 2,
            "previous_probability": [0.4, None],
            "probability": [0.5, 0.6],
        }
    )
    content = build_workbook(
        listed, replace(WORKBOOK_DATA, interventions=(datetime.date(2026, 5, 1), actions)), ListOptions()
    )
    sheet = read(content)["Since the last list"]
    assert [cell.value for cell in sheet[2]] == ["=1+1", "a0", "li", "Push", datetime.datetime(2026, 5, 12), 0.4, 0.5]
    assert sheet["A2"].data_type == "s"
    assert [cell.value for cell in sheet[3]] == [None, "7", None, "old", datetime.datetime(2026, 5, 12), None, 0.6]
    assert "is not what a playbook did" in sheet["A5"].value
    without_actions = build_workbook(
        listed, replace(WORKBOOK_DATA, interventions=(datetime.date(2026, 5, 1), actions.iloc[:0])), ListOptions()
    )
    assert "Since the last list" not in read(without_actions).sheetnames
