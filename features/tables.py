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

from renewals.features.policy import CONTACT_KINDS, KINDS, SEVERITIES, TIERS

if TYPE_CHECKING:
    import pandera.ibis as pa

ID: Literal["id"] = "id"
"""A string or a whole number, kept as given; all columns that name the same thing have one type."""
TEXT = dt.string
TIME = dt.Timestamp(scale=6)
"""A UTC instant without a zone, to the microsecond."""
MONEY = dt.float64
NUMBER = dt.float64
WHOLE = dt.int64
FLAG = dt.boolean

SKEW = timedelta(days=1)
"""Clocks differ and days are rounded: a fact up to this much before its row began is let through."""
FIRST_YEAR, LAST_YEAR = 1900, 9999

TABLES: dict[str, Table] = {}
"""Every table by name, in the order of the data contract."""


@dataclass(frozen=True)
class Rule:
    """What every row must keep, named after its breach. Where `holds` has no answer (a null) the row keeps it."""

    name: str
    column: str
    words: str
    holds: Callable[[ir.Table], ir.BooleanValue]

    def broken(self, rows: ir.Table) -> ir.BooleanValue:
        """Whether a row breaks the rule."""
        return ~self.holds(rows).fill_null(True)


@dataclass(frozen=True)
class Limit:
    """What the values of a column must keep; `{column}` in its words is the column's name."""

    name: str
    words: str
    holds: Callable[[ir.Value], ir.BooleanValue]

    def on(self, column: str) -> Rule:
        """The limit as a rule on one column."""
        return Rule(
            f"{column}_{self.name}", column, self.words.format(column=column), lambda rows: self.holds(rows[column])
        )


def _is_empty_text(value: ir.Value) -> ir.BooleanValue:
    return value == "" if value.type().is_string() else ibis.literal(False)


GIVEN = Limit("missing", "{column} is missing", lambda value: value.notnull())
NOT_EMPTY = Limit("empty", "{column} is an empty text", lambda value: value.isnull() | ~_is_empty_text(value))
FINITE = Limit("not_finite", "{column} is not a finite number", lambda value: ~(value.isnan() | value.isinf()))
NOT_NEGATIVE = Limit("negative", "{column} is negative", lambda value: value >= 0)
ABOVE_ZERO = Limit("not_above_zero", "{column} is zero or negative", lambda value: value > 0)
COUNTABLE = Limit(
    "too_large",
    "{column} is larger than any sum of money (1e15 or more)",
    lambda value: (value.abs() < 1e15) | ~FINITE.holds(value),
)
"""Money is added up in whole cents of 64 bits: one absurd amount would end the run for everybody.
What is no finite number has a rule of its own."""
PLAUSIBLE = Limit(
    "implausible",
    f"{{column}} lies before {FIRST_YEAR} or after {LAST_YEAR}",
    lambda value: (value >= datetime(FIRST_YEAR, 1, 1)) & (value <= datetime(LAST_YEAR, 12, 31, 23, 59, 59)),
)
DAY_ZERO = Limit(
    "zero",
    "{column} lies at the day zero of a computer's clock (1970-01-01 or 1900-01-01)",
    lambda value: ~(_around(value, datetime(1970, 1, 1)) | _around(value, datetime(1900, 1, 1))),
)
"""Exports write 0 for "not cancelled", which becomes such a day, in the zone of whoever wrote it."""


def _around(value: ir.Value, zero: datetime) -> ir.BooleanValue:
    return (value >= zero - timedelta(hours=14)) & (value <= zero + timedelta(hours=14))


def one_of(*values: str) -> Limit:
    """The value is on a closed list."""
    return Limit("unlisted", f"{{column}} is none of {', '.join(values)}", lambda value: value.isin(values))


def not_after(instant: datetime) -> Limit:
    """The value is not later than the moment the tables were drawn."""
    return Limit(
        "after_extract",
        f"{{column}} lies after the extract of {instant:%Y-%m-%d %H:%M:%S}",
        lambda value: value <= instant,
    )


@dataclass(frozen=True)
class Column:
    """One column: its type, its meaning, what it may hold and when it becomes known."""

    type: dt.DataType | Literal["id"]
    meaning: str
    required: bool = False
    known: str | None = None
    limits: tuple[Limit, ...] = ()
    of: str = ""
    """For an id, the thing it names: `account`, `user`, `contract`, `ticket` or `event`."""
    ahead: bool = False
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

    def all_limits(self) -> tuple[Limit, ...]:
        """Its own limits after those of its type."""
        given = (GIVEN,) if self.required else ()
        texts = (NOT_EMPTY,) if self.required and self.type in (TEXT, ID) else ()
        finite = (FINITE,) if self.type == dt.float64 else ()
        plausible = (PLAUSIBLE,) if self.is_time else ()
        zero = (DAY_ZERO,) if self.is_time and self.known == "itself" else ()
        return given + texts + finite + plausible + zero + self.limits


@dataclass(frozen=True)
class Table:
    """The contract of one table."""

    name: str
    meaning: str
    required: bool
    columns: Mapping[str, Column]
    event_time: tuple[str, ...]
    """When it happened: the first of these that is not null."""
    known_time: tuple[str, ...]
    """When the company knew: the first of these that is not null; none at all means always."""
    key: tuple[str, ...] = ()
    """The columns that identify a fact; empty where nothing does."""
    row_id: str = ""
    """The column that alone decides, where it is filled, whether two rows are the same row delivered twice."""
    actions: bool = False
    """Whether our people log in it what they do themselves: no model may read it whole (domain M5)."""
    row_rules: tuple[Rule, ...] = field(default=(), repr=False)

    def rules(self, extract: datetime | None = None) -> Iterator[Rule]:
        """Every rule that one row can be asked about, in the order in which reasons are given."""
        for column in self.columns.values():
            for limit in column.all_limits():
                yield limit.on(column.name)
        yield from self.row_rules
        if extract is not None:
            for column in self.columns.values():
                if column.is_time and not column.ahead:
                    yield not_after(extract).on(column.name)

    def schema(self, ids: Mapping[str, dt.DataType], extract: datetime | None = None) -> pa.DataFrameSchema:
        """What the clean table must be, for pandera: types, rules, and one row per key.

        `ids` holds the type of each id column, which is the giver's choice.
        """
        import pandera.ibis as pa

        types = {c.name: ids[c.name] if c.type == ID else c.type for c in self.columns.values()}
        columns = {name: pa.Column(kind, nullable=True) for name, kind in types.items()}
        rules = list(self.rules(extract))
        checks = [pa.Check(lambda given: _kept(given.table, rules), name="rules", error="every rule is kept")]
        if self.key:
            checks.append(pa.Check(self._keyed, name="key", error=f"one row per {', '.join(self.key)}"))
        return pa.DataFrameSchema(columns, checks=checks, name=self.name)

    def _keyed(self, given: pa.IbisData) -> ir.BooleanScalar:
        rows = given.table
        return rows.count() == ibis.struct({name: rows[name] for name in self.key}).nunique()


def _kept(rows: ir.Table, rules: Iterable[Rule]) -> ir.BooleanColumn:
    """Whether a row keeps every rule, as one column, so that pandera asks once."""
    return ~ibis.or_(*(rule.broken(rows) for rule in rules))


def table(
    *,
    event_time: tuple[str, ...],
    known_time: tuple[str, ...] | None = None,
    key: tuple[str, ...] = (),
    row_id: str = "",
    required: bool = False,
    actions: bool = False,
) -> Callable[[type], Table]:
    """Turn a class of columns and rules into a `Table` named as the class, and list it in `TABLES`.

    Without `known_time` a row is known from `recorded_at`, or else from its event.
    """

    def read(declared: type) -> Table:
        parts = vars(declared)
        made = Table(
            name=declared.__name__,
            meaning=inspect.getdoc(declared) or "",
            required=required,
            columns={name: replace(part, name=name) for name, part in parts.items() if isinstance(part, Column)},
            event_time=event_time,
            known_time=known_time or ("recorded_at", *event_time),
            key=key,
            row_id=row_id,
            actions=actions,
            row_rules=tuple(replace(part, name=name) for name, part in parts.items() if isinstance(part, Rule)),
        )
        TABLES[made.name] = made
        return made

    return read


def not_before(later: str, earlier: str, slack: timedelta = SKEW) -> Rule:
    """A later fact does not lie before its row began, but for clocks that differ."""
    words = f"{later} lies before {earlier}" + (" by more than a day" if slack else "")
    bound = ibis.interval(seconds=int(slack.total_seconds()))
    return Rule(
        "", later, words, lambda rows: rows[later] + bound >= rows[earlier] if slack else rows[later] >= rows[earlier]
    )


def an_account() -> Column:
    """The account a row belongs to."""
    return Column(ID, "The account it belongs to; one of `accounts`.", required=True, of="account")


def a_user(meaning: str, required: bool = False) -> Column:
    """A person at the customer."""
    return Column(ID, meaning, required=required, of="user")


def an_arrival() -> Column:
    """When the row reached the company."""
    return Column(TIME, "When the row reached the company's systems; null: as soon as it happened.")


@table(required=True, event_time=("created_at",), key=("account_id",))
class accounts:
    """One row per customer account.

    It deceives by being today's state: `industry`, `csm` and `employee_count` are what they are now,
    and nobody recorded what they were at each date. An account without `created_at` and `recorded_at`
    counts as known for ever, since its contracts say when it began to matter.
    """

    account_id = Column(ID, "The account.", required=True, of="account")
    account_name = Column(TEXT, "Its name as people know it; shown as written, never interpreted.")
    industry = Column(TEXT, "The industry it is in.")
    region = Column(TEXT, "The region it is in.")
    employee_count = Column(WHOLE, "How many people it employs.", limits=(NOT_NEGATIVE,))
    channel = Column(TEXT, "How it was sold to.")
    parent_account_id = Column(ID, "The account it belongs to or was merged into.", of="account")
    csm = Column(TEXT, "The customer-success manager who holds it.")
    created_at = Column(TIME, "When it became an account.")
    recorded_at = an_arrival()


@table(required=True, event_time=("start_date",), known_time=("signed_at", "start_date"), key=("contract_id",))
class contracts:
    """One row per term of a product bought by an account: `[start_date, end_date)`.

    It deceives in three ways. A follow-on term is signed before it starts, so its known time is
    `signed_at`; without one, the start. `paid_at` and `cancelled_at` are written into the row months
    after it. A cancelled term keeps its nominal `end_date`: only `cancelled_at` says that it ended early,
    and one cancelled by its first day never ran.
    """

    contract_id = Column(ID, "The term.", required=True, of="contract")
    account_id = an_account()
    product = Column(TEXT, "What was bought; null is `core`. Each product has its own terms.")
    plan = Column(TEXT, "The plan or edition.")
    start_date = Column(TIME, "First day of the term.", required=True, ahead=True)
    end_date = Column(TIME, "First day after the term; the day it is due.", required=True, ahead=True)
    arr = Column(MONEY, "Money a year, in `currency`.", required=True, limits=(NOT_NEGATIVE, COUNTABLE))
    currency = Column(TEXT, "Currency of `arr`; null is the reporting currency.")
    seats = Column(WHOLE, "Seats bought.", limits=(NOT_NEGATIVE,))
    signed_at = Column(TIME, "When it was signed: the row is known from then on.")
    paid_at = Column(TIME, "When it was paid (R1).", known="itself")
    cancelled_at = Column(TIME, "When it ended early; may be given notice of ahead.", known="itself", ahead=True)
    auto_renew = Column(FLAG, "Whether it renews unless cancelled.")

    ends_before_start = Rule("", "end_date", "end_date is not after start_date", lambda r: r.end_date > r.start_date)


@table(required=True, event_time=("occurred_at",), row_id="event_id")
class usage_events:
    """One row per use of a feature of the product.

    It deceives by repetition: a delivery sent twice gives exact duplicates that say nothing new, and one of
    each is kept; times rounded to the day give equal rows of different uses, and these are counted
    (`pipelines/validation/repeated_events.py` tells the two apart). It deceives by delay: phones and gateways send
    late, so an event of March may be known in April only. A clock that runs ahead dates an event after its arrival.
    """

    account_id = an_account()
    user_id = a_user("Who used it; null: an unnamed user or a machine.")
    feature = Column(TEXT, "What was used.", required=True)
    occurred_at = Column(TIME, "When it was used.", required=True)
    duration_s = Column(NUMBER, "How long it was used, in seconds.", limits=(NOT_NEGATIVE,))
    quantity = Column(NUMBER, "How many times, where a row stands for several.", limits=(NOT_NEGATIVE,))
    recorded_at = an_arrival()
    event_id = Column(ID, "The event; where given, it alone decides what is a duplicate.", of="event")


@table(event_time=("valid_from",), key=("account_id", "user_id", "valid_from", "recorded_at"))
class people:
    """One row per stretch of time in which a person had one title, role and tier; several a person.

    It deceives by correction: a stretch is written again when it closes, so the newest row known at a
    date is the one that counts. `valid_to` is often filled in when somebody leaves, long after the row
    was made. A person without dates counts as known for ever.
    """

    user_id = a_user("The person.", required=True)
    account_id = an_account()
    title = Column(TEXT, "The title on the card.")
    role = Column(TEXT, "What they do.")
    department = Column(TEXT, "Where they do it.")
    tier = Column(
        TEXT,
        "S decides, A runs a department, B key staff (S1); null: graded from title and role.",
        limits=(one_of(*TIERS),),
    )
    valid_from = Column(TIME, "From when this was so.", ahead=True)
    valid_to = Column(TIME, "Until when; null: still so.", known="itself", ahead=True)
    recorded_at = an_arrival()

    ends_before_start = not_before("valid_to", "valid_from", slack=timedelta(0))


@table(event_time=("opened_at",), key=("ticket_id",))
class tickets:
    """One row per support ticket, as it stands at the extract.

    It deceives by its end: first response, resolution, reopening and escalation are written into the
    row of a ticket opened long before, so a ticket that looks solved was open on the date asked about.
    """

    ticket_id = Column(ID, "The ticket.", required=True, of="ticket")
    account_id = an_account()
    user_id = a_user("Who opened it.")
    kind = Column(TEXT, "Bug, feature request or question (T1).", required=True, limits=(one_of(*KINDS),))
    severity = Column(TEXT, "How bad it is (T1).", required=True, limits=(one_of(*SEVERITIES),))
    opened_at = Column(TIME, "When it was opened.", required=True)
    first_response_at = Column(TIME, "When it was first answered.", known="itself")
    resolved_at = Column(TIME, "When it was closed.", known="itself")
    reopened_at = Column(TIME, "When it was opened again.", known="itself")
    escalated_at = Column(TIME, "When it was escalated.", known="itself")
    due_at = Column(TIME, "By when it was promised; null: the configured limit.", ahead=True)
    recorded_at = an_arrival()

    answered_before_opening = not_before("first_response_at", "opened_at")
    resolved_before_opening = not_before("resolved_at", "opened_at")
    reopened_before_opening = not_before("reopened_at", "opened_at")
    escalated_before_opening = not_before("escalated_at", "opened_at")


@table(event_time=("sent_at", "answered_at"), actions=True)
class surveys:
    """One row per survey sent to, or answered by, a person.

    It deceives by its score: the row is made when the survey is sent, and the answer comes later or
    never. Not answering is a sign too, so a row without a score is worth keeping.
    """

    account_id = an_account()
    user_id = a_user("Who was asked.")
    kind = Column(TEXT, "Recommendation (nps) or satisfaction (csat).", required=True, limits=(one_of("nps", "csat"),))
    score = Column(NUMBER, "The answer; 0 to 10 for nps.", known="answered_at")
    sent_at = Column(TIME, "When it was sent.")
    answered_at = Column(TIME, "When it was answered.", known="itself")
    followed_up_at = Column(TIME, "When somebody acted on the answer.", known="itself")
    recorded_at = an_arrival()

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


@table(event_time=("occurred_at",), actions=True)
class touchpoints:
    """One row per contact with a person at the customer.

    It deceives by who writes it down: a manager logs what they did, often late and in one go, and a
    contact that nobody logged did not happen here.
    """

    account_id = an_account()
    user_id = a_user("The person met.")
    csm = Column(TEXT, "Who met them.")
    kind = Column(
        TEXT,
        "How.",
        required=True,
        limits=(one_of(*CONTACT_KINDS),),
    )
    initiated_by = Column(TEXT, "Who asked for it.", limits=(one_of("us", "customer"),))
    occurred_at = Column(TIME, "When it took place.", required=True)
    recorded_at = an_arrival()


@table(event_time=("started_at",), actions=True)
class interventions:
    """One row per playbook carried out on an account.

    It deceives by selection: an account is treated because it looked at risk, so treated accounts churn
    more although the treatment helps. Never a cause by itself (M1).
    """

    account_id = an_account()
    playbook = Column(TEXT, "What was done.", required=True)
    csm = Column(TEXT, "Who did it.")
    started_at = Column(TIME, "When it began.", required=True)
    ended_at = Column(TIME, "When it was over.", known="itself")
    recorded_at = an_arrival()

    ends_before_start = not_before("ended_at", "started_at")


@table(event_time=("set_at",), actions=True)
class value_goals:
    """One row per goal agreed with a customer (J4).

    It deceives by its end: `achieved_at` is written into the row of a goal agreed long before.
    """

    account_id = an_account()
    goal = Column(TEXT, "What was agreed.", required=True)
    set_at = Column(TIME, "When it was agreed.", required=True)
    due_at = Column(TIME, "By when it should be reached.", ahead=True)
    achieved_at = Column(TIME, "When it was reached.", known="itself")
    recorded_at = an_arrival()

    achieved_before_setting = not_before("achieved_at", "set_at")


@table(event_time=("referred_at",))
class referrals:
    """One row per account that a customer recommended us to.

    It deceives by its success: the reward is granted when the referred company buys, so a cost beside
    a referral that has not yet converted would tell that it is going to. It is known with `converted_at`.
    """

    account_id = Column(ID, "The account that refers; one of `accounts`.", required=True, of="account")
    referred_account_id = Column(ID, "The account referred; need not be a customer yet.", of="account")
    referred_at = Column(TIME, "When.", required=True)
    converted_at = Column(TIME, "When the referred company bought.", known="itself")
    reward_cost = Column(
        MONEY,
        "What the reward cost, in the reporting currency.",
        known="converted_at",
        limits=(NOT_NEGATIVE, COUNTABLE),
    )
    recorded_at = an_arrival()

    converted_before_referral = not_before("converted_at", "referred_at")


@table(event_time=("requested_at",))
class trials:
    """One row per trial of the product that an account asked for (K2).

    It deceives by its end: the start and the finish are written into the row of the request.
    """

    account_id = an_account()
    requested_at = Column(TIME, "When it was asked for.", required=True)
    started_at = Column(TIME, "When it began.", known="itself")
    finished_at = Column(TIME, "When it was completed.", known="itself")
    recorded_at = an_arrival()

    started_before_request = not_before("started_at", "requested_at")
    finished_before_start = not_before("finished_at", "started_at")


@table(event_time=("date",), known_time=("date",), key=("currency", "date"))
class rates:
    """One row per currency and day: units of the reporting currency for one of `currency`.

    It deceives by gaps: weekends and young currencies have no rate, and the newest one known counts.
    Without this table all amounts must be in one currency.
    """

    currency = Column(TEXT, "The currency.", required=True)
    date = Column(TIME, "The day from which it holds.", required=True)
    rate = Column(NUMBER, "Units of the reporting currency for one.", required=True, limits=(ABOVE_ZERO,))
