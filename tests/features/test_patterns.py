"""Text in any script against configured patterns: what is one word in all its spellings, and what is not."""

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


def finds(pattern: str, text: str) -> bool:
    return word_pattern(pattern).occurs_in(split_words(text))


def means(patterns: tuple[str, ...], name: str) -> bool:
    return name_patterns(patterns).match(normalize_text(name))


TITLES = {
    "German": ("Geschäftsführer", "Geschäftsführer, Vertrieb", "Geschäftsführung"),
    "French": ("directeur général", "M. le Directeur Général adjoint", "Directrice générale"),
    "French, one word": ("président", "Vice-Président", "Présidence"),
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


@pytest.mark.parametrize(("word", "title", "another"), TITLES.values(), ids=TITLES)
def test_a_word_of_any_script_is_found_in_a_title_and_not_in_another(word, title, another):
    assert finds(word, word)
    assert finds(word, title)
    assert not finds(word, another)


@pytest.mark.parametrize(("word", "title", "_another"), TITLES.values(), ids=TITLES)
@pytest.mark.parametrize("form", ["NFC", "NFD", "NFKC", "NFKD"])
def test_case_and_the_spelling_of_accents_make_no_difference(word, title, _another, form):
    for spell in (str, str.upper, str.lower, str.title):
        assert finds(word, unicodedata.normalize(form, spell(title)))
        assert finds(unicodedata.normalize(form, spell(word)), title)


@pytest.mark.parametrize(
    ("word", "title"),
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
def test_other_spellings_of_one_word(word, title):
    assert finds(word, title)


@pytest.mark.parametrize(
    ("word", "title"),
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
def test_a_part_of_a_word_is_another_word(word, title):
    """Also in Korean a blank stands between words: HQ's equipment is not a head of department."""
    assert not finds(word, title)


@pytest.mark.parametrize(
    ("pattern", "found", "not_found"),
    [
        ("*leiter", "Abteilungsleiter Nord", "Leiterin"),
        ("*leiter", "Leiter", "Gleiterbahn"),
        ("vice pres*", "Vice Président", "device pres"),
        ("*direk*", "Vizedirektorin", "Regie"),
        ("*", "anything", None),
        (" !  head of sales ", "Head of Sales", "Head"),
    ],
)
def test_a_star_opens_an_end(pattern, found, not_found):
    assert finds(pattern, found)
    assert not_found is None or not finds(pattern, not_found)


@pytest.mark.parametrize("patterns", [("ceo", "!assistant"), ("!assistant", "ceo"), ("!ASSISTANT", "*", "ceo")])
def test_an_exclusion_holds_wherever_it_stands(patterns):
    assert word_patterns(patterns).match(split_words("CEO"))
    assert not word_patterns(patterns).match(split_words("Assistant to the CEO"))


def test_a_name_is_matched_as_a_whole():
    assert means(("workflow.*",), "workflow.create")
    assert not means(("workflow.*",), "my.workflow.create")
    assert means(("*.view",), "report.view")
    assert means(("report.view",), "Report.View ")
    assert not means(("report.view",), "report view")
    assert not means(("report.view",), "reportXview")
    assert not means(("report",), "report.view")
    assert means(("*", "!login"), "login.sso")
    assert not means(("*", "!login"), "LOGIN")
    assert not means((), "login")
    assert means(("*",), "")
    assert means(("导出*",), "导出报表")
    assert not means(("报表",), "导出报表")


@pytest.mark.parametrize("compile_pattern", [word_pattern, name_pattern])
@pytest.mark.parametrize(("pattern", "said"), [("", "empty"), (" ", "empty"), ("!", "empty"), ("a*b", "in the middle")])
def test_a_pattern_that_cannot_be_meant_is_refused(compile_pattern, pattern, said):
    with pytest.raises(ValueError, match=said):
        compile_pattern(pattern)


def test_a_word_without_a_letter_is_refused():
    with pytest.raises(ValueError, match="no letter"):
        word_pattern("--")


@pytest.mark.parametrize("compile_list", [word_patterns, name_patterns])
def test_a_list_that_only_excludes_is_refused(compile_list):
    with pytest.raises(ValueError, match='start it with "\\*"'):
        compile_list(("!login", "!logout"))


# --- any text ----------------------------------------------------------------------------------------


@given(st.text(max_size=30))
def test_text_that_was_normalized_stays_so(text):
    assert normalize_text(normalize_text(text)) == normalize_text(text)
    assert split_words(normalize_text(text)) == split_words(text)


@given(st.text(max_size=30), st.sampled_from(["NFC", "NFD", "NFKC", "NFKD"]))
def test_equal_texts_are_compared_as_equal(text, form):
    assert normalize_text(unicodedata.normalize(form, text)) == normalize_text(text)


@given(st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=8), st.text(max_size=10))
def test_every_word_is_found_in_a_text_that_has_it(word, rest):
    if split_words(word):
        assert finds(word, f"{rest} / {word}, {rest}")
