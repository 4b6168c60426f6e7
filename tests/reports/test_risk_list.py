import io
import re

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from renewals.models.ranking.worklist import NOT_DUE, NOT_SCORED, SCORED, STATUSES
from renewals.reports.columns import COLUMN_NAMES, COLUMNS, cast_columns
from renewals.reports.risk_list import RiskList, alert_codes, build_risk_list, to_parquet, validate_list
from renewals.reports.row_checks import FAULT_COLUMN, BrokenListError, Fault
from renewals.reports.settings import ListOptions
from tests.reports.small_list import (
    MODELS,
    make_list,
    not_due,
    observations,
    parts_of,
    plays_for,
    reasons_for,
    second_renewal,
)

CONTRACT_COLUMNS = """
as_of account_id account_name csm stage size_band
renewal_id is_main renewal_date days_to_renewal notice_date decision_date days_to_decision products
arr account_arr currency contract_amount contract_currency signed status status_reason
renewal_probability renewal_low renewal_high risk_band arr_at_risk
upsell_probability cross_sell_probability expansion_probability quadrant health rank within_capacity
reason_1 reason_2 reason_3 reason_4 reason_5
reason_1_feature reason_1_contribution reason_1_family reason_1_theme reason_1_actionable
reason_2_feature reason_2_contribution reason_2_family reason_2_theme reason_2_actionable
reason_3_feature reason_3_contribution reason_3_family reason_3_theme reason_3_actionable
reason_4_feature reason_4_contribution reason_4_family reason_4_theme reason_4_actionable
reason_5_feature reason_5_contribution reason_5_family reason_5_theme reason_5_actionable
strength_1 strength_2 strength_3 playbook_1 playbook_2 playbook_3 alerts probability_change reason_change
renewal_model expansion_model
"""
CONTRACT = CONTRACT_COLUMNS.split()


def row(listed: pd.DataFrame, name: str) -> pd.Series:
    return listed.set_index("account_name").loc[name]


def test_columns_equal_the_contract_in_order(listed: pd.DataFrame) -> None:
    assert list(listed.columns) == CONTRACT == list(COLUMN_NAMES)


def test_scored_account_has_all_columns_derived_from_its_probability(listed: pd.DataFrame) -> None:
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


def test_account_without_a_score_is_last_with_a_status_and_empty_scores(listed: pd.DataFrame) -> None:
    fresh = row(listed, "fresh")
    assert listed["account_name"].iloc[-1] == "fresh"
    assert fresh["status"] == "too_little_history"
    filled = {name for name in COLUMN_NAMES if pd.notna(fresh.get(name))}
    assert not filled & {column.name for column in COLUMNS if column.scored_only}
    assert {"arr", "renewal_date", "renewal_model"} <= filled


def test_list_is_sorted_by_rank(listed: pd.DataFrame) -> None:
    ranks = listed["rank"].dropna().tolist()
    assert ranks == sorted(ranks) == [1, 1, 2, 2, 3]
    for _, portfolio in listed.dropna(subset="rank").groupby("csm"):
        assert portfolio["rank"].tolist() == list(range(1, len(portfolio) + 1))


def test_signed_renewal_is_ranked_after_open_renewals() -> None:
    rows = observations().iloc[[0, 2]]
    rows["csm"], rows["account_id"] = "li", ["b", "a"]
    assert row(make_list(rows), "gamma")["rank"] == 1
    rows["renewal_signed"] = rows["account_name"] == "gamma"
    gamma = row(make_list(rows), "gamma")
    assert (gamma["rank"], gamma["playbook_1"]) == (2, None)
    assert gamma["arr_at_risk"] > 0


def test_each_renewal_of_an_account_is_a_row_with_its_own_score_and_revenue() -> None:
    rows = observations(("acme", "beta")).assign(csm="li")
    rows = pd.concat([rows, second_renewal(rows.head(1))], ignore_index=True)
    options = ListOptions.model_validate({"capacity": {"accounts": 1}})
    listed = make_list(rows, options, renewal=[0.4, 0.999, 0.3])
    assert listed["rank"].tolist() == [1, 2, 3]
    assert listed["account_name"].tolist() == ["acme", "acme", "beta"]
    assert listed["within_capacity"].tolist() == [True, True, False], "acme counts once"
    by_renewal = listed.set_index("renewal_id")
    assert by_renewal["is_main"].to_dict() == {"a0:2026-09-01": True, "a0:2026-10-01": False, "a1:2026-09-01": True}
    assert by_renewal["renewal_probability"]["a0:2026-10-01"] == 0.3
    at_risk = {"a0:2026-09-01": 600.0, "a0:2026-10-01": 350.0, "a1:2026-09-01": 2.0}
    assert by_renewal["arr_at_risk"].to_dict() == pytest.approx(at_risk)


def test_alerts_of_an_account_stand_on_each_of_its_rows() -> None:
    alerts = pd.DataFrame([("a1", "sla_breach"), ("a1", "usage_drop")], columns=["account_id", "code"])
    codes = alert_codes(pd.Series(["a1", "a0", "a1"], index=[4, 2, 0]), alerts)
    assert codes.to_dict() == {4: "usage_drop;sla_breach", 2: None, 0: "usage_drop;sla_breach"}


def test_alerts_are_codes_in_contract_order_with_and_without_a_score() -> None:
    pairs = [("a1", "sla_breach"), ("a1", "usage_drop"), ("a4", "low_score_not_followed_up"), ("a9", "sponsor_lost")]
    alerts = pd.DataFrame(pairs, columns=["account_id", "code"])
    codes = alert_codes(pd.Series([f"a{i}" for i in range(6)]), alerts)
    assert codes.tolist() == [None, "usage_drop;sla_breach", None, None, "low_score_not_followed_up", None]
    rows = observations().assign(alerts=codes)
    rows.loc[4, "status"] = "too_little_history"
    listed = make_list(rows)
    assert row(listed, "beta")["alerts"] == "usage_drop;sla_breach"
    assert row(listed, "fresh")["alerts"] == "low_score_not_followed_up"
    assert listed["alerts"].notna().sum() == 2


@pytest.mark.parametrize("alerts", ["sla_breach;usage_drop", "usage_dropped", ""])
def test_invalid_alerts_remove_the_score(alerts: str) -> None:
    acme = row(make_list(observations().assign(alerts=[alerts, *[None] * 5])), "acme")
    assert (acme["status"], acme["alerts"]) == ("not_scored", None)
    assert acme["status_reason"] == f"“Alerts” holds “{alerts}”, which is none of its values."


def test_parquet_columns_have_fixed_types(listed: pd.DataFrame) -> None:
    schema = pq.read_schema(pa.BufferReader(to_parquet(listed)))
    assert not [name for name in COLUMN_NAMES if pa.types.is_null(schema.field(name).type)]
    assert schema.field("alerts").type == pa.string()
    assert schema.field("renewal_low").type == pa.float64()
    assert schema.field("as_of").type == pa.date32()
    assert schema.field("rank").type == pa.int32()


def test_columns_of_targets_without_a_model_are_empty() -> None:
    listed = make_list(observations())
    empty = ["upsell_probability", "cross_sell_probability", "expansion_probability", "quadrant"]
    assert listed[empty].isna().all(axis=None)


@pytest.mark.parametrize("ids", [["a", "b", "c", "d", "e", "f"], [10, 2, 33, 4, 5, 2**53 + 1]])
def test_ids_are_unchanged(ids: list[object]) -> None:
    rows = observations(ids=ids)
    back = pq.read_table(io.BytesIO(to_parquet(make_list(rows))))["account_id"].to_pylist()
    assert sorted(back, key=str) == sorted(ids, key=str)


def test_same_list_in_any_row_order_gives_the_same_bytes() -> None:
    rows = observations().assign(arr=1000.0, csm=None)
    one, reordered = (
        make_list(rows.iloc[order], renewal=[0.5] * 6) for order in ([0, 1, 2, 3, 4, 5], [5, 3, 1, 0, 2, 4])
    )
    assert to_parquet(one) == to_parquet(reordered)


def test_parquet_round_trip_returns_the_list(listed: pd.DataFrame) -> None:
    back = cast_columns(pd.read_parquet(io.BytesIO(to_parquet(listed))))
    pd.testing.assert_frame_equal(back, listed, check_dtype=False)
    validate_list(back)
    assert to_parquet(back) == to_parquet(listed)


def test_empty_list_has_the_columns() -> None:
    rows, probabilities = observations().iloc[:0], pd.DataFrame({"renewal": []}, dtype=float)
    reasons = reasons_for(observations()).iloc[:0]
    listed = build_risk_list(
        rows, probabilities, reasons, plays_for(rows, probabilities, reasons, ListOptions()), MODELS, ListOptions()
    ).rows
    assert list(listed.columns) == CONTRACT
    assert listed.empty
    assert to_parquet(listed)


@pytest.mark.parametrize(
    ("column", "value", "message"),
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
        ("renewal_id", "a1:2026-09-01", "1 renewals are listed twice"),
        ("renewal_id", None, "renewal_id: empty (1 rows)"),
        ("renewal_date", None, "renewal_date: empty (1 rows)"),
        ("decision_date", None, "decision_date: empty (1 rows)"),
        ("is_main", None, "is_main: empty (1 rows)"),
        ("signed", None, "signed: empty (1 rows)"),
        ("account_id", None, "account_id is empty in 1 rows"),
        ("as_of", pd.Timestamp("2026-05-01"), "as_of is missing or differs"),
        ("rank", 7, "rank is not 1, 2, 3"),
        ("status", "too_little_history", "renewal_probability: not_scored_filled (1 rows)"),
    ],
)
def test_list_that_breaks_the_contract_raises_an_error_with_the_reason(
    listed: pd.DataFrame, column: str, value: object, message: str
) -> None:
    index = int(listed["account_id"].eq("a0").to_numpy().nonzero()[0][0])
    listed.loc[index, column] = value
    with pytest.raises(BrokenListError, match=re.escape(message)):
        validate_list(listed)


# --- invalid rows ---------------------------------------------------------------------------------------

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
    ("observations", "status", "perhaps", "status", "unknown_value", "“Status” holds “perhaps”"),
    (
        "probabilities",
        "renewal",
        1.5,
        "renewal_probability",
        "not_a_probability",
        "“Chance of renewal” came out as 1.5",
    ),
    (
        "probabilities",
        "renewal",
        -0.1,
        "renewal_probability",
        "not_a_probability",
        "“Chance of renewal” came out as -0.1",
    ),
    (
        "probabilities",
        "renewal",
        None,
        "renewal_probability",
        "no_probability",
        "The model gave no value for “Chance of ren",
    ),
    ("probabilities", "expansion", 2.0, "expansion_probability", "not_a_probability", "came out as 2.0"),
    ("probabilities", "renewal_low", 0.99, "renewal_high", "outside_interval", "The chance of renewal lies outside"),
    ("probabilities", "renewal_low", None, "renewal_low", "no_probability", "The model gave no value for"),
    ("probabilities", "renewal_high", float("inf"), "renewal_high", "not_a_probability", "came out as inf"),
    ("reasons", "reason_1_theme", "weather", "reason_1_theme", "unknown_value", "holds “weather”"),
    ("reasons", "reason_1_contribution", float("-inf"), "reason_1_contribution", "not_finite", "is infinite"),
]


def parts() -> dict[str, pd.DataFrame]:
    """The tables of a list by name, each with one row per observation."""
    names = ("observations", "probabilities", "reasons", "plays")
    rows = observations()
    probabilities = {"expansion": [0.5, 0.1, 0.3, 0.0, 0.9, 0.2]}
    return dict(zip(names, parts_of(rows, **probabilities), strict=True))


def build(tables: dict[str, pd.DataFrame], **options: object) -> RiskList:
    return build_risk_list(*tables.values(), MODELS, ListOptions.model_validate(options))


@pytest.mark.parametrize(("table", "column", "value", "faulty_column", "kind", "message"), FAULTS)
@pytest.mark.parametrize("index", [0, 3])
def test_invalid_row_is_named_and_leaves_the_rest_unchanged(
    table: str, column: str, value: object, faulty_column: str, kind: str, message: str, index: int
) -> None:
    tables = parts()
    without = {name: frame.drop(index=index) for name, frame in tables.items()}
    broken = tables | {table: tables[table].astype({column: object})}
    broken[table].loc[index, column] = value
    result = build(broken)
    account = f"a{index}"
    faulty = result.rows.set_index("account_id").loc[account]
    assert faulty["status"] == "not_scored"
    assert str(faulty["status_reason"]).startswith(message) or message in str(faulty["status_reason"])
    scored_only = [definition.name for definition in COLUMNS if definition.scored_only]
    assert faulty[scored_only].isna().all()
    if table == "observations" and column != "status":
        assert pd.isna(faulty[column])
    assert result.fault_summary == {
        "rows": 1,
        "faults": [{"column": faulty_column, "kind": kind, "rows": 1, "example": account}],
    }
    assert result.not_scored_reasons["account_id"].tolist() == [account]
    assert result.not_scored_reasons["en"].tolist() == [faulty["status_reason"]]
    rest = result.rows[result.rows["account_id"] != account].reset_index(drop=True)
    assert to_parquet(rest) == to_parquet(build(without).rows)
    assert to_parquet(result.rows)


def test_row_with_several_faults_names_the_first_and_clears_all() -> None:
    tables = parts()
    tables["observations"].loc[0, ["stage", "size_band"]] = ["limbo", "giant"]
    result = build(tables)
    acme = row(result.rows, "acme")
    assert acme[["stage", "size_band"]].isna().all()
    assert "limbo" in acme["status_reason"]
    assert result.fault_summary["rows"] == len(result.fault_summary["faults"]) == 1


def test_unprintable_long_value_is_shortened_and_escaped() -> None:
    tables = parts()
    tables["observations"].loc[0, "stage"] = "\x00" + "long" * 100
    reason = row(build(tables).rows, "acme")["status_reason"]
    assert "\x00" not in reason
    assert "…" in reason
    assert len(reason) < 140


def test_one_invalid_row_never_stops_a_list_but_two_of_six_do() -> None:
    tables = parts()
    tables["observations"].loc[0, "stage"] = None
    assert build(tables, invalid_row_limit=0.0).fault_summary["rows"] == 1
    tables["observations"].loc[1, "stage"] = None
    with pytest.raises(
        BrokenListError, match=r"2 of 6 rows .* \(1.0%\) allows: stage: empty \(2 rows, such as account a0"
    ):
        build(tables)
    assert build(tables, invalid_row_limit=0.34).rows["status"].eq("not_scored").sum() == 2


# --- rows without a score -------------------------------------------------------------------------------


def every_status() -> pd.DataFrame:
    """One account of each status, from the last status to the first; the last has the most ARR."""
    arr = [1000.0 * number for number in range(len(STATUSES), 0, -1)]
    rows = observations(STATUSES[::-1]).assign(csm="li", status=STATUSES[::-1], arr=arr)
    rows[FAULT_COLUMN] = [Fault("stage", "empty") if name == NOT_SCORED else None for name in rows["status"]]
    is_due = rows["status"].ne(NOT_DUE)
    return pd.concat([not_due(rows[~is_due]), rows[is_due]], ignore_index=True)


def test_rows_without_a_rank_are_listed_by_status() -> None:
    listed = make_list(every_status(), out_of_range_share=0.5)
    assert listed["status"].tolist() == list(STATUSES)
    assert listed["status"].tolist() == [
        *(
            "scored",
            "no_model",
            "overdue",
            "leaving",
            "too_little_history",
            "unlike_training",
            "not_scored",
            "signed",
            "not_due",
        )
    ]
    assert listed["rank"].tolist() == [1] + [pd.NA] * 8


def test_rows_of_equal_status_are_listed_by_revenue_then_by_id() -> None:
    names = ("none", "small", "large", "large too", "larger")
    rows = observations(names, ids=[5, 9, 100, 20, 3]).assign(arr=[None, 10.0, 30.0, 30.0, 40.0], status="signed")
    other = second_renewal(rows.iloc[[3]], arr=30.0)
    for order in ([0, 1, 2, 3, 4, 5], [5, 4, 3, 2, 1, 0]):
        listed = make_list(pd.concat([rows, other], ignore_index=True).iloc[order].reset_index(drop=True))
        assert listed["renewal_id"].tolist() == [
            *("3:2026-09-01", "20:2026-09-01", "20:2026-10-01", "100:2026-09-01", "9:2026-09-01", "5:2026-09-01")
        ]


def test_every_row_has_its_expansion_score_and_only_scored_rows_that_of_the_renewal() -> None:
    rows = every_status()
    listed = make_list(rows, expansion=0.3, upsell=0.2, out_of_range_share=0.5).set_index("status")
    unscored = listed.drop(index=SCORED)
    assert unscored[[column.name for column in COLUMNS if column.scored_only]].isna().all(axis=None)
    for name, probability in (("expansion_probability", 0.3), ("upsell_probability", 0.2)):
        assert listed[name].drop(index=NOT_SCORED).tolist() == [probability] * 8
        assert pd.isna(listed.loc[NOT_SCORED, name])


DATED = ("renewal_date", "days_to_renewal", "decision_date", "days_to_decision")


@pytest.mark.parametrize("column", DATED)
def test_only_rows_that_are_not_due_may_lack_the_days_of_a_renewal(column: str) -> None:
    for status in STATUSES:
        if status in (NOT_DUE, NOT_SCORED):
            continue
        rows = observations().assign(status=status)
        rows[column] = rows[column].astype(object).where(rows["account_name"] != "acme", None)
        acme = row(make_list(rows, out_of_range_share=0.5), "acme")
        assert (acme["status"], str(acme["status_reason"])[-9:]) == ("not_scored", "is empty."), status
    rows = pd.concat([not_due(observations()).iloc[:1], observations().iloc[1:]], ignore_index=True)
    acme = row(make_list(rows), "acme")
    assert acme["status"] == "not_due"
    assert acme[list(DATED)].isna().all()


@pytest.mark.parametrize("column", ["notice_date", "products", "arr", "account_arr", "contract_amount", "csm"])
def test_other_columns_may_be_empty_in_any_row(column: str) -> None:
    listed = make_list(observations().assign(**{column: None}))
    assert listed["status"].eq("scored").all()
    assert listed[column].isna().all()


def test_finished_list_with_a_row_that_is_due_and_has_no_date_is_refused() -> None:
    listed = make_list(pd.concat([observations().iloc[:5], not_due(observations().iloc[5:])], ignore_index=True))
    validate_list(listed)
    listed.loc[listed["status"].eq("not_due"), "status"] = "signed"
    with pytest.raises(BrokenListError, match=re.escape("renewal_date: empty (1 rows)")):
        validate_list(listed)


@pytest.mark.parametrize("status", ["overdue", "leaving", "signed", "not_due"])
@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_status_has_a_reason_of_its_own(status: str, language: str) -> None:
    options = ListOptions.model_validate({"language": language})
    result = build_risk_list(*parts_of(every_status(), options, out_of_range_share=0.5), MODELS, options)
    reasons = result.rows.set_index("status")["status_reason"]
    words = {
        "overdue": ("has ended and nothing follows", "已到期，尚无后续合同"),
        "leaving": ("gave notice", "已通知不续约"),
        "signed": ("is signed", "续约已签"),
        "not_due": ("No contract of this customer ends", "没有到期的合同"),
    }
    assert words[status][language == "zh"] in reasons[status]
    assert reasons.drop(index=SCORED).nunique() == len(STATUSES) - 1
    by_renewal = result.not_scored_reasons.set_index("renewal_id")[language]
    assert by_renewal.to_dict() == result.rows.set_index("renewal_id")["status_reason"].dropna().to_dict()


def test_missing_score_has_a_reason_in_every_language() -> None:
    rows = observations()
    rows["status"] = ["scored", "scored", "scored", "unlike_training", "too_little_history", "scored"]
    reasons = {}
    for language in ("en", "zh"):
        options = ListOptions(language=language, min_history_days=14)
        tables = parts_of(rows.copy(), options, out_of_range_share=[0.1, 0.1, 0.1, 0.255, 0.1, 0.1])
        tables[0].loc[5, "stage"] = "limbo"
        result = build_risk_list(*tables, MODELS, options)
        reasons[language] = result.rows.set_index("account_id")["status_reason"]
        assert (
            reasons[language].dropna().to_dict()
            == result.not_scored_reasons.set_index("account_id")[language].to_dict()
        )
    assert reasons["en"].dropna().to_dict() == {
        "a3": "Unlike other customers: 26% of its figures lie beyond what the model has seen, and at most 20% may.",
        "a4": "Too little history: the first contract began fewer than 14 days before this list, or its start is not "
        "known.",
        "a5": "“Stage” holds “limbo”, which is none of its values.",
    }
    assert reasons["zh"].dropna().to_dict() == {
        "a3": "与其他客户不同：26% 的指标超出模型所见范围，最多允许 20%。",
        "a4": "历史太短：首份合同在本清单之前不足 14 天开始，或开始日期未知。",
        "a5": "“阶段”的值“limbo”不在允许的取值之内。",
    }


def test_missing_column_is_refused(listed: pd.DataFrame) -> None:
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
def test_random_accounts_give_a_complete_list(accounts: list[tuple[str | None, float, float, bool]]) -> None:
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
