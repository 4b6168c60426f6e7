"""The data contract as code: metadata of each table, and validation of rows against its rules."""

import ibis
import ibis.expr.datatypes as dt
import pytest

from renewals.features.tables import ID, TABLES, TIME


def test_tables_are_those_of_the_data_contract_in_its_order():
    contract = [
        "accounts",
        "contracts",
        "usage_events",
        "people",
        "tickets",
        "surveys",
        "touchpoints",
        "interventions",
        "value_goals",
        "referrals",
        "trials",
        "rates",
    ]
    assert list(TABLES)[: len(contract)] == contract
    assert [name for name, table in TABLES.items() if table.required] == ["accounts", "contracts", "usage_events"]


@pytest.mark.parametrize(
    ("table", "columns"),
    {
        "accounts": "account_id! account_name industry region employee_count channel parent_account_id csm "
        "sales_owner merged_into_account_id merged_at created_at deleted_at recorded_at valid_from",
        "contracts": "contract_id! account_id! product plan start_date! end_date! arr! currency seats kind "
        "subscription_id order_id replaces_contract_id signed_at paid_at cancelled_at auto_renew notice_days "
        "notice_given_at loss_reason lost_to loss_recorded_at sold_by go_live_at deleted_at recorded_at valid_from",
        "usage_events": "account_id! user_id feature! occurred_at! duration_s quantity recorded_at event_id",
        "people": "user_id! account_id! title role department tier valid_from valid_to recorded_at",
        "tickets": "ticket_id! account_id! user_id kind! severity! opened_at! first_response_at resolved_at "
        "reopened_at escalated_at due_at recorded_at",
        "surveys": "account_id! user_id kind! score sent_at answered_at followed_up_at recorded_at",
        "touchpoints": "account_id! user_id csm kind! initiated_by occurred_at! recorded_at",
        "interventions": "account_id! playbook! csm started_at! ended_at recorded_at",
        "value_goals": "account_id! goal! set_at! due_at achieved_at recorded_at",
        "referrals": "account_id! referred_account_id referred_at! converted_at reward_cost recorded_at",
        "trials": "account_id! requested_at! started_at finished_at recorded_at",
        "rates": "currency! date! rate!",
    }.items(),
)
def test_columns_are_those_of_the_data_contract(table, columns):
    assert [c.name + "!" * c.required for c in TABLES[table].columns.values()] == columns.split()


def test_columns_that_are_their_known_time():
    later = {
        f"{table.name}.{column.name}"
        for table in TABLES.values()
        for column in table.columns.values()
        if column.known == "itself"
    }
    assert later == {
        "accounts.merged_at",
        "accounts.deleted_at",
        "contracts.paid_at",
        "contracts.cancelled_at",
        "contracts.notice_given_at",
        "contracts.loss_recorded_at",
        "contracts.go_live_at",
        "contracts.deleted_at",
        "people.valid_to",
        "tickets.first_response_at",
        "tickets.resolved_at",
        "tickets.reopened_at",
        "tickets.escalated_at",
        "surveys.answered_at",
        "surveys.followed_up_at",
        "interventions.ended_at",
        "value_goals.achieved_at",
        "referrals.converted_at",
        "trials.started_at",
        "trials.finished_at",
    }


def test_columns_known_with_another_column():
    together = {
        f"{table.name}.{column.name}": column.known
        for table in TABLES.values()
        for column in table.columns.values()
        if column.known not in (None, "itself")
    }
    assert together == {
        "accounts.merged_into_account_id": "merged_at",
        "contracts.loss_reason": "loss_recorded_at",
        "contracts.lost_to": "loss_recorded_at",
        "surveys.score": "answered_at",
        "referrals.reward_cost": "converted_at",
    }
    with_row = {c.name for table in TABLES.values() for c in table.columns.values() if c.else_with_row}
    assert with_row == {"merged_into_account_id", "loss_reason", "lost_to"}


def test_ids_of_one_kind_have_one_type():
    kinds = {name: TABLES["contracts"].columns[name].entity for name in TABLES["contracts"].columns if "_id" in name}
    assert kinds["replaces_contract_id"] == kinds["contract_id"]
    assert len({kinds[name] for name in ("contract_id", "subscription_id", "order_id")}) == 3
    assert TABLES["accounts"].columns["merged_into_account_id"].entity == "account"


def test_known_time_and_event_time_of_tables():
    assert TABLES["tickets"].known_time == ("recorded_at", "opened_at")
    assert TABLES["surveys"].known_time == ("recorded_at", "sent_at", "answered_at")
    assert TABLES["contracts"].known_time == ("recorded_at", "signed_at", "start_date")
    assert TABLES["contracts"].event_time == ("start_date",)
    assert TABLES["rates"].known_time == ("date",)


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_every_table_column_and_rule_has_a_text(table):
    assert table.meaning.startswith("One row per ")
    assert all(column.meaning.endswith((".", ".")) for column in table.columns.values())
    assert all(rule.name and rule.column in table.columns for rule in table.rules())
    assert all(any(column in rule.message for column in table.columns) for rule in table.rules())
    names = [rule.name for rule in table.rules()]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_time_columns_of_a_table_exist(table):
    for name in (*table.event_time, *table.known_time):
        assert table.columns[name].type == TIME
    assert set(table.key) <= set(table.columns)
    assert all(column.entity for column in table.columns.values() if column.type == ID)


def typed_row(table, **values):
    """One row of a table; all columns except these values are empty."""
    kinds = {c.name: dt.string if c.type == ID else c.type for c in table.columns.values()}
    return ibis.memtable([dict.fromkeys(kinds) | values], schema=ibis.schema(kinds))


def test_pandera_asserts_the_same_rules_and_one_row_per_key():
    contracts = TABLES["contracts"]
    good = {"contract_id": "c1", "account_id": "acme", "start_date": "2024-01-01", "end_date": "2025-01-01", "arr": 1.0}
    schema = contracts.schema({c.name: dt.string for c in contracts.columns.values() if c.type == ID})
    for change in ({}, {"end_date": None}):
        schema.validate(typed_row(contracts, **good | change), lazy=True)

    from pandera.errors import SchemaErrors

    for change in ({"arr": -1.0}, {"end_date": "2024-01-01"}, {"account_id": None}, {"paid_at": "1899-12-31"}):
        with pytest.raises(SchemaErrors, match="all rules are satisfied"):
            schema.validate(typed_row(contracts, **good | change), lazy=True)
    with pytest.raises(SchemaErrors, match="one row per contract_id, start_date, recorded_at, valid_from"):
        schema.validate(typed_row(contracts, **good).union(typed_row(contracts, **good | {"arr": 2.0})), lazy=True)
    for version in ({"recorded_at": "2024-06-01"}, {"valid_from": "2024-06-01"}, {"start_date": "2024-06-01"}):
        schema.validate(typed_row(contracts, **good).union(typed_row(contracts, **good | version)), lazy=True)
    with pytest.raises(SchemaErrors, match="dtype"):
        schema.validate(typed_row(contracts, **good).mutate(arr=ibis.literal("1")), lazy=True)
