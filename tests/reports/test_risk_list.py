import io
import re

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from renewals.reports.columns import COLUMN_NAMES, COLUMNS, cast_columns
from renewals.reports.risk_list import RiskList, alert_codes, build_risk_list, to_parquet, validate_list
from renewals.reports.row_checks import BrokenListError
from renewals.reports.settings import ListOptions
from tests.reports.small_list import MODELS, make_list, observations, parts_of, plays_for, reasons_for

IN_THE_CONTRACT = """
as_of account_id account_name csm stage size_band renewal_date days_to_renewal arr currency status status_reason
renewal_probability renewal_low renewal_high risk_band arr_at_risk
upsell_probability cross_sell_probability expansion_probability quadrant rank within_capacity
reason_1 reason_2 reason_3 reason_4 reason_5
reason_1_feature reason_1_contribution reason_1_family reason_1_theme reason_1_actionable
reason_2_feature reason_2_contribution reason_2_family reason_2_theme reason_2_actionable
reason_3_feature reason_3_contribution reason_3_family reason_3_theme reason_3_actionable
reason_4_feature reason_4_contribution reason_4_family reason_4_theme reason_4_actionable
reason_5_feature reason_5_contribution reason_5_family reason_5_theme reason_5_actionable
strength_1 strength_2 strength_3 playbook_1 playbook_2 playbook_3 alerts probability_change reason_change
renewal_model expansion_model
"""
CONTRACT = IN_THE_CONTRACT.split()


def row(listed: pd.DataFrame, name: str) -> pd.Series:
    return listed.set_index("account_name").loc[name]


def test_the_columns_are_the_contract_s_in_its_order(listed: pd.DataFrame) -> None:
    assert list(listed.columns) == CONTRACT == list(COLUMN_NAMES)


def test_a_scored_account_has_all_that_follows_from_its_probability(listed: pd.DataFrame) -> None:
    acme = row(listed, "acme")
    assert acme["renewal_probability"] == pytest.approx(0.1)
    assert acme["arr_at_risk"] == pytest.approx(900.0)
    assert (acme["risk_band"], acme["quadrant"], acme["rank"], acme["within_capacity"]) == (
        "high",
        "save_and_grow",
        2,
        True,
    )
    assert acme["reason_1"] == "0 people used the product in the last 28 days (peers: 2)"
    assert acme["reason_1_actionable"]
    assert (acme["reason_1_feature"], acme["reason_1_family"], acme["reason_1_theme"]) == (
        "people_28d",
        "usage",
        "adoption",
    )
    assert acme["strength_1"] == "0 bugs reported in the last 28 days (peers: 1)"
    assert (acme["renewal_model"], acme["expansion_model"]) == (MODELS["renewal"], MODELS["expansion"])
    assert row(listed, "giant")["quadrant"] == "keep"


def test_an_account_that_is_not_scored_is_listed_last_with_the_reason_and_empty_scores(listed: pd.DataFrame) -> None:
    fresh = row(listed, "fresh")
    assert listed["account_name"].iloc[-1] == "fresh"
    assert fresh["status"] == "too_little_history"
    filled = {name for name in COLUMN_NAMES if pd.notna(fresh.get(name))}
    assert not filled & {column.name for column in COLUMNS if column.scored_only}
    assert {"arr", "renewal_date", "renewal_model"} <= filled


def test_the_list_is_in_rank_order(listed: pd.DataFrame) -> None:
    ranks = listed["rank"].dropna().tolist()
    assert ranks == sorted(ranks) == [1, 1, 2, 2, 3]
    for _, own in listed.dropna(subset="rank").groupby("csm"):
        assert own["rank"].tolist() == list(range(1, len(own) + 1))


def test_a_renewal_that_is_signed_already_takes_no_place_before_others() -> None:
    rows = observations().iloc[[0, 2]]
    rows["csm"], rows["account_id"] = "li", ["b", "a"]
    assert row(make_list(rows), "gamma")["rank"] == 1
    rows["renewal_signed"] = rows["account_name"] == "gamma"
    gamma = row(make_list(rows), "gamma")
    assert (gamma["rank"], gamma["playbook_1"]) == (2, None)
    assert gamma["arr_at_risk"] > 0


def test_alerts_are_codes_in_the_order_of_the_contract_whether_scored_or_not() -> None:
    said = [("a1", "sla_breach"), ("a1", "usage_drop"), ("a4", "low_score_not_followed_up"), ("a9", "sponsor_lost")]
    alerts = pd.DataFrame(said, columns=["account_id", "code"])
    codes = alert_codes(pd.Series([f"a{i}" for i in range(6)]), alerts)
    assert codes.tolist() == [None, "usage_drop;sla_breach", None, None, "low_score_not_followed_up", None]
    rows = observations().assign(alerts=codes)
    rows.loc[4, "status"] = "too_little_history"
    listed = make_list(rows)
    assert row(listed, "beta")["alerts"] == "usage_drop;sla_breach"
    assert row(listed, "fresh")["alerts"] == "low_score_not_followed_up"
    assert listed["alerts"].notna().sum() == 2


@pytest.mark.parametrize("said", ["sla_breach;usage_drop", "usage_dropped", ""])
def test_alerts_hold_nothing_but_known_codes_in_their_order(said: str) -> None:
    acme = row(make_list(observations().assign(alerts=[said, *[None] * 5])), "acme")
    assert (acme["status"], acme["alerts"]) == ("not_scored", None)
    assert acme["status_reason"] == f"“Alerts” holds “{said}”, which is none of its values."


def test_every_column_has_a_type_whatever_it_holds(listed: pd.DataFrame) -> None:
    schema = pq.read_schema(pa.BufferReader(to_parquet(listed)))
    assert not [name for name in COLUMN_NAMES if pa.types.is_null(schema.field(name).type)]
    assert schema.field("alerts").type == pa.string()
    assert schema.field("renewal_low").type == pa.float64()
    assert schema.field("as_of").type == pa.date32()
    assert schema.field("rank").type == pa.int32()


def test_targets_without_a_model_leave_their_columns_empty() -> None:
    listed = make_list(observations())
    empty = ["upsell_probability", "cross_sell_probability", "expansion_probability", "quadrant"]
    assert listed[empty].isna().all(axis=None)


@pytest.mark.parametrize("ids", [["a", "b", "c", "d", "e", "f"], [10, 2, 33, 4, 5, 2**53 + 1]])
def test_ids_are_kept_as_given(ids: list[object]) -> None:
    rows = observations()
    rows["account_id"] = ids
    back = pq.read_table(io.BytesIO(to_parquet(make_list(rows))))["account_id"].to_pylist()
    assert sorted(back, key=str) == sorted(ids, key=str)


def test_the_same_list_gives_the_same_bytes_whatever_the_order_of_rows() -> None:
    rows = observations().assign(arr=1000.0, csm=None)
    one, other = (make_list(rows.iloc[order], renewal=[0.5] * 6) for order in ([0, 1, 2, 3, 4, 5], [5, 3, 1, 0, 2, 4]))
    assert to_parquet(one) == to_parquet(other)


def test_what_is_read_back_from_parquet_is_the_list(listed: pd.DataFrame) -> None:
    back = cast_columns(pd.read_parquet(io.BytesIO(to_parquet(listed))))
    pd.testing.assert_frame_equal(back, listed, check_dtype=False)
    validate_list(back)
    assert to_parquet(back) == to_parquet(listed)


def test_a_list_of_nobody_has_the_columns() -> None:
    rows, chance = observations().iloc[:0], pd.DataFrame({"renewal": []}, dtype=float)
    told = reasons_for(observations()).iloc[:0]
    listed = build_risk_list(
        rows, chance, told, plays_for(rows, chance, told, ListOptions()), MODELS, ListOptions()
    ).rows
    assert list(listed.columns) == CONTRACT
    assert listed.empty
    assert to_parquet(listed)


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        ("renewal_probability", 1.5, "renewal_probability: not_a_probability (1 rows)"),
        ("renewal_probability", None, "renewal_probability: no_probability (1 rows)"),
        ("renewal_low", None, "renewal_low: no_probability (1 rows)"),
        ("renewal_low", 0.99, "renewal_high: outside_interval (1 rows)"),
        ("renewal_high", 0.01, "renewal_high: outside_interval (1 rows)"),
        ("arr", float("inf"), "arr: not_finite (1 rows)"),
        ("stage", "limbo", "stage: unknown_value (1 rows)"),
        ("reason_1_theme", "weather", "reason_1_theme: unknown_value (1 rows)"),
        ("stage", None, "stage: empty (1 rows)"),
        ("account_id", "a1", "1 accounts are listed twice"),
        ("account_id", None, "account_id is empty in 1 rows"),
        ("as_of", pd.Timestamp("2026-05-01"), "as_of is missing or differs"),
        ("rank", 7, "rank is not 1, 2, 3"),
        ("status", "too_little_history", "renewal_probability: not_scored_filled (1 rows)"),
    ],
)
def test_a_finished_list_that_breaks_the_contract_is_refused_with_words(
    listed: pd.DataFrame, column: str, value: object, words: str
) -> None:
    place = int(listed["account_id"].eq("a0").to_numpy().nonzero()[0][0])
    listed.loc[place, column] = value
    with pytest.raises(BrokenListError, match=re.escape(words)):
        validate_list(listed)


# --- rows at fault --------------------------------------------------------------------------------------

FAULTS = [
    ("observations", "stage", None, "stage", "empty", "“Stage” is empty."),
    ("observations", "stage", "limbo", "stage", "unknown_value", "“Stage” holds “limbo”, which is none of its values."),
    ("observations", "size_band", "giant", "size_band", "unknown_value", "“Size” holds “giant”"),
    ("observations", "renewal_date", None, "renewal_date", "empty", "“Renewal date” is empty."),
    ("observations", "renewal_date", "soon", "renewal_date", "unreadable", "“Renewal date” holds “soon”"),
    ("observations", "days_to_renewal", 91.5, "days_to_renewal", "unreadable", "holds “91.5”, which cannot be read."),
    ("observations", "arr", float("inf"), "arr", "not_finite", "“ARR” is infinite"),
    ("observations", "arr", "a lot", "arr", "unreadable", "“ARR” holds “a lot”"),
    ("observations", "account_name", "lone \ud800", "account_name", "unreadable", "“Account” holds “lone ?”"),
    ("observations", "csm", 7, "csm", "unreadable", "“Manager” holds “7”"),
    ("observations", "status", "perhaps", "status", "unknown_value", "“Scored?” holds “perhaps”"),
    ("chances", "renewal", 1.5, "renewal_probability", "not_a_probability", "“Chance of renewal” came out as 1.5"),
    ("chances", "renewal", -0.1, "renewal_probability", "not_a_probability", "“Chance of renewal” came out as -0.1"),
    ("chances", "renewal", None, "renewal_probability", "no_probability", "The model gave no value for “Chance of ren"),
    ("chances", "expansion", 2.0, "expansion_probability", "not_a_probability", "came out as 2.0"),
    ("chances", "renewal_low", 0.99, "renewal_high", "outside_interval", "The chance of renewal lies outside"),
    ("chances", "renewal_low", None, "renewal_low", "no_probability", "The model gave no value for"),
    ("chances", "renewal_high", float("inf"), "renewal_high", "not_a_probability", "came out as inf"),
    ("told", "reason_1_theme", "weather", "reason_1_theme", "unknown_value", "holds “weather”"),
    ("told", "reason_1_contribution", float("-inf"), "reason_1_contribution", "not_finite", "is infinite"),
]


def parts() -> dict[str, pd.DataFrame]:
    """What a list is made of; the table of each, one row per observation."""
    names = ("observations", "chances", "told", "plays")
    rows = observations()
    chances = {"expansion": [0.5, 0.1, 0.3, 0.0, 0.9, 0.2]}
    return dict(zip(names, parts_of(rows, **chances), strict=True))


def listed_of(made_of: dict[str, pd.DataFrame], **options: object) -> RiskList:
    return build_risk_list(*made_of.values(), MODELS, ListOptions.model_validate(options))


@pytest.mark.parametrize(("table", "column", "value", "where", "kind", "words"), FAULTS)
@pytest.mark.parametrize("place", [0, 3])
def test_a_row_at_fault_is_named_and_costs_the_others_nothing(
    table: str, column: str, value: object, where: str, kind: str, words: str, place: int
) -> None:
    made_of = parts()
    without = {name: own.drop(index=place) for name, own in made_of.items()}
    broken = made_of | {table: made_of[table].astype({column: object})}
    broken[table].loc[place, column] = value
    found = listed_of(broken)
    account = f"a{place}"
    faulty = found.rows.set_index("account_id").loc[account]
    assert faulty["status"] == "not_scored"
    assert str(faulty["status_reason"]).startswith(words) or words in str(faulty["status_reason"])
    scored_only = [own.name for own in COLUMNS if own.scored_only]
    assert faulty[scored_only].isna().all()
    if table == "observations" and column != "status":
        assert pd.isna(faulty[column])
    assert found.fault_summary == {
        "rows": 1,
        "faults": [{"column": where, "kind": kind, "rows": 1, "example": account}],
    }
    assert found.not_scored_reasons["account_id"].tolist() == [account]
    assert found.not_scored_reasons["en"].tolist() == [faulty["status_reason"]]
    others = found.rows[found.rows["account_id"] != account].reset_index(drop=True)
    assert to_parquet(others) == to_parquet(listed_of(without).rows)
    assert to_parquet(found.rows)


def test_a_row_with_several_faults_tells_the_first_and_loses_what_is_wrong() -> None:
    made_of = parts()
    made_of["observations"].loc[0, ["stage", "size_band"]] = ["limbo", "giant"]
    found = listed_of(made_of)
    acme = row(found.rows, "acme")
    assert acme[["stage", "size_band"]].isna().all()
    assert "limbo" in acme["status_reason"]
    assert found.fault_summary["rows"] == len(found.fault_summary["faults"]) == 1


def test_a_strange_value_is_shown_in_part_and_made_fit_to_print() -> None:
    made_of = parts()
    made_of["observations"].loc[0, "stage"] = "\x00" + "long" * 100
    told = row(listed_of(made_of).rows, "acme")["status_reason"]
    assert "\x00" not in told
    assert "…" in told
    assert len(told) < 140


def test_one_row_never_stops_a_list_and_two_of_few_do() -> None:
    made_of = parts()
    made_of["observations"].loc[0, "stage"] = None
    assert listed_of(made_of, invalid_row_limit=0.0).fault_summary["rows"] == 1
    made_of["observations"].loc[1, "stage"] = None
    with pytest.raises(
        BrokenListError, match=r"2 of 6 rows .* \(1.0%\) allows: stage: empty \(2 rows, such as account a0"
    ):
        listed_of(made_of)
    assert listed_of(made_of, invalid_row_limit=0.34).rows["status"].eq("not_scored").sum() == 2


def test_why_there_is_no_score_is_said_in_every_language() -> None:
    rows = observations()
    rows["status"] = ["scored", "scored", "scored", "unlike_training", "too_little_history", "scored"]
    told = {}
    for language in ("en", "zh"):
        options = ListOptions(language=language, min_history_days=14)
        made_of = parts_of(rows.copy(), options, out_of_range_share=[0.1, 0.1, 0.1, 0.255, 0.1, 0.1])
        made_of[0].loc[5, "stage"] = "limbo"
        found = build_risk_list(*made_of, MODELS, options)
        told[language] = found.rows.set_index("account_id")["status_reason"]
        assert told[language].dropna().to_dict() == found.not_scored_reasons.set_index("account_id")[language].to_dict()
    assert told["en"].dropna().to_dict() == {
        "a3": "Unlike other customers: 26% of its figures lie beyond what the model has seen, and at most 20% may.",
        "a4": "Too little history: the first contract began fewer than 14 days before this list, or its start is not "
        "known.",
        "a5": "“Stage” holds “limbo”, which is none of its values.",
    }
    assert told["zh"].dropna().to_dict() == {
        "a3": "与其他客户不同：26% 的指标超出模型所见范围，最多允许 20%。",
        "a4": "历史太短：首份合同在本清单之前不足 14 天开始，或开始日期未知。",
        "a5": "“阶段”的值“limbo”不在允许的取值之内。",
    }


def test_other_columns_are_refused(listed: pd.DataFrame) -> None:
    with pytest.raises(BrokenListError, match="columns of the list differ"):
        validate_list(listed.drop(columns="alerts"))


@settings(max_examples=12, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["li", "ann", None]),
            st.one_of(st.just(0.0), st.floats(0, 1e9)),
            st.floats(0, 1),
            st.booleans(),
        ),
        min_size=1,
        max_size=12,
    )
)
def test_any_accounts_make_a_whole_list(accounts: list[tuple[str | None, float, float, bool]]) -> None:
    rows = observations(tuple(f"n{i}" for i in range(len(accounts))))
    rows["csm"] = pd.Series([csm for csm, *_ in accounts], dtype=object)
    rows["arr"] = [arr for _, arr, *_ in accounts]
    rows["status"] = ["scored" if scored else "too_little_history" for *_, scored in accounts]
    listed = make_list(
        rows, ListOptions.model_validate({"capacity": {"accounts": 2}}), renewal=[p for _, _, p, _ in accounts]
    )
    assert sorted(listed["account_id"]) == sorted(rows["account_id"])
    inside = listed[listed["within_capacity"].fillna(False)]
    assert (inside["rank"] <= 2).all()
