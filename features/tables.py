"""The contract of each table, in words: columns, types, limits, and when each becomes known.

A table is a class with its name. Its docstring says what a row is and how the table deceives; each
column says what it means and what it may hold. A row that breaks a rule is set aside with the rule's
words; `pandera` then asserts on what is left that no rule is broken, from the same declarations.

`Column.known` says when a value may be seen by an observation that may see its row:

* `None`: with the row. Plans (`due_at`, `end_date`, `valid_from`) belong here: a plan is known when it is made.
* `"itself"`: a later fact inside an earlier row. It is its own time, and unseen before it.
* another column: together with that fact. Where that column is null nobody can say when the value
  became known, and it is never seen.
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

from renewals.features.policy import CONTACT_KINDS, SEVERITIES, TICKET_KINDS, TIERS

if TYPE_CHECKING:
    import pandera.ibis as pa

ID: Literal["id"] = "id"
"""A string or a whole number, kept as given; all columns that name the same thing have one type."""
TEXT = dt.string
TIME = dt.Timestamp(scale=6)
"""A UTC instant without a zone, to the microsecond."""
MONEY = dt.float64
NUMBER = dt.float64
INTEGER = dt.int64
FLAG = dt.boolean

CLOCK_SKEW = timedelta(days=1)
"""Clocks differ and days are rounded: a fact up to this much before its row began is let through."""
FIRST_YEAR, LAST_YEAR = 1900, 9999

TABLES: dict[str, TableSpec] = {}
"""Every table by name, in the order of the data contract."""


@dataclass(frozen=True)
class Rule:
    """What every row must keep, named after its breach. Where `holds` has no answer (a null) the row keeps it."""

    name: str
    column: str
    message: str
    holds: Callable[[ir.Table], ir.BooleanValue]

    def broken(self, rows: ir.Table) -> ir.BooleanValue:
        """Whether a row breaks the rule."""
        return ~self.holds(rows).fill_null(True)


@dataclass(frozen=True)
class Constraint:
    """What the values of a column must keep; `{column}` in its words is the column's name."""

    name: str
    message: str
    holds: Callable[[ir.Value], ir.BooleanValue]

    def rule_for(self, column: str) -> Rule:
        """The limit as a rule on one column."""
        return Rule(
            f"{column}_{self.name}", column, self.message.format(column=column), lambda rows: self.holds(rows[column])
        )


def _is_empty_text(value: ir.Value) -> ir.BooleanValue:
    return value == "" if value.type().is_string() else ibis.literal(False)


NOT_MISSING = Constraint("missing", "{column} is missing", lambda value: value.notnull())
NOT_EMPTY = Constraint("empty", "{column} is an empty text", lambda value: value.isnull() | ~_is_empty_text(value))
FINITE = Constraint("not_finite", "{column} is not a finite number", lambda value: ~(value.isnan() | value.isinf()))
NOT_NEGATIVE = Constraint("negative", "{column} is negative", lambda value: value >= 0)
POSITIVE = Constraint("not_above_zero", "{column} is zero or negative", lambda value: value > 0)
MONEY_RANGE = Constraint(
    "too_large",
    "{column} is larger than any sum of money (1e15 or more)",
    lambda value: (value.abs() < 1e15) | ~FINITE.holds(value),
)
"""Money is added up in whole cents of 64 bits: one absurd amount would end the run for everybody.
What is no finite number has a rule of its own."""
PLAUSIBLE_YEAR = Constraint(
    "implausible",
    f"{{column}} lies before {FIRST_YEAR} or after {LAST_YEAR}",
    lambda value: (value >= datetime(FIRST_YEAR, 1, 1)) & (value <= datetime(LAST_YEAR, 12, 31, 23, 59, 59)),
)
NOT_DAY_ZERO = Constraint(
    "zero",
    "{column} lies at the day zero of a computer's clock (1970-01-01 or 1900-01-01)",
    lambda value: ~(_is_near(value, datetime(1970, 1, 1)) | _is_near(value, datetime(1900, 1, 1))),
)
"""Exports write 0 for "not cancelled", which becomes such a day, in the zone of whoever wrote it."""


def _is_near(value: ir.Value, instant: datetime) -> ir.BooleanValue:
    return (value >= instant - timedelta(hours=14)) & (value <= instant + timedelta(hours=14))


def one_of(*values: str) -> Constraint:
    """The value is on a closed list."""
    return Constraint("unlisted", f"{{column}} is none of {', '.join(values)}", lambda value: value.isin(values))


def not_after(instant: datetime) -> Constraint:
    """The value is not later than the moment the tables were drawn."""
    return Constraint(
        "after_extract",
        f"{{column}} lies after the extract of {instant:%Y-%m-%d %H:%M:%S}",
        lambda value: value <= instant,
    )


@dataclass(frozen=True)
class ColumnSpec:
    """One column: its type, its meaning, what it may hold and when it becomes known."""

    type: dt.DataType | Literal["id"]
    meaning: str
    required: bool = False
    known: str | None = None
    constraints: tuple[Constraint, ...] = ()
    entity: str = ""
    """For an id, the thing it names: `account`, `user`, `contract`, `ticket` or `event`."""
    may_be_future: bool = False
    """For a time, whether it may lie ahead of the day it was written down: a plan or a notice given."""
    name: str = ""

    @property
    def nullable(self) -> bool:
        """Whether a row may leave it empty."""
        return not self.required

    @property
    def is_time(self) -> bool:
        """Whether it holds instants."""
        return self.type == TIME

    def all_constraints(self) -> tuple[Constraint, ...]:
        """Its own limits after those of its type."""
        given = (NOT_MISSING,) if self.required else ()
        texts = (NOT_EMPTY,) if self.required and self.type in (TEXT, ID) else ()
        finite = (FINITE,) if self.type == dt.float64 else ()
        plausible = (PLAUSIBLE_YEAR,) if self.is_time else ()
        zero = (NOT_DAY_ZERO,) if self.is_time and self.known == "itself" else ()
        return given + texts + finite + plausible + zero + self.constraints


@dataclass(frozen=True)
class TableSpec:
    """The contract of one table."""

    name: str
    meaning: str
    required: bool
    columns: Mapping[str, ColumnSpec]
    event_time: tuple[str, ...]
    """When it happened: the first of these that is not null."""
    known_time: tuple[str, ...]
    """When the company knew: the first of these that is not null; none at all means always."""
    key: tuple[str, ...] = ()
    """The columns that identify a fact; empty where nothing does."""
    row_id: str = ""
    """The column that alone decides, where it is filled, whether two rows are the same row delivered twice."""
    logs_actions: bool = False
    """Whether our people log in it what they do themselves: no model may read it whole (domain M5)."""
    row_rules: tuple[Rule, ...] = field(default=(), repr=False)

    def rules(self, extracted_at: datetime | None = None) -> Iterator[Rule]:
        """Every rule that one row can be asked about, in the order in which reasons are given."""
        for column in self.columns.values():
            for limit in column.all_constraints():
                yield limit.rule_for(column.name)
        yield from self.row_rules
        if extracted_at is not None:
            for column in self.columns.values():
                if column.is_time and not column.may_be_future:
                    yield not_after(extracted_at).rule_for(column.name)

    def schema(self, ids: Mapping[str, dt.DataType], extracted_at: datetime | None = None) -> pa.DataFrameSchema:
        """What the clean table must be, for pandera: types, rules, and one row per key.

        `ids` holds the type of each id column, which is the giver's choice.
        """
        import pandera.ibis as pa

        types = {c.name: ids[c.name] if c.type == ID else c.type for c in self.columns.values()}
        columns = {name: pa.Column(kind, nullable=True) for name, kind in types.items()}
        rules = list(self.rules(extracted_at))
        checks = [
            pa.Check(lambda given: _passes_all_rules(given.table, rules), name="rules", error="every rule is kept")
        ]
        if self.key:
            checks.append(pa.Check(self._has_unique_key, name="key", error=f"one row per {', '.join(self.key)}"))
        return pa.DataFrameSchema(columns, checks=checks, name=self.name)

    def _has_unique_key(self, given: pa.IbisData) -> ir.BooleanScalar:
        rows = given.table
        return rows.count() == ibis.struct({name: rows[name] for name in self.key}).nunique()


def _passes_all_rules(rows: ir.Table, rules: Iterable[Rule]) -> ir.BooleanColumn:
    """Whether a row keeps every rule, as one column, so that pandera asks once."""
    return ~ibis.or_(*(rule.broken(rows) for rule in rules))


def table(
    *,
    event_time: tuple[str, ...],
    known_time: tuple[str, ...] | None = None,
    key: tuple[str, ...] = (),
    row_id: str = "",
    required: bool = False,
    logs_actions: bool = False,
) -> Callable[[type], TableSpec]:
    """Turn a class of columns and rules into a `TableSpec` named as the class, and list it in `TABLES`.

    Without `known_time` a row is known from `recorded_at`, or else from its event.
    """

    def read(declared: type) -> TableSpec:
        parts = vars(declared)
        made = TableSpec(
            name=declared.__name__,
            meaning=inspect.getdoc(declared) or "",
            required=required,
            columns={name: replace(part, name=name) for name, part in parts.items() if isinstance(part, ColumnSpec)},
            event_time=event_time,
            known_time=known_time or ("recorded_at", *event_time),
            key=key,
            row_id=row_id,
            logs_actions=logs_actions,
            row_rules=tuple(replace(part, name=name) for name, part in parts.items() if isinstance(part, Rule)),
        )
        TABLES[made.name] = made
        return made

    return read


def not_before(later: str, earlier: str, tolerance: timedelta = CLOCK_SKEW) -> Rule:
    """A later fact does not lie before its row began, but for clocks that differ."""
    words = f"{later} lies before {earlier}" + (" by more than a day" if tolerance else "")
    bound = ibis.interval(seconds=int(tolerance.total_seconds()))
    return Rule(
        "",
        later,
        words,
        lambda rows: rows[later] + bound >= rows[earlier] if tolerance else rows[later] >= rows[earlier],
    )


def account_column() -> ColumnSpec:
    """The account a row belongs to."""
    return ColumnSpec(ID, "The account it belongs to; one of `accounts`.", required=True, entity="account")


def user_column(meaning: str, required: bool = False) -> ColumnSpec:
    """A person at the customer."""
    return ColumnSpec(ID, meaning, required=required, entity="user")


def recorded_at_column() -> ColumnSpec:
    """When the row reached the company."""
    return ColumnSpec(TIME, "When the row reached the company's systems; null: as soon as it happened.")


@table(required=True, event_time=("created_at",), key=("account_id",))
class accounts:
    """One row per customer account.

    It deceives by being today's state: `industry`, `csm` and `employee_count` are what they are now,
    and nobody recorded what they were at each date. An account without `created_at` and `recorded_at`
    counts as known for ever, since its contracts say when it began to matter.
    """

    account_id = ColumnSpec(ID, "The account.", required=True, entity="account")
    account_name = ColumnSpec(TEXT, "Its name as people know it; shown as written, never interpreted.")
    industry = ColumnSpec(TEXT, "The industry it is in.")
    region = ColumnSpec(TEXT, "The region it is in.")
    employee_count = ColumnSpec(INTEGER, "How many people it employs.", constraints=(NOT_NEGATIVE,))
    channel = ColumnSpec(TEXT, "How it was sold to.")
    parent_account_id = ColumnSpec(ID, "The account it belongs to or was merged into.", entity="account")
    csm = ColumnSpec(TEXT, "The customer-success manager who holds it.")
    created_at = ColumnSpec(TIME, "When it became an account.")
    recorded_at = recorded_at_column()


@table(required=True, event_time=("start_date",), known_time=("signed_at", "start_date"), key=("contract_id",))
class contracts:
    """One row per term of a product bought by an account: `[start_date, end_date)`.

    It deceives in three ways. A follow-on term is signed before it starts, so its known time is
    `signed_at`; without one, the start. `paid_at` and `cancelled_at` are written into the row months
    after it. A cancelled term keeps its nominal `end_date`: only `cancelled_at` says that it ended early,
    and one cancelled by its first day never ran.
    """

    contract_id = ColumnSpec(ID, "The term.", required=True, entity="contract")
    account_id = account_column()
    product = ColumnSpec(TEXT, "What was bought; null is `core`. Each product has its own terms.")
    plan = ColumnSpec(TEXT, "The plan or edition.")
    start_date = ColumnSpec(TIME, "First day of the term.", required=True, may_be_future=True)
    end_date = ColumnSpec(TIME, "First day after the term; the day it is due.", required=True, may_be_future=True)
    arr = ColumnSpec(MONEY, "Money a year, in `currency`.", required=True, constraints=(NOT_NEGATIVE, MONEY_RANGE))
    currency = ColumnSpec(TEXT, "Currency of `arr`; null is the reporting currency.")
    seats = ColumnSpec(INTEGER, "Seats bought.", constraints=(NOT_NEGATIVE,))
    signed_at = ColumnSpec(TIME, "When it was signed: the row is known from then on.")
    paid_at = ColumnSpec(TIME, "When it was paid (R1).", known="itself")
    cancelled_at = ColumnSpec(
        TIME, "When it ended early; may be given notice of ahead.", known="itself", may_be_future=True
    )
    auto_renew = ColumnSpec(FLAG, "Whether it renews unless cancelled.")

    ends_before_start = Rule("", "end_date", "end_date is not after start_date", lambda r: r.end_date > r.start_date)


@table(required=True, event_time=("occurred_at",), row_id="event_id")
class usage_events:
    """One row per use of a feature of the product.

    It deceives by repetition: a delivery sent twice gives exact duplicates that say nothing new, and one of
    each is kept; times rounded to the day give equal rows of different uses, and these are counted
    (`pipelines/validation/repeated_events.py` tells the two apart). It deceives by delay: phones and gateways send
    late, so an event of March may be known in April only. A clock that runs ahead dates an event after its arrival.
    """

    account_id = account_column()
    user_id = user_column("Who used it; null: an unnamed user or a machine.")
    feature = ColumnSpec(TEXT, "What was used.", required=True)
    occurred_at = ColumnSpec(TIME, "When it was used.", required=True)
    duration_s = ColumnSpec(NUMBER, "How long it was used, in seconds.", constraints=(NOT_NEGATIVE,))
    quantity = ColumnSpec(NUMBER, "How many times, where a row stands for several.", constraints=(NOT_NEGATIVE,))
    recorded_at = recorded_at_column()
    event_id = ColumnSpec(ID, "The event; where given, it alone decides what is a duplicate.", entity="event")


@table(event_time=("valid_from",), key=("account_id", "user_id", "valid_from", "recorded_at"))
class people:
    """One row per stretch of time in which a person had one title, role and tier; several a person.

    It deceives by correction: a stretch is written again when it closes, so the newest row known at a
    date is the one that counts. `valid_to` is often filled in when somebody leaves, long after the row
    was made. A person without dates counts as known for ever.
    """

    user_id = user_column("The person.", required=True)
    account_id = account_column()
    title = ColumnSpec(TEXT, "The title on the card.")
    role = ColumnSpec(TEXT, "What they do.")
    department = ColumnSpec(TEXT, "Where they do it.")
    tier = ColumnSpec(
        TEXT,
        "S decides, A runs a department, B key staff (S1); null: graded from title and role.",
        constraints=(one_of(*TIERS),),
    )
    valid_from = ColumnSpec(TIME, "From when this was so.", may_be_future=True)
    valid_to = ColumnSpec(TIME, "Until when; null: still so.", known="itself", may_be_future=True)
    recorded_at = recorded_at_column()

    ends_before_start = not_before("valid_to", "valid_from", tolerance=timedelta(0))


@table(event_time=("opened_at",), key=("ticket_id",))
class tickets:
    """One row per support ticket, as it stands at the extract.

    It deceives by its end: first response, resolution, reopening and escalation are written into the
    row of a ticket opened long before, so a ticket that looks solved was open on the date asked about.
    """

    ticket_id = ColumnSpec(ID, "The ticket.", required=True, entity="ticket")
    account_id = account_column()
    user_id = user_column("Who opened it.")
    kind = ColumnSpec(
        TEXT, "Bug, feature request or question (T1).", required=True, constraints=(one_of(*TICKET_KINDS),)
    )
    severity = ColumnSpec(TEXT, "How bad it is (T1).", required=True, constraints=(one_of(*SEVERITIES),))
    opened_at = ColumnSpec(TIME, "When it was opened.", required=True)
    first_response_at = ColumnSpec(TIME, "When it was first answered.", known="itself")
    resolved_at = ColumnSpec(TIME, "When it was closed.", known="itself")
    reopened_at = ColumnSpec(TIME, "When it was opened again.", known="itself")
    escalated_at = ColumnSpec(TIME, "When it was escalated.", known="itself")
    due_at = ColumnSpec(TIME, "By when it was promised; null: the configured limit.", may_be_future=True)
    recorded_at = recorded_at_column()

    answered_before_opening = not_before("first_response_at", "opened_at")
    resolved_before_opening = not_before("resolved_at", "opened_at")
    reopened_before_opening = not_before("reopened_at", "opened_at")
    escalated_before_opening = not_before("escalated_at", "opened_at")


@table(event_time=("sent_at", "answered_at"), logs_actions=True)
class surveys:
    """One row per survey sent to, or answered by, a person.

    It deceives by its score: the row is made when the survey is sent, and the answer comes later or
    never. Not answering is a sign too, so a row without a score is worth keeping.
    """

    account_id = account_column()
    user_id = user_column("Who was asked.")
    kind = ColumnSpec(
        TEXT, "Recommendation (nps) or satisfaction (csat).", required=True, constraints=(one_of("nps", "csat"),)
    )
    score = ColumnSpec(NUMBER, "The answer; 0 to 10 for nps.", known="answered_at")
    sent_at = ColumnSpec(TIME, "When it was sent.")
    answered_at = ColumnSpec(TIME, "When it was answered.", known="itself")
    followed_up_at = ColumnSpec(TIME, "When somebody acted on the answer.", known="itself")
    recorded_at = recorded_at_column()

    without_a_time = Rule(
        "",
        "sent_at",
        "sent_at, answered_at and recorded_at are all missing: nobody can say when it was known",
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

    It deceives by who writes it down: a manager logs what they did, often late and in one go, and a
    contact that nobody logged did not happen here.
    """

    account_id = account_column()
    user_id = user_column("The person met.")
    csm = ColumnSpec(TEXT, "Who met them.")
    kind = ColumnSpec(
        TEXT,
        "How.",
        required=True,
        constraints=(one_of(*CONTACT_KINDS),),
    )
    initiated_by = ColumnSpec(TEXT, "Who asked for it.", constraints=(one_of("us", "customer"),))
    occurred_at = ColumnSpec(TIME, "When it took place.", required=True)
    recorded_at = recorded_at_column()


@table(event_time=("started_at",), logs_actions=True)
class interventions:
    """One row per playbook carried out on an account.

    It deceives by selection: an account is treated because it looked at risk, so treated accounts churn
    more although the treatment helps. Never a cause by itself (M1).
    """

    account_id = account_column()
    playbook = ColumnSpec(TEXT, "What was done.", required=True)
    csm = ColumnSpec(TEXT, "Who did it.")
    started_at = ColumnSpec(TIME, "When it began.", required=True)
    ended_at = ColumnSpec(TIME, "When it was over.", known="itself")
    recorded_at = recorded_at_column()

    ends_before_start = not_before("ended_at", "started_at")


@table(event_time=("set_at",), logs_actions=True)
class value_goals:
    """One row per goal agreed with a customer (J4).

    It deceives by its end: `achieved_at` is written into the row of a goal agreed long before.
    """

    account_id = account_column()
    goal = ColumnSpec(TEXT, "What was agreed.", required=True)
    set_at = ColumnSpec(TIME, "When it was agreed.", required=True)
    due_at = ColumnSpec(TIME, "By when it should be reached.", may_be_future=True)
    achieved_at = ColumnSpec(TIME, "When it was reached.", known="itself")
    recorded_at = recorded_at_column()

    achieved_before_setting = not_before("achieved_at", "set_at")


@table(event_time=("referred_at",))
class referrals:
    """One row per account that a customer recommended us to.

    It deceives by its success: the reward is granted when the referred company buys, so a cost beside
    a referral that has not yet converted would tell that it is going to. It is known with `converted_at`.
    """

    account_id = ColumnSpec(ID, "The account that refers; one of `accounts`.", required=True, entity="account")
    referred_account_id = ColumnSpec(ID, "The account referred; need not be a customer yet.", entity="account")
    referred_at = ColumnSpec(TIME, "When.", required=True)
    converted_at = ColumnSpec(TIME, "When the referred company bought.", known="itself")
    reward_cost = ColumnSpec(
        MONEY,
        "What the reward cost, in the reporting currency.",
        known="converted_at",
        constraints=(NOT_NEGATIVE, MONEY_RANGE),
    )
    recorded_at = recorded_at_column()

    converted_before_referral = not_before("converted_at", "referred_at")


@table(event_time=("requested_at",))
class trials:
    """One row per trial of the product that an account asked for (K2).

    It deceives by its end: the start and the finish are written into the row of the request.
    """

    account_id = account_column()
    requested_at = ColumnSpec(TIME, "When it was asked for.", required=True)
    started_at = ColumnSpec(TIME, "When it began.", known="itself")
    finished_at = ColumnSpec(TIME, "When it was completed.", known="itself")
    recorded_at = recorded_at_column()

    started_before_request = not_before("started_at", "requested_at")
    finished_before_start = not_before("finished_at", "started_at")


@table(event_time=("date",), known_time=("date",), key=("currency", "date"))
class rates:
    """One row per currency and day: units of the reporting currency for one of `currency`.

    It deceives by gaps: weekends and young currencies have no rate, and the newest one known counts.
    Without this table all amounts must be in one currency.
    """

    currency = ColumnSpec(TEXT, "The currency.", required=True)
    date = ColumnSpec(TIME, "The day from which it holds.", required=True)
    rate = ColumnSpec(NUMBER, "Units of the reporting currency for one.", required=True, constraints=(POSITIVE,))
