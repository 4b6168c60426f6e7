import io

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lists.options import ListOptions
from lists.risk_list import COLUMNS, NAMES, alert_codes, as_parquet, check, risk_list, typed
from tests.lists.small_list import MODELS, make_list, observations, plays_for, reasons_for

IN_THE_CONTRACT = """
as_of account_id account_name csm stage size_band renewal_date days_to_renewal arr currency status
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
    assert list(listed.columns) == CONTRACT == list(NAMES)


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
    filled = {name for name in NAMES if pd.notna(fresh.get(name))}
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
    rows["decided"] = rows["account_name"] == "gamma"
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
    with pytest.raises(ValueError, match="alerts holds"):
        make_list(observations().assign(alerts=[said, *[None] * 5]))


def test_every_column_has_a_type_whatever_it_holds(listed: pd.DataFrame) -> None:
    schema = pq.read_schema(pa.BufferReader(as_parquet(listed)))
    assert not [name for name in NAMES if pa.types.is_null(schema.field(name).type)]
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
    back = pq.read_table(io.BytesIO(as_parquet(make_list(rows))))["account_id"].to_pylist()
    assert sorted(back, key=str) == sorted(ids, key=str)


def test_the_same_list_gives_the_same_bytes_whatever_the_order_of_rows() -> None:
    rows = observations().assign(arr=1000.0, csm=None)
    one, other = (make_list(rows.iloc[order], renewal=[0.5] * 6) for order in ([0, 1, 2, 3, 4, 5], [5, 3, 1, 0, 2, 4]))
    assert as_parquet(one) == as_parquet(other)


def test_what_is_read_back_from_parquet_is_the_list(listed: pd.DataFrame) -> None:
    back = typed(pd.read_parquet(io.BytesIO(as_parquet(listed))))
    pd.testing.assert_frame_equal(back, listed, check_dtype=False)
    check(back)
    assert as_parquet(back) == as_parquet(listed)


def test_a_list_of_nobody_has_the_columns() -> None:
    rows, chance = observations().iloc[:0], pd.DataFrame({"renewal": []}, dtype=float)
    told = reasons_for(observations()).iloc[:0]
    listed = risk_list(rows, chance, told, plays_for(rows, chance, told, ListOptions()), MODELS, ListOptions())
    assert list(listed.columns) == CONTRACT
    assert listed.empty
    assert as_parquet(listed)


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        ("renewal_probability", 1.5, "renewal_probability lies outside 0 to 1"),
        ("renewal_probability", None, "renewal_probability is empty for scored accounts"),
        ("renewal_low", None, "renewal_low is empty for scored accounts"),
        ("renewal_low", 0.99, "outside its own interval"),
        ("renewal_high", 0.01, "outside its own interval"),
        ("arr", float("inf"), "arr is not finite"),
        ("stage", "limbo", "stage holds"),
        ("reason_1_theme", "weather", "reason_1_theme holds"),
        ("stage", None, "stage is empty in some rows"),
        ("account_id", "a1", "1 accounts are listed twice"),
        ("rank", 7, "rank does not count"),
        ("status", "too_little_history", "is filled for accounts that are not scored"),
    ],
)
def test_a_list_that_breaks_the_contract_is_refused_with_words(
    listed: pd.DataFrame, column: str, value: object, words: str
) -> None:
    place = int(listed["account_id"].eq("a0").to_numpy().nonzero()[0][0])
    listed.loc[place, column] = value
    with pytest.raises(ValueError, match=words):
        check(listed)


def test_other_columns_are_refused(listed: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match="other columns"):
        check(listed.drop(columns="alerts"))


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
