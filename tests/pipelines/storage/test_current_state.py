"""Columns of today's state: hidden from models where their table keeps no versions."""

from __future__ import annotations

from datetime import datetime

import ibis
import pytest

from renewals.pipelines.runtime.errors import ConfigError
from renewals.pipelines.runtime.source_settings import Source
from renewals.pipelines.storage import current_state
from renewals.pipelines.storage.notices import history_notices
from renewals.reports.words import MESSAGES
from tests.oracle.worlds import arrow, complete_row, schema

START = datetime(2024, 1, 1)
CONTRACT = {"contract_id": "c", "account_id": "acme", "start_date": START, "auto_renew": True, "seats": 5}
ACCOUNT = {"account_id": "acme", "csm": "Ann", "employee_count": 10}
PERSON = {"account_id": "acme", "user_id": "u", "tier": "S"}


def tables(**rows):
    given = {"contracts": [CONTRACT], "accounts": [ACCOUNT], "people": [PERSON]} | rows
    return {n: ibis.memtable(arrow([complete_row(n, row) for row in given[n]], schema(n))) for n in given}


def test_without_versions_the_columns_of_today_are_hidden():
    given = tables()
    hidden = current_state.hidden_columns(given, Source())
    assert hidden == {"contracts": ("auto_renew",), "accounts": ("csm",)}
    shown = current_state.hide_columns(given, hidden)
    (contract,) = shown["contracts"].to_pyarrow().to_pylist()
    assert contract == complete_row("contracts", CONTRACT | {"auto_renew": None})
    assert shown["people"].equals(given["people"])


@pytest.mark.parametrize("told_apart", ["recorded_at", "valid_from"])
def test_with_versions_nothing_is_hidden(told_apart):
    versions = [row | {told_apart: datetime(2024, 5, 1)} for row in (CONTRACT, ACCOUNT, PERSON)]
    given = tables(contracts=[CONTRACT, versions[0]], accounts=[ACCOUNT, versions[1]], people=[PERSON, versions[2]])
    assert current_state.hidden_columns(given, Source()) == {}
    assert current_state.describe_history(given, Source()) == {"left_out": [], "kept": []}


def test_several_terms_of_one_contract_id_are_no_versions():
    terms = [CONTRACT, CONTRACT | {"start_date": datetime(2025, 1, 1)}]
    assert current_state.hidden_columns(tables(contracts=terms), Source())["contracts"] == ("auto_renew",)


def test_columns_without_a_value_are_not_mentioned():
    given = tables(contracts=[CONTRACT | {"auto_renew": None, "seats": None}], accounts=[{"account_id": "acme"}])
    assert current_state.describe_history(given, Source()) == {"left_out": [], "kept": ["people.tier"]}


def test_history_is_described_in_every_language():
    source = Source(current_state={"contracts": ("auto_renew", "seats")})
    history = current_state.describe_history(tables(), source)
    assert history == {
        "left_out": ["contracts.auto_renew", "contracts.seats"],
        "kept": ["accounts.employee_count", "people.tier"],
    }
    left_out, kept = history_notices(history)
    assert "known of contracts.auto_renew, contracts.seats, so no model learned from them" in left_out.text("en")
    assert "of accounts.employee_count, people.tier, and models learned from them" in kept.text("en")
    assert all("people.tier" in kept.text(language) for language in MESSAGES)
    assert history_notices({}) == []


@pytest.mark.parametrize("column", ["auto_renewal", "arr", "recorded_at", "contract_id"])
def test_a_column_that_cannot_be_hidden_is_refused(column):
    with pytest.raises(ConfigError, match=rf"source\.current_state\.contracts: '{column}' is none of "):
        current_state.require_optional_columns(Source(current_state={"contracts": (column,)}))
