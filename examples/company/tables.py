"""The tables of the data contract, made of what was drawn, as they stand on the day of the extract.

A row that had not arrived by then is not in its table, and a fact that came later is empty.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from renewals.examples.company import contact, support
from renewals.examples.company.clock import DAY, HOUR, NEVER, NEVER_DAY, Ints, arrival
from renewals.examples.company.customers import CHANNELS, INDUSTRIES, REGIONS, Customers
from renewals.examples.company.journey import PLAYBOOKS, Columns, look_up
from renewals.examples.company.names import manager_name
from renewals.examples.company.people import TIERS
from renewals.examples.company.product import CURRENCIES, FEATURES, LIST_RATE, PLANS, PRODUCTS
from renewals.examples.company.truth import moments
from renewals.examples.company.usage import quantities
from renewals.examples.company.world import World


class Extract:
    """Turns drawn columns into a table of the contract, as known on the day of the extract."""

    def __init__(self, world: World) -> None:
        self.until = world.until * DAY
        self.people = world.people
        self.accounts = numbered("A", len(world.customers), 5)
        self.users = numbered("U", len(world.people), 6)
        managers = [manager_name(number) for number in range(int(world.customers.manager.max()) + 1)]
        self.managers = pa.array(managers).take(pa.array(world.customers.manager))

    def account(self, number: Ints) -> pa.Array:
        """The ids of accounts; -1 is none."""
        return take(self.accounts, number)

    def user(self, number: Ints) -> pa.Array:
        """The ids of people; -1 is none."""
        return take(self.users, number)

    def employer(self, person: Ints) -> pa.Array:
        """The ids of the accounts of people."""
        return take(self.accounts, self.people.account[person])

    def manager(self, account: Ints) -> pa.Array:
        """The names of the managers of accounts."""
        return take(self.managers, account)

    def moment(self, seconds: Ints) -> pa.Array:
        """Timestamps; empty where they lie after the extract."""
        return pa.array(seconds * 1_000_000, mask=seconds >= self.until).cast(pa.timestamp("us"))

    def arrived(self, columns: Columns, *moment: str) -> Columns:
        """The rows whose named moments all lie before the extract."""
        kept = np.logical_and.reduce([columns[name] < self.until for name in moment])
        return {name: values[kept] for name, values in columns.items()}


def numbered(letter: str, count: int, width: int) -> pa.Array:
    """Ids from one on: a letter and a number with leading zeros."""
    return pa.array([f"{letter}{number:0{width}d}" for number in range(1, count + 1)], pa.string())


def take(values: pa.Array, index: Ints) -> pa.Array:
    """The values at an index; empty where it is -1."""
    return values.take(pa.array(index, mask=index < 0))


def word(words: tuple[str, ...], index: Ints) -> pa.Array:
    """Words by their number."""
    return take(pa.array(words), index)


def accounts_table(extract: Extract, customers: Customers, rng: np.random.Generator) -> pa.Table:
    """One row per account."""
    created = (
        customers.bought * DAY - rng.integers(40, 150, len(customers)) * DAY + rng.integers(0, DAY, len(customers))
    )
    return pa.table(
        {
            "account_id": extract.accounts,
            "account_name": pa.array(customers.name),
            "industry": word(INDUSTRIES, customers.industry),
            "region": word(REGIONS, customers.region),
            "employee_count": pa.array(customers.employees),
            "channel": word(CHANNELS, customers.channel),
            "parent_account_id": extract.account(customers.parent),
            "csm": extract.managers,
            "created_at": extract.moment(created),
            "recorded_at": extract.moment(created + rng.integers(60, HOUR, len(customers))),
        }
    )


def contracts_table(extract: Extract, contracts: Columns, cancellations: Columns) -> pa.Table:
    """One row per contract signed before the extract."""
    contracts = contracts | {"cancelled": cancelled_at(contracts, cancellations)}
    order = np.lexsort((contracts["product"], contracts["account"], contracts["signed"]))
    signed = extract.arrived({name: values[order] for name, values in contracts.items()}, "signed")
    seats = signed["seats"]
    return pa.table(
        {
            "contract_id": numbered("C", len(seats), 6),
            "account_id": extract.account(signed["account"]),
            "product": word(PRODUCTS, signed["product"]),
            "plan": word(PLANS, signed["plan"]),
            "start_date": moments(signed["start"] * DAY),
            "end_date": moments(signed["end"] * DAY),
            "arr": pa.array(signed["arr"]),
            "currency": word(CURRENCIES, signed["currency"]),
            "seats": pa.array(seats, mask=seats < 0),
            "signed_at": extract.moment(signed["signed"]),
            "paid_at": extract.moment(signed["paid"]),
            "cancelled_at": extract.moment(signed["cancelled"]),
            "auto_renew": pa.array(signed["auto"]),
        }
    )


def cancelled_at(contracts: Columns, cancellations: Columns) -> Ints:
    """When each contract was cancelled: a cancellation names the account, the product and the end."""

    def key(columns: Columns) -> Ints:
        return np.asarray((columns["account"] * len(PRODUCTS) + columns["product"]) * NEVER_DAY + columns["end"])

    moment = look_up(key(contracts), key(cancellations), cancellations["cancelled"], NEVER)
    return np.maximum(moment, contracts["start"] * DAY)


def usage_table(extract: Extract, events: Columns, rng: np.random.Generator) -> pa.Table:
    """One row per usage event that arrived before the extract, in the order of arrival."""
    events = extract.arrived(events, "occurred", "recorded")
    seconds, amount = events["seconds"], quantities(rng, events["feature"])
    return pa.table(
        {
            "account_id": extract.employer(events["person"]),
            "user_id": extract.user(events["person"]),
            "feature": word(FEATURES, events["feature"]),
            "occurred_at": moments(events["occurred"]),
            "duration_s": pa.array(seconds.astype(np.float64), mask=seconds < 0),
            "quantity": pa.array(amount, mask=np.isnan(amount)),
            "recorded_at": moments(events["recorded"]),
        }
    )


def people_table(extract: Extract, rows: Columns, rng: np.random.Generator) -> pa.Table:
    """One row per person and position held."""
    rows = rows | {"recorded": arrival(rng, rows["start"] + rng.integers(0, DAY, len(rows["start"])))}
    rows = extract.arrived(rows, "start", "recorded")
    return pa.table(
        {
            "user_id": extract.user(rows["person"]),
            "account_id": extract.employer(rows["person"]),
            "title": pa.array(rows["title"], pa.string()),
            "role": pa.array(rows["role"], pa.string()),
            "department": pa.array(rows["department"], pa.string()),
            "tier": word(TIERS, np.where(rows["given"], rows["tier"], -1)),
            "valid_from": moments(rows["start"]),
            "valid_to": extract.moment(rows["end"]),
            "recorded_at": moments(rows["recorded"]),
        }
    )


def tickets_table(extract: Extract, tickets: Columns) -> pa.Table:
    """One row per ticket."""
    rows = extract.arrived(tickets, "opened", "recorded")
    limit = rows["limit"]
    return pa.table(
        {
            "ticket_id": numbered("T", len(limit), 7),
            "account_id": extract.account(rows["account"]),
            "user_id": extract.user(rows["person"]),
            "kind": word(support.KINDS, rows["kind"]),
            "severity": word(support.SEVERITIES, rows["severity"]),
            "opened_at": moments(rows["opened"]),
            "first_response_at": extract.moment(rows["answered"]),
            "resolved_at": extract.moment(rows["solved"]),
            "reopened_at": extract.moment(rows["reopened"]),
            "escalated_at": extract.moment(rows["escalated"]),
            "due_at": pa.array(limit * 1_000_000, mask=limit >= NEVER).cast(pa.timestamp("us")),
            "recorded_at": moments(rows["recorded"]),
        }
    )


def surveys_table(extract: Extract, surveys: Columns) -> pa.Table:
    """One row per survey sent to a person."""
    rows = extract.arrived(surveys, "sent", "recorded")
    return pa.table(
        {
            "account_id": extract.account(rows["account"]),
            "user_id": extract.user(rows["person"]),
            "kind": word(("nps", "csat"), rows["csat"].astype(np.int64)),
            "score": pa.array(rows["score"], mask=rows["answered"] >= extract.until),
            "sent_at": moments(rows["sent"]),
            "answered_at": extract.moment(rows["answered"]),
            "followed_up_at": extract.moment(rows["followed"]),
            "recorded_at": moments(rows["recorded"]),
        }
    )


def touchpoints_table(extract: Extract, touchpoints: Columns) -> pa.Table:
    """One row per contact."""
    order = np.argsort(touchpoints["occurred"], kind="stable")
    rows = {name: values[order] for name, values in touchpoints.items()}
    rows = extract.arrived(rows, "occurred", "recorded")
    return pa.table(
        {
            "account_id": extract.account(rows["account"]),
            "user_id": extract.user(rows["person"]),
            "csm": extract.manager(rows["account"]),
            "kind": word(contact.KINDS, rows["kind"]),
            "initiated_by": word(("us", "customer"), rows["customer"].astype(np.int64)),
            "occurred_at": moments(rows["occurred"]),
            "recorded_at": moments(rows["recorded"]),
        }
    )


def interventions_table(extract: Extract, interventions: Columns, rng: np.random.Generator) -> pa.Table:
    """One row per intervention."""
    started = interventions["day"] * DAY + 9 * HOUR
    columns = interventions | {"started": started, "recorded": arrival(rng, started)}
    columns |= {"ended": started + rng.integers(14, 60, len(started)) * DAY}
    rows = extract.arrived(columns, "started", "recorded")
    return pa.table(
        {
            "account_id": extract.account(rows["account"]),
            "playbook": word(PLAYBOOKS, rows["playbook"]),
            "csm": extract.manager(rows["account"]),
            "started_at": moments(rows["started"]),
            "ended_at": extract.moment(rows["ended"]),
            "recorded_at": moments(rows["recorded"]),
        }
    )


def goals_table(extract: Extract, goals: Columns) -> pa.Table:
    """One row per goal agreed with a customer."""
    rows = extract.arrived(goals, "set", "recorded")
    return pa.table(
        {
            "account_id": extract.account(rows["account"]),
            "goal": word(contact.GOALS, rows["goal"]),
            "set_at": moments(rows["set"]),
            "due_at": moments(rows["due"]),
            "achieved_at": extract.moment(rows["achieved"]),
            "recorded_at": moments(rows["recorded"]),
        }
    )


def referrals_table(extract: Extract, referrals: Columns) -> pa.Table:
    """One row per referral."""
    rows = extract.arrived(referrals, "referred", "recorded")
    closed = rows["converted"] < extract.until
    reward = rows["reward"]
    return pa.table(
        {
            "account_id": extract.account(rows["account"]),
            "referred_account_id": extract.account(np.where(closed, rows["other"], -1)),
            "referred_at": moments(rows["referred"]),
            "converted_at": extract.moment(rows["converted"]),
            "reward_cost": pa.array(reward, mask=~closed | np.isnan(reward)),
            "recorded_at": moments(rows["recorded"]),
        }
    )


def trials_table(extract: Extract, trials: Columns) -> pa.Table:
    """One row per trial."""
    rows = extract.arrived(trials, "requested", "recorded")
    return pa.table(
        {
            "account_id": extract.account(rows["account"]),
            "requested_at": moments(rows["requested"]),
            "started_at": extract.moment(rows["started"]),
            "finished_at": extract.moment(rows["finished"]),
            "recorded_at": moments(rows["recorded"]),
        }
    )


def rates_table(rng: np.random.Generator, month_starts: Ints) -> pa.Table:
    """US dollars for one unit of each currency; one row per currency and month."""
    months = len(month_starts)
    moved = np.cumsum(rng.normal(0, 0.012, (len(CURRENCIES), months)), axis=1)
    moved[0] = 0.0  # the reporting currency is worth one of itself
    rate = np.round(LIST_RATE[:, None] * np.exp(moved), 5)
    return pa.table(
        {
            "currency": word(CURRENCIES, np.repeat(np.arange(len(CURRENCIES)), months)),
            "date": moments(np.tile(month_starts, len(CURRENCIES)) * DAY),
            "rate": pa.array(rate.ravel()),
        }
    )
