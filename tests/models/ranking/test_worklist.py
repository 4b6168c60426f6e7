from typing import Any

import pandas as pd
import pytest

from renewals.models.ranking.worklist import (
    STATUSES,
    arr_at_risk,
    has_history,
    quadrant,
    rank_accounts,
    risk_band,
    row_status,
)
from renewals.reports.settings import Capacity

NONE = float("nan")


def test_risk_bands_start_at_their_limit_and_need_a_probability() -> None:
    renewal = pd.Series([0.60, 0.61, 0.80, 0.81, NONE])
    assert risk_band(renewal, high=0.40, medium=0.20).tolist() == ["high", "medium", "medium", "low", None]


# --- status -------------------------------------------------------------------------------------------


def observed(**changes: Any) -> pd.DataFrame:
    """One observation per value: a renewal due, not decided, of an account with enough history, but for `changes`."""
    columns = {"renewal_state": "due", "signed": False, "notice_given": False, "account_age": 100}
    rows = max((len(values) for values in changes.values()), default=1)
    return pd.DataFrame(columns, index=range(rows)).assign(**changes)


def test_history_is_sufficient_from_the_limit_on() -> None:
    rows = observed(account_age=pd.array([0, 6, 7, pd.NA], dtype="Int64"))
    assert has_history(rows, min_history_days=7).tolist() == [False, False, True, False]
    assert row_status(rows, min_history_days=7).tolist() == ["too_little_history"] * 2 + [
        "scored",
        "too_little_history",
    ]


@pytest.mark.parametrize(
    ("state", "signed", "notice_given", "account_age", "status"),
    [
        ("overdue", True, True, 0, "overdue"),
        ("not_due", True, True, 0, "not_due"),
        ("due", True, True, 0, "signed"),
        ("due", False, True, 0, "leaving"),
        ("due", False, False, 0, "too_little_history"),
        ("due", False, False, 100, "scored"),
        ("overdue", False, False, 100, "overdue"),
        ("not_due", False, False, 100, "not_due"),
        ("due", True, False, 100, "signed"),
        ("due", False, True, 100, "leaving"),
    ],
)
def test_first_status_that_fits_counts(
    state: str, signed: bool, notice_given: bool, account_age: int, status: str
) -> None:
    rows = observed(renewal_state=[state], signed=[signed], notice_given=[notice_given], account_age=[account_age])
    assert row_status(rows, min_history_days=7).tolist() == [status]
    assert status in STATUSES


def test_status_of_a_row_depends_on_that_row_alone_and_keeps_its_index() -> None:
    rows = observed(renewal_state=["due", "overdue", "not_due", "due"], signed=[True, False, False, None])
    statuses = row_status(rows.set_axis([7, 3, 5, 1]), min_history_days=7)
    assert statuses.to_dict() == {7: "signed", 3: "overdue", 5: "not_due", 1: "scored"}


def test_unknown_notice_or_signature_decides_nothing() -> None:
    rows = observed(signed=pd.array([None, None], "boolean"), notice_given=pd.array([None, True], "boolean"))
    assert row_status(rows, min_history_days=7).tolist() == ["scored", "leaving"]


# --- risk and quadrant --------------------------------------------------------------------------------


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


# --- rank ---------------------------------------------------------------------------------------------


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


def within(table: pd.DataFrame, hours_of_rows: list[float] | None = None, **limits: object) -> list[bool]:
    """Whether each row is within capacity; the rows stand in rank order, and an account may have several."""
    columns = (table["gain"], table["arr"], table["csm"], table["account"])
    hours = None if hours_of_rows is None else pd.Series(hours_of_rows)
    ranks = rank_accounts(*columns, Capacity.model_validate(limits).for_manager, hours)
    assert ranks["rank"].tolist() == list(range(1, len(table) + 1))
    return ranks["within_capacity"].tolist()


TWO_RENEWALS = """
acme  li 9 10
acme  li 8 10
beta  li 7 10
gamma li 6 10
"""


def test_account_with_two_renewals_counts_once_in_the_capacity_and_has_two_ranks() -> None:
    assert within(portfolio(TWO_RENEWALS), accounts=2) == [True, True, True, False]


def test_second_renewal_of_an_account_within_capacity_counts_from_its_first_row() -> None:
    """Acme takes the first place and beta the second; the other renewal of acme, below beta, takes none."""
    table = portfolio("acme li 9 10\nbeta li 8 10\nacme li 7 10\ngamma li 6 10")
    assert within(table, accounts=2) == [True, True, True, False]


def test_hours_of_an_account_with_two_renewals_count_once_and_are_those_of_its_first_row() -> None:
    table = portfolio(TWO_RENEWALS)
    assert within(table, [4, 4, 4, 4], hours=8) == [True, True, True, False]
    assert within(table, [4, 1, 4, 1], hours=8) == [True, True, True, False]
    assert within(table, [1, 4, 7, 0], hours=8) == [True, True, True, True]


def test_revenue_of_each_renewal_counts() -> None:
    """Each row has what falls due with it: two renewals of an account are two sums."""
    assert within(portfolio(TWO_RENEWALS), arr=30) == [True, True, True, False]


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
