"""Data contract of each table: columns, types, constraints, and the known time of each value.

A table is declared as a class with the table's name. The docstring defines a row and names the pitfalls; each column
has its meaning and its constraints. A row that breaks a rule is quarantined with the rule's message; `pandera` then
asserts, from the same declarations, that the remaining rows break none.

`Column.known` defines when an observation that sees the row may see the value:

* `None`: with the row. Plans (`due_at`, `end_date`, `valid_from`) belong here: a plan is known when it is made.
* `"itself"`: the time of a later fact written into an earlier row; invisible before that time.
* another column: together with that fact. If that column is null, the known time of the value cannot be determined,
  and it is never visible; with `else_with_row` it is visible with the row.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal

import ibis
import ibis.expr.datatypes as dt
import ibis.expr.types as ir

from renewals.features.policy import CONTACT_KINDS, CONTRACT_KINDS, SEVERITIES, TICKET_KINDS, TIERS

if TYPE_CHECKING:
    import pandera.ibis as pa

ID: Literal["id"] = "id"
"""A string or an integer, stored as received; all columns that identify the same thing have one type."""
TEXT = dt.string
TIME = dt.Timestamp(scale=6)
"""A UTC instant without a time zone, to the microsecond."""
MONEY = dt.float64
NUMBER = dt.float64
INTEGER = dt.int64
FLAG = dt.boolean

CLOCK_SKEW = timedelta(days=1)
"""Tolerance for clocks that differ and rounded days: a fact up to this long before its row's start is accepted."""
FIRST_YEAR, LAST_YEAR = 1900, 9999

TABLES: dict[str, TableSpec] = {}
"""All tables by name, in the order of the data contract."""


@dataclass(frozen=True)
class Rule:
    """Condition that every row must satisfy, named after its violation; a row for which `holds` is null passes."""

    name: str
    column: str
    message: str
    holds: Callable[[ir.Table], ir.BooleanValue]

    def is_broken(self, rows: ir.Table) -> ir.BooleanValue:
        """True for rows that break the rule."""
        return ~self.holds(rows).fill_null(True)


@dataclass(frozen=True)
class Constraint:
    """Condition on the values of a column; `{column}` in its message is replaced by the column's name."""

    name: str
    message: str
    holds: Callable[[ir.Value], ir.BooleanValue]

    def rule_for(self, column: str) -> Rule:
        """The constraint as a rule on one column."""
        return Rule(
            f"{column}_{self.name}", column, self.message.format(column=column), lambda rows: self.holds(rows[column])
        )


def _is_empty_text(value: ir.Value) -> ir.BooleanValue:
    return value == "" if value.type().is_string() else ibis.literal(False)


NOT_MISSING = Constraint("missing", "{column} is missing", lambda value: value.notnull())
NOT_EMPTY = Constraint("empty", "{column} is empty", lambda value: value.isnull() | ~_is_empty_text(value))
FINITE = Constraint("not_finite", "{column} is not a finite number", lambda value: ~(value.isnan() | value.isinf()))
NOT_NEGATIVE = Constraint("negative", "{column} is negative", lambda value: value >= 0)
POSITIVE = Constraint("not_above_zero", "{column} is zero or negative", lambda value: value > 0)
MONEY_RANGE = Constraint(
    "too_large",
    "{column} is too large for an amount of money (1e15 or more)",
    lambda value: (value.abs() < 1e15) | ~FINITE.holds(value),
)
"""Money is summed in 64-bit cents: one absurd amount would fail the whole run. Values that are not finite have a rule
of their own."""
PLAUSIBLE_YEAR = Constraint(
    "implausible",
    f"{{column}} is before {FIRST_YEAR} or after {LAST_YEAR}",
    lambda value: (value >= datetime(FIRST_YEAR, 1, 1)) & (value <= datetime(LAST_YEAR, 12, 31, 23, 59, 59)),
)
NOT_DAY_ZERO = Constraint(
    "zero",
    "{column} is the zero date of a computer (1970-01-01 or 1900-01-01), not a real date",
    lambda value: ~(_is_near(value, datetime(1970, 1, 1)) | _is_near(value, datetime(1900, 1, 1))),
)
"""Exports write 0 for "not cancelled", which becomes such a day in the exporter's time zone."""


def _is_near(value: ir.Value, instant: datetime) -> ir.BooleanValue:
    return (value >= instant - timedelta(hours=14)) & (value <= instant + timedelta(hours=14))


def one_of(*values: str) -> Constraint:
    """Constraint: the value is one of `values`. `pipelines/validation/advice.py` reads them from the message."""
    return Constraint("unlisted", f"{{column}} is none of {', '.join(values)}", lambda value: value.isin(values))


def not_after(instant: datetime) -> Constraint:
    """Constraint: the value is not later than `instant`, the time of the extract."""
    return Constraint(
        "after_extract",
        f"{{column}} is after the extract of {instant:%Y-%m-%d %H:%M:%S}",
        lambda value: value <= instant,
    )


@dataclass(frozen=True)
class ColumnSpec:
    """Specification of one column: type, meaning, constraints, and the time when it becomes known."""

    type: dt.DataType | Literal["id"]
    meaning: str
    required: bool = False
    """True if the table must have the column."""
    may_be_null: bool = False
    """For a required column, true if a row may have no value."""
    known: str | None = None
    else_with_row: bool = False
    """For a value known with another column, true if it is known with the row where that column is null."""
    constraints: tuple[Constraint, ...] = ()
    entity: str = ""
    """For an id, the kind of thing it identifies: `account`, `user`, `contract`, `ticket` …; ids of one kind have one
    type."""
    may_be_future: bool = False
    """For a time, true if it may be later than the day it was recorded: a plan or a notice."""
    calendar_day: bool = False
    """For a time, true if it is a day of the calendar, stored as its midnight, and not an instant."""
    name: str = ""

    @property
    def nullable(self) -> bool:
        """True if a row may have no value."""
        return self.may_be_null or not self.required

    @property
    def is_time(self) -> bool:
        """True if the column contains instants."""
        return self.type == TIME

    def all_constraints(self) -> tuple[Constraint, ...]:
        """Constraints of the type, followed by the column's own."""
        present = () if self.nullable else (NOT_MISSING,)
        not_empty = (NOT_EMPTY,) if self.required and self.type in (TEXT, ID) else ()
        finite = (FINITE,) if self.type == dt.float64 else ()
        plausible = (PLAUSIBLE_YEAR,) if self.is_time else ()
        zero = (NOT_DAY_ZERO,) if self.is_time and self.known == "itself" else ()
        return present + not_empty + finite + plausible + zero + self.constraints


@dataclass(frozen=True)
class TableSpec:
    """Data contract of one table."""

    name: str
    meaning: str
    required: bool
    columns: Mapping[str, ColumnSpec]
    event_time: tuple[str, ...]
    """Columns of the event time: the first of these that is not null."""
    known_time: tuple[str, ...]
    """Columns of the known time: the first of these that is not null; if all are null, the row is always known."""
    known_rule: Callable[[ir.Table], ir.TimestampValue] | None = field(default=None, repr=False)
    """Computes the known time from these columns where the first one that is not null does not decide alone."""
    key: tuple[str, ...] = ()
    """Columns that identify a row; empty if none do."""
    versions: tuple[str, ...] = ()
    """Columns of the key that tell versions of one thing apart; the others identify the thing."""
    row_id: str = ""
    """Column that alone decides, where it has a value, if two rows are the same row delivered twice."""
    logs_actions: bool = False
    """True if our people log their own actions in it: no model may read all of it (domain M5)."""
    row_rules: tuple[Rule, ...] = field(default=(), repr=False)

    def known_at(self, rows: ir.Table) -> ir.TimestampValue:
        """Time from which each row is known; null if it was always known.

        `rows` must be the whole table, because the known time of a row may depend on others; columns may be missing.
        """
        if self.known_rule is not None:
            return self.known_rule(rows)
        columns = [rows[name] for name in self.known_time if name in rows.columns]
        return ibis.coalesce(*columns) if len(columns) > 1 else columns[0]

    def rules(self, extracted_at: datetime | None = None) -> Iterator[Rule]:
        """Yield all rules that apply to a single row, in the order in which reasons are listed."""
        for column in self.columns.values():
            for limit in column.all_constraints():
                yield limit.rule_for(column.name)
        yield from self.row_rules
        if extracted_at is not None:
            for column in self.columns.values():
                if column.is_time and not column.may_be_future:
                    yield not_after(extracted_at).rule_for(column.name)

    def schema(self, ids: Mapping[str, dt.DataType], extracted_at: datetime | None = None) -> pa.DataFrameSchema:
        """Pandera schema of the clean table: types, rules, and one row per key.

        `ids` contains the type of each id column, which depends on the input.
        """
        import pandera.ibis as pa

        types = {c.name: ids[c.name] if c.type == ID else c.type for c in self.columns.values()}
        columns = {name: pa.Column(kind, nullable=True) for name, kind in types.items()}
        rules = list(self.rules(extracted_at))
        checks = [
            pa.Check(lambda data: _passes_all_rules(data.table, rules), name="rules", error="all rules are satisfied")
        ]
        if self.key:
            checks.append(pa.Check(self._has_unique_key, name="key", error=f"one row per {', '.join(self.key)}"))
        return pa.DataFrameSchema(columns, checks=checks, name=self.name)

    def _has_unique_key(self, data: pa.IbisData) -> ir.BooleanScalar:
        rows = data.table
        return rows.count() == ibis.struct({name: rows[name] for name in self.key}).nunique()


def _passes_all_rules(rows: ir.Table, rules: Iterable[Rule]) -> ir.BooleanColumn:
    """True for rows that satisfy every rule, as one column, so that pandera runs one query."""
    return ~ibis.or_(*(rule.is_broken(rows) for rule in rules))


def table(
    *,
    event_time: tuple[str, ...],
    known_time: tuple[str, ...] | None = None,
    known_rule: Callable[[ir.Table], ir.TimestampValue] | None = None,
    key: tuple[str, ...] = (),
    versions: tuple[str, ...] = (),
    row_id: str = "",
    required: bool = False,
    logs_actions: bool = False,
) -> Callable[[type], TableSpec]:
    """Class decorator: turn a class of columns and rules into a `TableSpec` of the same name, and add it to `TABLES`.

    Without `known_time` a row is known from `recorded_at`, or else from its event time. The columns `versions` are
    added to the key.
    """

    def read(declared: type) -> TableSpec:
        parts = vars(declared)
        spec = TableSpec(
            name=declared.__name__,
            meaning=inspect.getdoc(declared) or "",
            required=required,
            columns={name: replace(part, name=name) for name, part in parts.items() if isinstance(part, ColumnSpec)},
            event_time=event_time,
            known_time=known_time or ("recorded_at", *event_time),
            known_rule=known_rule,
            key=(*key, *versions),
            versions=versions,
            row_id=row_id,
            logs_actions=logs_actions,
            row_rules=tuple(replace(part, name=name) for name, part in parts.items() if isinstance(part, Rule)),
        )
        TABLES[spec.name] = spec
        return spec

    return read


def not_before(later: str, earlier: str, tolerance: timedelta = CLOCK_SKEW) -> Rule:
    """Rule: `later` is not before `earlier`, except by `tolerance`."""
    message = f"{later} is before {earlier}" + (" by more than a day" if tolerance else "")
    bound = ibis.interval(seconds=int(tolerance.total_seconds()))
    return Rule(
        "",
        later,
        message,
        lambda rows: rows[later] + bound >= rows[earlier] if tolerance else rows[later] >= rows[earlier],
    )


def account_column() -> ColumnSpec:
    """Column with the id of the row's account."""
    return ColumnSpec(ID, "The account of the row; must be in `accounts`.", required=True, entity="account")


def user_column(meaning: str, required: bool = False) -> ColumnSpec:
    """Column with the id of a person at the customer."""
    return ColumnSpec(ID, meaning, required=required, entity="user")


def recorded_at_column() -> ColumnSpec:
    """Column with the time when the row reached the company."""
    return ColumnSpec(TIME, "Time when the row reached the company's systems; null: at the time of the event.")


def valid_from_column() -> ColumnSpec:
    """Column with the time from which a version of a row applies."""
    return ColumnSpec(
        TIME,
        "Time from which this version applies; null: from when it is known. The first version applies from ever.",
        may_be_future=True,
    )


def deleted_at_column() -> ColumnSpec:
    """Column with the time when the row was deleted at the source."""
    return ColumnSpec(TIME, "Time when it was deleted at the source; it is there until then.", known="itself")


VERSIONS = ("recorded_at", "valid_from")
"""Columns that tell versions of one thing apart."""


@table(required=True, event_time=("created_at",), key=("account_id",), versions=VERSIONS)
class accounts:
    """One row per version of a customer account.

    Pitfalls: several rows an account, told apart by `recorded_at` and `valid_from`, are its versions: what it was as
    known on a day. With a single row each, the table contains the present state: `industry`, `csm` and
    `employee_count` are the current values, and earlier ones were not recorded. An account without `created_at` and
    `recorded_at` counts as always known, since its contracts determine when it is observed. Only
    `merged_into_account_id` makes another account the heir of its contracts; a parent inherits none.
    """

    account_id = ColumnSpec(ID, "The account.", required=True, entity="account")
    account_name = ColumnSpec(TEXT, "Name of the account; shown as written, never interpreted.")
    industry = ColumnSpec(TEXT, "Industry of the account.")
    region = ColumnSpec(TEXT, "Region of the account.")
    employee_count = ColumnSpec(INTEGER, "Number of employees.", constraints=(NOT_NEGATIVE,))
    channel = ColumnSpec(TEXT, "Sales channel through which it was won.")
    parent_account_id = ColumnSpec(ID, "Parent account: hierarchy only, it inherits no contract.", entity="account")
    csm = ColumnSpec(TEXT, "Customer-success manager of the account.")
    sales_owner = ColumnSpec(TEXT, "Salesperson of the account.")
    merged_into_account_id = ColumnSpec(
        ID,
        "Account it was merged into, which inherits its contracts (R10); must be in `accounts`.",
        known="merged_at",
        else_with_row=True,
        entity="account",
    )
    merged_at = ColumnSpec(TIME, "Time of the merger; may be announced.", known="itself", may_be_future=True)
    created_at = ColumnSpec(TIME, "Time when it became an account.")
    deleted_at = deleted_at_column()
    recorded_at = recorded_at_column()
    valid_from = valid_from_column()

    merged_into_itself = Rule(
        "",
        "merged_into_account_id",
        "merged_into_account_id is the account itself",
        lambda r: r.merged_into_account_id != r.account_id,
    )


def _contract_known_at(contracts: ir.Table) -> ir.TimestampValue:
    """The later of `recorded_at` and `signed_at`, or `start_date` without both.

    Where other contracts were signed by the time it was recorded, an unsigned one counts only once it has started.
    """
    signed, recorded = (
        contracts[name] if name in contracts.columns else ibis.null("timestamp")
        for name in ("signed_at", "recorded_at")
    )
    signed = (recorded > signed).ifelse(recorded, signed)
    first_signed = contracts.select(_signed=signed).agg(_first=ibis._._signed.min()).as_scalar()
    is_draft = (first_signed <= recorded) & (contracts.start_date > recorded)
    return ibis.coalesce(signed, is_draft.ifelse(contracts.start_date, recorded), contracts.start_date)


@table(
    required=True,
    event_time=("start_date",),
    known_time=("recorded_at", "signed_at", "start_date"),
    known_rule=_contract_known_at,
    key=("contract_id", "start_date"),
    versions=VERSIONS,
)
class contracts:
    """One row per version of a term of a product bought by an account: `[start_date, end_date)`.

    Pitfalls: a follow-on term is signed before it starts, so its known time is `signed_at`; without one, the start.
    Several rows a term, told apart by `recorded_at` and `valid_from`, are its versions: an amendment changes nothing
    before it. One `contract_id` may have several terms, as a subscription has. `paid_at`, `cancelled_at`,
    `notice_given_at` and the reason of a loss are written into the row months after it was made. A cancelled term keeps
    its nominal `end_date`: only `cancelled_at` shows that it ended early, and a term cancelled by its first day never
    ran. A term without `end_date` rolls on.
    """

    contract_id = ColumnSpec(ID, "The term.", required=True, entity="contract")
    account_id = account_column()
    product = ColumnSpec(TEXT, "Product bought; null is `core`. Each product has its own terms.")
    plan = ColumnSpec(TEXT, "The plan or edition.")
    start_date = ColumnSpec(TIME, "First day of the term.", required=True, may_be_future=True, calendar_day=True)
    end_date = ColumnSpec(
        TIME,
        "First day after the term; the day it is due. Null: it has no end (R15).",
        required=True,
        may_be_null=True,
        may_be_future=True,
        calendar_day=True,
    )
    arr = ColumnSpec(
        MONEY,
        "Annual recurring revenue, in `currency`; null: unknown, as before the first copy of dated extracts.",
        required=True,
        may_be_null=True,
        constraints=(NOT_NEGATIVE, MONEY_RANGE),
    )
    currency = ColumnSpec(TEXT, "Currency of `arr`; null is the reporting currency.")
    seats = ColumnSpec(INTEGER, "Number of seats bought.", constraints=(NOT_NEGATIVE,))
    kind = ColumnSpec(
        TEXT,
        "Kind of the row; null is a subscription. Trials, pilots and pauses are no renewals (R10).",
        constraints=(one_of(*CONTRACT_KINDS),),
    )
    subscription_id = ColumnSpec(
        ID, "Subscription of which this is a term; its terms follow each other (R10).", entity="subscription"
    )
    order_id = ColumnSpec(ID, "Order with which it was bought; its rows follow each other (R10).", entity="order")
    replaces_contract_id = ColumnSpec(ID, "The contract that it replaces (R10).", entity="contract")
    signed_at = ColumnSpec(TIME, "Time of signature: the row is known from then on.")
    paid_at = ColumnSpec(TIME, "Time of payment (R1).", known="itself")
    cancelled_at = ColumnSpec(
        TIME, "Time when it ended early; may be in the future if notice was given.", known="itself", may_be_future=True
    )
    auto_renew = ColumnSpec(FLAG, "True if it renews unless cancelled.")
    notice_days = ColumnSpec(
        INTEGER, "Days before the end by which notice must be given (R12).", constraints=(NOT_NEGATIVE,)
    )
    notice_given_at = ColumnSpec(
        TIME, "Time when the customer gave notice: it stays to the end and does not renew.", known="itself"
    )
    loss_reason = ColumnSpec(TEXT, "Why it was not renewed (R13).", known="loss_recorded_at", else_with_row=True)
    lost_to = ColumnSpec(TEXT, "Competitor it was lost to (R13).", known="loss_recorded_at", else_with_row=True)
    loss_recorded_at = ColumnSpec(
        TIME, "Time when the reason of the loss was recorded; null: with the row.", known="itself"
    )
    sold_by = ColumnSpec(TEXT, "Salesperson who sold it.")
    go_live_at = ColumnSpec(
        TIME, "Time when the customer went live (J6); may be planned.", known="itself", may_be_future=True
    )
    deleted_at = deleted_at_column()
    recorded_at = recorded_at_column()
    valid_from = valid_from_column()

    ends_before_start = Rule("", "end_date", "end_date is before start_date", lambda r: r.end_date >= r.start_date)
    ends_on_first_day = Rule(
        "",
        "end_date",
        "end_date is the day of start_date (where it is the last day of the term, set source.inclusive_ends)",
        lambda r: r.end_date != r.start_date,
    )


@table(required=True, event_time=("occurred_at",), row_id="event_id")
class usage_events:
    """One row per use of a feature of the product.

    Pitfalls: a delivery sent twice causes exact duplicates that contain no new information, and one of each is kept;
    times rounded to the day cause equal rows of different uses, and these are counted
    (`pipelines/validation/repeated_events.py` distinguishes the two). Phones and gateways send late, so an event of
    March may be known in April only. A clock that runs ahead dates an event after its arrival.
    """

    account_id = account_column()
    user_id = user_column("The user; null: an unnamed user or a machine.")
    feature = ColumnSpec(TEXT, "Feature of the product that was used.", required=True)
    occurred_at = ColumnSpec(TIME, "Time of the use.", required=True)
    duration_s = ColumnSpec(NUMBER, "Duration of the use, in seconds.", constraints=(NOT_NEGATIVE,))
    quantity = ColumnSpec(NUMBER, "Number of uses, if a row represents several.", constraints=(NOT_NEGATIVE,))
    recorded_at = recorded_at_column()
    event_id = ColumnSpec(ID, "The event; if given, it alone decides which rows are duplicates.", entity="event")


@table(event_time=("valid_from",), key=("account_id", "user_id"), versions=("valid_from", "recorded_at"))
class people:
    """One row per period in which a person had one title, role and tier; several per person.

    Pitfalls: the row of a period is written again when it ends, so the newest row known at a date counts. `valid_to` is
    often filled in when somebody leaves, long after the row was made. A person without dates counts as always known.
    """

    user_id = user_column("The person.", required=True)
    account_id = account_column()
    title = ColumnSpec(TEXT, "Job title.")
    role = ColumnSpec(TEXT, "Job role.")
    department = ColumnSpec(TEXT, "Department of the person.")
    tier = ColumnSpec(
        TEXT,
        "S: decision maker, A: head of a department, B: key staff (S1); null: graded from title and role.",
        constraints=(one_of(*TIERS),),
    )
    valid_from = ColumnSpec(TIME, "Start of the period.", may_be_future=True)
    valid_to = ColumnSpec(TIME, "End of the period; null: it has not ended.", known="itself", may_be_future=True)
    recorded_at = recorded_at_column()

    ends_before_start = not_before("valid_to", "valid_from", tolerance=timedelta(0))


@table(event_time=("opened_at",), key=("ticket_id",))
class tickets:
    """One row per support ticket, in its state at the extract.

    Pitfall: first response, resolution, reopening and escalation are written into the row of a ticket opened long
    before, so a ticket that looks solved may have been open at the observation date.
    """

    ticket_id = ColumnSpec(ID, "The ticket.", required=True, entity="ticket")
    account_id = account_column()
    user_id = user_column("Person who opened it.")
    kind = ColumnSpec(
        TEXT, "Bug, feature request or question (T1).", required=True, constraints=(one_of(*TICKET_KINDS),)
    )
    severity = ColumnSpec(TEXT, "Severity (T1).", required=True, constraints=(one_of(*SEVERITIES),))
    opened_at = ColumnSpec(TIME, "Time of opening.", required=True)
    first_response_at = ColumnSpec(TIME, "Time of the first response.", known="itself")
    resolved_at = ColumnSpec(TIME, "Time of the resolution.", known="itself")
    reopened_at = ColumnSpec(TIME, "Time of the reopening.", known="itself")
    escalated_at = ColumnSpec(TIME, "Time of the escalation.", known="itself")
    due_at = ColumnSpec(TIME, "Promised time of resolution; null: the configured limit applies.", may_be_future=True)
    recorded_at = recorded_at_column()

    answered_before_opening = not_before("first_response_at", "opened_at")
    resolved_before_opening = not_before("resolved_at", "opened_at")
    reopened_before_opening = not_before("reopened_at", "opened_at")
    escalated_before_opening = not_before("escalated_at", "opened_at")


@table(event_time=("sent_at", "answered_at"), logs_actions=True)
class surveys:
    """One row per survey sent to, or answered by, a person.

    Pitfall: the row is made when the survey is sent, and the score comes later or never. A missing answer is
    informative, so keep rows without a score.
    """

    account_id = account_column()
    user_id = user_column("Person who received the survey.")
    kind = ColumnSpec(
        TEXT,
        "Kind of survey: recommendation (nps) or satisfaction (csat).",
        required=True,
        constraints=(one_of("nps", "csat"),),
    )
    score = ColumnSpec(NUMBER, "The answer; 0 to 10 for nps.", known="answered_at")
    sent_at = ColumnSpec(TIME, "Time of sending.")
    answered_at = ColumnSpec(TIME, "Time of the answer.", known="itself")
    followed_up_at = ColumnSpec(TIME, "Time when one of our people followed up the answer.", known="itself")
    recorded_at = recorded_at_column()

    without_a_time = Rule(
        "",
        "sent_at",
        "sent_at, answered_at and recorded_at are all missing: at least one is needed to determine the known time",
        lambda r: r.sent_at.notnull() | r.answered_at.notnull() | r.recorded_at.notnull(),
    )
    nps_outside_0_to_10 = Rule(
        "",
        "score",
        "score of an nps survey is not within 0 to 10",
        lambda r: (r.kind != "nps") | r.score.between(0, 10),
    )
    answered_before_sending = not_before("answered_at", "sent_at")
    followed_up_before_answer = not_before("followed_up_at", "answered_at")


@table(event_time=("occurred_at",), logs_actions=True)
class touchpoints:
    """One row per contact with a person at the customer.

    Pitfall: managers log their own contacts, often late and many at once, and a contact that nobody logged is missing.
    """

    account_id = account_column()
    user_id = user_column("Person at the customer.")
    csm = ColumnSpec(TEXT, "Customer-success manager who had the contact.")
    kind = ColumnSpec(
        TEXT,
        "Kind of contact.",
        required=True,
        constraints=(one_of(*CONTACT_KINDS),),
    )
    initiated_by = ColumnSpec(TEXT, "Side that initiated it.", constraints=(one_of("us", "customer"),))
    occurred_at = ColumnSpec(TIME, "Time of the contact.", required=True)
    recorded_at = recorded_at_column()


@table(event_time=("started_at",), logs_actions=True)
class interventions:
    """One row per playbook carried out on an account.

    Pitfall: selection. An account is treated because it looked at risk, so treated accounts churn more although the
    treatment helps. Never interpret an intervention as a cause (M1).
    """

    account_id = account_column()
    playbook = ColumnSpec(TEXT, "Playbook that was run.", required=True)
    csm = ColumnSpec(TEXT, "Customer-success manager who ran it.")
    started_at = ColumnSpec(TIME, "Time when it started.", required=True)
    ended_at = ColumnSpec(TIME, "Time when it ended.", known="itself")
    recorded_at = recorded_at_column()

    ends_before_start = not_before("ended_at", "started_at")


@table(event_time=("set_at",), logs_actions=True)
class value_goals:
    """One row per goal agreed with a customer (J4).

    Pitfall: `achieved_at` is written into the row of a goal agreed long before.
    """

    account_id = account_column()
    goal = ColumnSpec(TEXT, "Goal that was agreed.", required=True)
    set_at = ColumnSpec(TIME, "Time of the agreement.", required=True)
    due_at = ColumnSpec(TIME, "Time by which it should be reached.", may_be_future=True)
    achieved_at = ColumnSpec(TIME, "Time when it was reached.", known="itself")
    recorded_at = recorded_at_column()

    achieved_before_setting = not_before("achieved_at", "set_at")


@table(event_time=("referred_at",))
class referrals:
    """One row per account that a customer recommended us to.

    Pitfall: the reward is granted when the referred company buys, so the cost of a referral that has not converted yet
    would reveal that it is going to. It becomes known with `converted_at`.
    """

    account_id = ColumnSpec(ID, "The referring account; must be in `accounts`.", required=True, entity="account")
    referred_account_id = ColumnSpec(ID, "The referred account; need not be a customer yet.", entity="account")
    referred_at = ColumnSpec(TIME, "Time of the referral.", required=True)
    converted_at = ColumnSpec(TIME, "Time when the referred company bought.", known="itself")
    reward_cost = ColumnSpec(
        MONEY,
        "Cost of the reward, in the reporting currency.",
        known="converted_at",
        constraints=(NOT_NEGATIVE, MONEY_RANGE),
    )
    recorded_at = recorded_at_column()

    converted_before_referral = not_before("converted_at", "referred_at")


@table(event_time=("requested_at",))
class trials:
    """One row per trial of the product that an account requested (K2).

    Pitfall: the start and the finish are written into the row of the request.
    """

    account_id = account_column()
    requested_at = ColumnSpec(TIME, "Time of the request.", required=True)
    started_at = ColumnSpec(TIME, "Time when it started.", known="itself")
    finished_at = ColumnSpec(TIME, "Time when it was finished.", known="itself")
    recorded_at = recorded_at_column()

    started_before_request = not_before("started_at", "requested_at")
    finished_before_start = not_before("finished_at", "started_at")


@table(event_time=("date",), known_time=("date",), key=("currency", "date"))
class rates:
    """One row per currency and day: units of the reporting currency for one of `currency`.

    Pitfall: weekends and new currencies have no rate; the newest known one counts. Without this table all amounts must
    be in one currency.
    """

    currency = ColumnSpec(TEXT, "The currency.", required=True)
    date = ColumnSpec(TIME, "First day on which the rate applies.", required=True, calendar_day=True)
    rate = ColumnSpec(
        NUMBER, "Units of the reporting currency for one unit of `currency`.", required=True, constraints=(POSITIVE,)
    )
