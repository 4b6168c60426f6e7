"""Matching of configured patterns with text in any script: spellings that match, and texts that do not."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from renewals.features.patterns import (
    name_pattern,
    name_patterns,
    normalize_text,
    split_words,
    word_pattern,
    word_patterns,
)


def occurs(pattern: str, text: str) -> bool:
    return word_pattern(pattern).occurs_in(split_words(text))


def matches(patterns: tuple[str, ...], name: str) -> bool:
    return name_patterns(patterns).match(normalize_text(name))


TITLES = {
    "German": ("Geschäftsführer", "Geschäftsführer, Vertrieb", "Geschäftsführung"),
    "French": ("directeur général", "M. le Directeur Général adjoint", "Directrice générale"),
    "French, hyphen": ("président", "Vice-Président", "Présidence"),
    "Spanish": ("dirección", "Dirección Comercial", "Direccional"),
    "Russian": ("директор", "Коммерческий директор", "Директорат"),
    "Greek": ("διευθυντής", "Γενικός Διευθυντής", "Διευθυντικός"),
    "Korean": ("대표", "대표이사", "대리"),
    "Japanese": ("代表取締役", "株式会社代表取締役社長", "代表"),
    "Chinese": ("总经理", "副总经理", "经理"),
    "Thai": ("ผู้อำนวยการ", "รองผู้อำนวยการฝ่ายขาย", "ผู้จัดการ"),
    "Arabic": ("مدير عام", "مدير عام المبيعات", "مديرية عامة"),
    "Hebrew": ('מנכ"ל', "מנכ״ל החברה", "מנהל"),
    "Hindi": ("निदेशक", "प्रबंध निदेशक", "निदेश"),
    "Turkish": ("müdür", "GENEL MÜDÜR", "MÜDÜRLÜK"),
}


@pytest.mark.parametrize(("pattern", "title", "another"), TITLES.values(), ids=TITLES)
def test_a_pattern_of_any_script_occurs_in_its_title_only(pattern, title, another):
    assert occurs(pattern, pattern)
    assert occurs(pattern, title)
    assert not occurs(pattern, another)


@pytest.mark.parametrize(("pattern", "title", "_another"), TITLES.values(), ids=TITLES)
@pytest.mark.parametrize("form", ["NFC", "NFD", "NFKC", "NFKD"])
def test_case_and_unicode_form_make_no_difference(pattern, title, _another, form):
    for spell in (str, str.upper, str.lower, str.title):
        assert occurs(pattern, unicodedata.normalize(form, spell(title)))
        assert occurs(unicodedata.normalize(form, spell(pattern)), title)


@pytest.mark.parametrize(
    ("pattern", "title"),
    [
        ("ceo", "ＣＥＯ"),
        ("ceo", "𝐂𝐄𝐎"),
        ("ceo", "C.E.O."),
        ("c.e.o.", "CEO"),
        ("vp", "VP, Sales"),
        ("vp", "V.P. Sales"),
        ("ceo", "联合创始人CEO"),
        ("ceo", "CEO겸창업자"),
        ("总经理", "总 经　理"),
        ("ガイド", "ｶﾞｲﾄﾞ"),
        ("vice president", "Vice-President"),
        ("vice president", "VICE   PRESIDENT"),
        ("vice-president", "vice president"),
        ("président", "PRESIDENT"),
        ("διευθυντής", "ΔΙΕΥΘΥΝΤΗΣ"),
        ("großkunden", "LEITER GROSSKUNDEN"),
        ("direktör", "DİREKTÖR"),
        ("satış", "SATIŞ MÜDÜRÜ"),
        ("équipe", "Chef d’équipe"),
        ("équipe", "chef d'équipe"),
        ("manager", "Man\u00adager"),
        ("manager", "\ufeffMana\u200bger"),
        ("مدیرعامل", "مدیر\u200cعامل"),
        ("مدير", "مــديــر"),
        ("finance", "ﬁnance"),
        ("geschäftsführer", "Geschäftsführer*in"),
        ("geschäftsführer", "Geschäftsführer:in"),
        ("第1営業部", "東京第１営業部長"),
        ("vp销售", "VP 销售"),
    ],
)
def test_spellings_that_match(pattern, title):
    assert occurs(pattern, title)


@pytest.mark.parametrize(
    ("pattern", "title"),
    [
        ("coo", "cooperator"),
        ("lead", "misleading"),
        ("leiter", "Abteilungsleiter"),
        ("head of sales", "Head of Support, Sales"),
        ("head of sales", "Ahead of sales"),
        ("r", "Référent"),
        ("director", "Codirector"),
        ("本部長", "本部 総務 課長"),
        ("부장", "본부 장비 담당"),
        ("か", "が"),
        ("का", "की"),
        ("มา", "ม้า"),
    ],
)
def test_texts_that_do_not_match(pattern, title):
    """Korean also separates by spaces: "equipment of headquarters" is not a head of department."""
    assert not occurs(pattern, title)


@pytest.mark.parametrize(
    ("pattern", "match", "no_match"),
    [
        ("*leiter", "Abteilungsleiter Nord", "Leiterin"),
        ("*leiter", "Leiter", "Gleiterbahn"),
        ("vice pres*", "Vice Président", "device pres"),
        ("*direk*", "Vizedirektorin", "Regie"),
        ("*", "anything", None),
        (" !  head of sales ", "Head of Sales", "Head"),
    ],
)
def test_a_star_matches_any_beginning_or_end(pattern, match, no_match):
    assert occurs(pattern, match)
    assert no_match is None or not occurs(pattern, no_match)


@pytest.mark.parametrize("patterns", [("ceo", "!assistant"), ("!assistant", "ceo"), ("!ASSISTANT", "*", "ceo")])
def test_an_exclusion_applies_at_any_position(patterns):
    assert word_patterns(patterns).match(split_words("CEO"))
    assert not word_patterns(patterns).match(split_words("Assistant to the CEO"))


def test_a_name_is_matched_completely():
    assert matches(("workflow.*",), "workflow.create")
    assert not matches(("workflow.*",), "my.workflow.create")
    assert matches(("*.view",), "report.view")
    assert matches(("report.view",), "Report.View ")
    assert not matches(("report.view",), "report view")
    assert not matches(("report.view",), "reportXview")
    assert not matches(("report",), "report.view")
    assert matches(("*", "!login"), "login.sso")
    assert not matches(("*", "!login"), "LOGIN")
    assert not matches((), "login")
    assert matches(("*",), "")
    assert matches(("导出*",), "导出报表")
    assert not matches(("报表",), "导出报表")


@pytest.mark.parametrize("compile_pattern", [word_pattern, name_pattern])
@pytest.mark.parametrize(
    ("pattern", "message"), [("", "empty"), (" ", "empty"), ("!", "empty"), ("a*b", "in the middle")]
)
def test_an_invalid_pattern_is_refused(compile_pattern, pattern, message):
    with pytest.raises(ValueError, match=message):
        compile_pattern(pattern)


def test_a_pattern_without_a_letter_is_refused():
    with pytest.raises(ValueError, match="no letter"):
        word_pattern("--")


@pytest.mark.parametrize("compile_list", [word_patterns, name_patterns])
def test_a_list_that_only_excludes_is_refused(compile_list):
    with pytest.raises(ValueError, match='start it with "\\*"'):
        compile_list(("!login", "!logout"))


# --- any text ----------------------------------------------------------------------------------------


@given(st.text(max_size=30))
def test_normalizing_twice_changes_nothing(text):
    assert normalize_text(normalize_text(text)) == normalize_text(text)
    assert split_words(normalize_text(text)) == split_words(text)


@given(st.text(max_size=30), st.sampled_from(["NFC", "NFD", "NFKC", "NFKD"]))
def test_equal_texts_normalize_to_the_same_text(text, form):
    assert normalize_text(unicodedata.normalize(form, text)) == normalize_text(text)


@given(st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=8), st.text(max_size=10))
def test_a_pattern_occurs_in_a_text_that_contains_it(pattern, rest):
    if split_words(pattern):
        assert occurs(pattern, f"{rest} / {pattern}, {rest}")
