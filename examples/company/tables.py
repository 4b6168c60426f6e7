"""Build the tables of the data contract from the simulated columns, as known on the day of the extract.

A row that had not arrived by then is not in its table, and a later fact is empty.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from renewals.examples.company import contact, support
from renewals.examples.company.clock import DAY, HOUR, NEVER, NEVER_DAY, Ints, draw_arrival
from renewals.examples.company.customers import CHANNELS, INDUSTRIES, REGIONS, Customers
from renewals.examples.company.journey import PLAYBOOKS, ColumnArrays, look_up_values
from renewals.examples.company.names import manager_name
from renewals.examples.company.people import TIERS
from renewals.examples.company.product import CURRENCIES, FEATURES, LIST_RATES, PLANS, PRODUCTS
from renewals.examples.company.truth import timestamps
from renewals.examples.company.usage import draw_quantities
from renewals.examples.company.world import World


class Extract:
    """Conversion of simulated columns into contract tables, as known on the day of the extract."""

    def __init__(self, world: World) -> None:
        self.extract_second = world.extract_day * DAY
        self.people = world.people
        self.accounts = numbered_ids("A", len(world.customers), 5)
        self.users = numbered_ids("U", len(world.people), 6)
        managers = [manager_name(number) for number in range(int(world.customers.manager.max()) + 1)]
        self.managers = pa.array(managers).take(pa.array(world.customers.manager))

    def account_ids(self, number: Ints) -> pa.Array:
        """Ids of accounts; -1 gives null."""
        return take_or_null(self.accounts, number)

    def user_ids(self, number: Ints) -> pa.Array:
        """Ids of people; -1 gives null."""
        return take_or_null(self.users, number)

    def employer_ids(self, person: Ints) -> pa.Array:
        """Ids of the accounts that employ the people."""
        return take_or_null(self.accounts, self.people.account[person])

    def manager_names(self, account: Ints) -> pa.Array:
        """Names of the accounts' managers."""
        return take_or_null(self.managers, account)

    def masked_timestamps(self, seconds: Ints) -> pa.Array:
        """Timestamps; null if after the extract."""
        return pa.array(seconds * 1_000_000, mask=seconds >= self.extract_second).cast(pa.timestamp("us"))

    def arrived_rows(self, columns: ColumnArrays, *moment: str) -> ColumnArrays:
        """Rows with all the named moments before the extract."""
        arrived = np.logical_and.reduce([columns[name] < self.extract_second for name in moment])
        return {name: values[arrived] for name, values in columns.items()}


def numbered_ids(letter: str, count: int, width: int) -> pa.Array:
    """Ids numbered from one: a letter and a number with leading zeros."""
    return pa.array([f"{letter}{number:0{width}d}" for number in range(1, count + 1)], pa.string())


def take_or_null(values: pa.Array, index: Ints) -> pa.Array:
    """Values at an index; null where the index is -1."""
    return values.take(pa.array(index, mask=index < 0))


def labels(names: tuple[str, ...], index: Ints) -> pa.Array:
    """Names at an index; null where the index is -1."""
    return take_or_null(pa.array(names), index)


def accounts_table(extract: Extract, customers: Customers, rng: np.random.Generator) -> pa.Table:
    """Table `accounts`: one row per account."""
    created = (
        customers.purchase_day * DAY
        - rng.integers(40, 150, len(customers)) * DAY
        + rng.integers(0, DAY, len(customers))
    )
    return pa.table(
        {
            "account_id": extract.accounts,
            "account_name": pa.array(customers.name),
            "industry": labels(INDUSTRIES, customers.industry),
            "region": labels(REGIONS, customers.region),
            "employee_count": pa.array(customers.employees),
            "channel": labels(CHANNELS, customers.channel),
            "parent_account_id": extract.account_ids(customers.parent),
            "csm": extract.managers,
            "created_at": extract.masked_timestamps(created),
            "recorded_at": extract.masked_timestamps(created + rng.integers(60, HOUR, len(customers))),
        }
    )


def contracts_table(extract: Extract, contracts: ColumnArrays, cancellations: ColumnArrays) -> pa.Table:
    """Table `contracts`: one row per contract signed before the extract."""
    contracts = contracts | {"cancelled": cancelled_at(contracts, cancellations)}
    order = np.lexsort((contracts["product"], contracts["account"], contracts["signed"]))
    signed = extract.arrived_rows({name: values[order] for name, values in contracts.items()}, "signed")
    seats = signed["seats"]
    return pa.table(
        {
            "contract_id": numbered_ids("C", len(seats), 6),
            "account_id": extract.account_ids(signed["account"]),
            "product": labels(PRODUCTS, signed["product"]),
            "plan": labels(PLANS, signed["plan"]),
            "start_date": timestamps(signed["start"] * DAY),
            "end_date": timestamps(signed["end"] * DAY),
            "arr": pa.array(signed["arr"]),
            "currency": labels(CURRENCIES, signed["currency"]),
            "seats": pa.array(seats, mask=seats < 0),
            "signed_at": extract.masked_timestamps(signed["signed"]),
            "paid_at": extract.masked_timestamps(signed["paid"]),
            "cancelled_at": extract.masked_timestamps(signed["cancelled"]),
            "auto_renew": pa.array(signed["auto"]),
        }
    )


def cancelled_at(contracts: ColumnArrays, cancellations: ColumnArrays) -> Ints:
    """Cancellation time of each contract; a cancellation is matched by account, product and end."""

    def key(columns: ColumnArrays) -> Ints:
        return np.asarray((columns["account"] * len(PRODUCTS) + columns["product"]) * NEVER_DAY + columns["end"])

    moment = look_up_values(key(contracts), key(cancellations), cancellations["cancelled"], NEVER)
    return np.maximum(moment, contracts["start"] * DAY)


def usage_table(extract: Extract, events: ColumnArrays, rng: np.random.Generator) -> pa.Table:
    """Table `usage_events`: one row per event that arrived before the extract, in the order of arrival."""
    events = extract.arrived_rows(events, "occurred", "recorded")
    seconds, amount = events["seconds"], draw_quantities(rng, events["feature"])
    return pa.table(
        {
            "account_id": extract.employer_ids(events["person"]),
            "user_id": extract.user_ids(events["person"]),
            "feature": labels(FEATURES, events["feature"]),
            "occurred_at": timestamps(events["occurred"]),
            "duration_s": pa.array(seconds.astype(np.float64), mask=seconds < 0),
            "quantity": pa.array(amount, mask=np.isnan(amount)),
            "recorded_at": timestamps(events["recorded"]),
        }
    )


def people_table(extract: Extract, rows: ColumnArrays, rng: np.random.Generator) -> pa.Table:
    """Table `people`: one row per person and position."""
    rows = rows | {"recorded": draw_arrival(rng, rows["start"] + rng.integers(0, DAY, len(rows["start"])))}
    rows = extract.arrived_rows(rows, "start", "recorded")
    return pa.table(
        {
            "user_id": extract.user_ids(rows["person"]),
            "account_id": extract.employer_ids(rows["person"]),
            "title": pa.array(rows["title"], pa.string()),
            "role": pa.array(rows["role"], pa.string()),
            "department": pa.array(rows["department"], pa.string()),
            "tier": labels(TIERS, np.where(rows["tier_recorded"], rows["tier"], -1)),
            "valid_from": timestamps(rows["start"]),
            "valid_to": extract.masked_timestamps(rows["end"]),
            "recorded_at": timestamps(rows["recorded"]),
        }
    )


def tickets_table(extract: Extract, tickets: ColumnArrays) -> pa.Table:
    """Table `tickets`: one row per ticket."""
    rows = extract.arrived_rows(tickets, "opened", "recorded")
    limit = rows["limit"]
    return pa.table(
        {
            "ticket_id": numbered_ids("T", len(limit), 7),
            "account_id": extract.account_ids(rows["account"]),
            "user_id": extract.user_ids(rows["person"]),
            "kind": labels(support.TICKET_KINDS, rows["kind"]),
            "severity": labels(support.SEVERITIES, rows["severity"]),
            "opened_at": timestamps(rows["opened"]),
            "first_response_at": extract.masked_timestamps(rows["answered"]),
            "resolved_at": extract.masked_timestamps(rows["solved"]),
            "reopened_at": extract.masked_timestamps(rows["reopened"]),
            "escalated_at": extract.masked_timestamps(rows["escalated"]),
            "due_at": pa.array(limit * 1_000_000, mask=limit >= NEVER).cast(pa.timestamp("us")),
            "recorded_at": timestamps(rows["recorded"]),
        }
    )


def surveys_table(extract: Extract, surveys: ColumnArrays) -> pa.Table:
    """Table `surveys`: one row per survey sent to a person."""
    rows = extract.arrived_rows(surveys, "sent", "recorded")
    return pa.table(
        {
            "account_id": extract.account_ids(rows["account"]),
            "user_id": extract.user_ids(rows["person"]),
            "kind": labels(("nps", "csat"), rows["csat"].astype(np.int64)),
            "score": pa.array(rows["score"], mask=rows["answered"] >= extract.extract_second),
            "sent_at": timestamps(rows["sent"]),
            "answered_at": extract.masked_timestamps(rows["answered"]),
            "followed_up_at": extract.masked_timestamps(rows["followed"]),
            "recorded_at": timestamps(rows["recorded"]),
        }
    )


def touchpoints_table(extract: Extract, touchpoints: ColumnArrays) -> pa.Table:
    """Table `touchpoints`: one row per contact."""
    order = np.argsort(touchpoints["occurred"], kind="stable")
    rows = {name: values[order] for name, values in touchpoints.items()}
    rows = extract.arrived_rows(rows, "occurred", "recorded")
    return pa.table(
        {
            "account_id": extract.account_ids(rows["account"]),
            "user_id": extract.user_ids(rows["person"]),
            "csm": extract.manager_names(rows["account"]),
            "kind": labels(contact.CONTACT_KINDS, rows["kind"]),
            "initiated_by": labels(("us", "customer"), rows["customer"].astype(np.int64)),
            "occurred_at": timestamps(rows["occurred"]),
            "recorded_at": timestamps(rows["recorded"]),
        }
    )


def interventions_table(extract: Extract, interventions: ColumnArrays, rng: np.random.Generator) -> pa.Table:
    """Table `interventions`: one row per intervention."""
    started = interventions["day"] * DAY + 9 * HOUR
    columns = interventions | {"started": started, "recorded": draw_arrival(rng, started)}
    columns |= {"ended": started + rng.integers(14, 60, len(started)) * DAY}
    rows = extract.arrived_rows(columns, "started", "recorded")
    return pa.table(
        {
            "account_id": extract.account_ids(rows["account"]),
            "playbook": labels(PLAYBOOKS, rows["playbook"]),
            "csm": extract.manager_names(rows["account"]),
            "started_at": timestamps(rows["started"]),
            "ended_at": extract.masked_timestamps(rows["ended"]),
            "recorded_at": timestamps(rows["recorded"]),
        }
    )


def goals_table(extract: Extract, goals: ColumnArrays) -> pa.Table:
    """Table `value_goals`: one row per goal agreed with a customer."""
    rows = extract.arrived_rows(goals, "set", "recorded")
    return pa.table(
        {
            "account_id": extract.account_ids(rows["account"]),
            "goal": labels(contact.GOAL_TEXTS, rows["goal"]),
            "set_at": timestamps(rows["set"]),
            "due_at": timestamps(rows["due"]),
            "achieved_at": extract.masked_timestamps(rows["achieved"]),
            "recorded_at": timestamps(rows["recorded"]),
        }
    )


def referrals_table(extract: Extract, referrals: ColumnArrays) -> pa.Table:
    """Table `referrals`: one row per referral."""
    rows = extract.arrived_rows(referrals, "referred", "recorded")
    closed = rows["converted"] < extract.extract_second
    reward = rows["reward"]
    return pa.table(
        {
            "account_id": extract.account_ids(rows["account"]),
            "referred_account_id": extract.account_ids(np.where(closed, rows["referred_account"], -1)),
            "referred_at": timestamps(rows["referred"]),
            "converted_at": extract.masked_timestamps(rows["converted"]),
            "reward_cost": pa.array(reward, mask=~closed | np.isnan(reward)),
            "recorded_at": timestamps(rows["recorded"]),
        }
    )


def trials_table(extract: Extract, trials: ColumnArrays) -> pa.Table:
    """Table `trials`: one row per trial."""
    rows = extract.arrived_rows(trials, "requested", "recorded")
    return pa.table(
        {
            "account_id": extract.account_ids(rows["account"]),
            "requested_at": timestamps(rows["requested"]),
            "started_at": extract.masked_timestamps(rows["started"]),
            "finished_at": extract.masked_timestamps(rows["finished"]),
            "recorded_at": timestamps(rows["recorded"]),
        }
    )


def rates_table(rng: np.random.Generator, month_starts: Ints) -> pa.Table:
    """Table `rates`: US dollars per unit of each currency; one row per currency and month."""
    months = len(month_starts)
    log_change = np.cumsum(rng.normal(0, 0.012, (len(CURRENCIES), months)), axis=1)
    log_change[0] = 0.0  # the rate of the reporting currency is always 1
    rate = np.round(LIST_RATES[:, None] * np.exp(log_change), 5)
    return pa.table(
        {
            "currency": labels(CURRENCIES, np.repeat(np.arange(len(CURRENCIES)), months)),
            "date": timestamps(np.tile(month_starts, len(CURRENCIES)) * DAY),
            "rate": pa.array(rate.ravel()),
        }
    )
