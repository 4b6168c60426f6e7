import pandas as pd
import pytest

from renewals.models.ranking.worklist import arr_at_risk, quadrant, rank_accounts, risk_band, score_status
from renewals.reports.settings import Capacity

NONE = float("nan")


def test_risk_bands_start_at_their_limit_and_need_a_probability() -> None:
    renewal = pd.Series([0.60, 0.61, 0.80, 0.81, NONE])
    assert risk_band(renewal, high=0.40, medium=0.20).tolist() == ["high", "medium", "medium", "low", None]


def test_history_is_sufficient_from_the_limit_on() -> None:
    days = pd.Series([0, 6, 7, pd.NA], dtype="Int64")
    assert score_status(days, min_days=7).tolist() == ["too_little_history"] * 2 + ["scored", "too_little_history"]


def test_arr_at_risk_is_arr_times_the_probability_of_loss() -> None:
    assert arr_at_risk(pd.Series([1000.0]), pd.Series([0.9])).tolist() == pytest.approx([100.0])


@pytest.mark.parametrize(
    ("band", "expansion", "group"),
    [
        ("high", 0.25, "save_and_grow"),
        ("high", 0.24, "save"),
        ("medium", 0.25, "grow"),
        ("low", 0.24, "keep"),
        ("low", NONE, None),
        (None, 0.9, None),
    ],
)
def test_quadrant_depends_on_band_and_expansion(band: str | None, expansion: float, group: str | None) -> None:
    assert quadrant(pd.Series([band], dtype=object), pd.Series([expansion]), 0.25).tolist() == [group]


def portfolio(rows: str) -> pd.DataFrame:
    table = pd.DataFrame(
        [line.split() for line in rows.strip().splitlines()], columns=["account", "csm", "gain", "arr"]
    )
    return table.astype({"gain": float, "arr": float}).replace({"csm": {"-": None}})


def rank(table: pd.DataFrame, **limits: object) -> dict[str, tuple[int, bool]]:
    capacity = Capacity.model_validate(limits)
    ranks = rank_accounts(table["gain"], table["arr"], table["csm"], table["account"], capacity.for_manager)
    return {a: (r, w) for a, r, w in zip(table["account"], ranks["rank"], ranks["within_capacity"], strict=True)}


def test_each_manager_has_separate_ranks_and_capacity() -> None:
    table = portfolio(
        """
        acme   li   5   10
        beta   li   9   10
        gamma  li   7   10
        delta  ann  1   10
        nobody -    3   10
        """
    )
    assert rank(table, accounts=2, managers={"ann": {"accounts": 0}}) == {
        "beta": (1, True),
        "gamma": (2, True),
        "acme": (3, False),
        "delta": (1, False),
        "nobody": (1, True),
    }


def test_revenue_capacity_cuts_the_list_after_the_first_account_at_the_earliest() -> None:
    table = portfolio(
        """
        giant  li  9  100
        small  li  5  1
        tiny   li  4  1
        big    ann 9  6
        large  ann 8  6
        little ann 7  1
        """
    )
    fits = {account: fit for account, (_, fit) in rank(table, arr=10).items()}
    assert fits == {"giant": True, "small": False, "tiny": False, "big": True, "large": False, "little": False}


def test_equal_gains_are_ranked_by_account_id_in_any_row_order() -> None:
    table = pd.DataFrame({"account": [10, 9, 100], "csm": None, "gain": 1.0, "arr": 1.0})
    for rows in ([0, 1, 2], [2, 1, 0], [1, 2, 0]):
        shuffled = table.iloc[rows].reset_index(drop=True)
        assert {a: r for a, (r, _) in rank(shuffled).items()} == {9: 1, 10: 2, 100: 3}


def test_hours_limit_the_list_and_equal_gains_are_ranked_by_arr_at_risk() -> None:
    table = portfolio("acme li 9 1\nbeta li 5 1\ngamma li 0 1\ndelta li 0 1\nlarge ann 1 1")
    hours, at_risk = pd.Series([4.0, 6.0, 1.0, 0.0, 99.0]), pd.Series([1.0, 1.0, 2.0, 3.0, 1.0])
    columns = (table["gain"], table["arr"], table["csm"], table["account"])
    ranks = rank_accounts(*columns, Capacity(hours=10).for_manager, hours, at_risk)
    assert ranks["rank"].tolist() == [1, 2, 4, 3, 1]
    assert ranks["within_capacity"].tolist() == [True, True, False, True, True]
    assert rank_accounts(*columns, Capacity().for_manager, hours)["within_capacity"].all(), (
        "no limit of hours unless one is set"
    )


def test_account_without_a_gain_has_no_rank() -> None:
    table = portfolio("acme li nan 10\nbeta li 1 10")
    ranks = rank_accounts(table["gain"], table["arr"], table["csm"], table["account"], Capacity().for_manager)
    assert ranks["rank"].tolist() == [pd.NA, 1]
    assert pd.isna(ranks["within_capacity"][0])
    nobody = rank_accounts(
        *(table.iloc[:0][name] for name in ("gain", "arr", "csm", "account")), Capacity().for_manager
    )
    assert nobody.empty
    assert list(nobody.columns) == ["rank", "within_capacity"]


def test_manager_names_match_in_any_case():
    capacity = Capacity(managers={"Zoë Müller": {"accounts": 3}})
    assert [capacity.for_manager(name).accounts for name in ("ZOE MÜLLER", " Zoë  Müller", "Zoë", None)] == [
        3,
        3,
        50,
        50,
    ]
