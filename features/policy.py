"""Policy: the company's own settings and thresholds of the domain, with their defaults.

The values are in `params.yaml`; `pipelines/runtime/settings.py` reads the file into these models, which refuse unknown
keys. This module opens no file.
"""

from datetime import date
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from renewals.features.patterns import NamePatterns, WordPatterns

TIERS = ("S", "A", "B")
TICKET_KINDS = ("bug", "request", "question")
SEVERITIES = ("low", "medium", "high")
CONTRACT_KINDS = ("subscription", "trial", "pilot", "pause", "one_off")
ContactKind = Literal["visit", "call", "training", "value_report", "review", "email"]
CONTACT_KINDS: tuple[ContactKind, ...] = get_args(ContactKind)


class ConfigSection(BaseModel):
    """Section of the configuration: unknown keys are refused, and values cannot be changed."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Grace(ConfigSection):
    """Days before and after the end of a term in which its follow-on may start and still be a renewal (R2)."""

    before_days: int = Field(90, ge=0)
    after_days: int = Field(60, ge=0)


class Renewal(ConfigSection):
    """Rules for renewals: payment, price change and horizon (R1, R5)."""

    payment: Literal["auto", "required", "ignored"] = "auto"
    """`required`: an unpaid follow-on is not a renewal. `auto`: required of a term if at least 80 % of the terms that
    started in the year before carry a payment date."""
    payment_days: int = Field(90, ge=0)
    """A renewal may be paid until this many days after its start, and is pending until then (R1)."""
    routine_uplift: float = Field(0.10, ge=0)
    """If seats are missing, a rise of up to this share a year is a price change, the excess is up-sell."""
    horizon_days: int = Field(365, gt=0)
    """An account is observed while its main renewal is at most this many days away."""


class Contracts(ConfigSection):
    """Rules for contracts whose relation to others is not written in them (R3, R10)."""

    overlap: Literal["auto", "two", "replace", "stop"] = "auto"
    """Contract that overlaps another one of its product, where no other rule tells what it follows: beside it (`two`),
    in its place (`replace`), or an error (`stop`). `auto`: in its place if it ends later and is at least as large."""
    renamed_products: dict[str, str] = Field(default_factory=dict)
    """New name of each renamed product by its old name; a product may have been renamed several times."""
    cancelled_means: Literal["end", "request"] = "end"
    """Meaning of `cancelled_at`: the contract ended then (`end`), or the customer asked for it then and the contract
    runs to its end (`request`)."""
    complete_from: date | None = None
    """Day from which the contracts are complete; empty: from the first start. A customer of that day is not new."""

    @model_validator(mode="after")
    def _check_renamed_products(self) -> "Contracts":
        for old in self.renamed_products:
            self._newest_name(old)
        return self

    @property
    def product_names(self) -> dict[str, str]:
        """Newest name of each renamed product, by each of its old names."""
        return {old: self._newest_name(old) for old in self.renamed_products}

    def _newest_name(self, product: str) -> str:
        names = [product]
        while (newer := self.renamed_products.get(names[-1])) is not None:
            if newer in names:
                raise ValueError(f"renamed_products must not be a ring: {' to '.join([*names, newer])}")
            names.append(newer)
        return names[-1]


class Usage(ConfigSection):
    """Classification of the product's features (U1, U2, U3) by patterns of whole names."""

    north_star: NamePatterns = ("*",)
    core_workflow: NamePatterns = ()
    levels: dict[Literal["view", "analyse", "act"], NamePatterns] = Field(default_factory=dict)
    steady_days: int = Field(4, gt=0)
    """A user active on at least this many days in 28 is a steady user (J3)."""


class Stakeholders(ConfigSection):
    """Grading of people whose `people.tier` is missing (S1), by patterns of words in the title, then in the role."""

    tiers: dict[Literal["S", "A", "B"], WordPatterns] = {
        "S": ("chief", "ceo", "cfo", "coo", "cto", "president", "founder", "owner", "vp", "head of sales",
              "首席", "总裁", "总经理", "董事长", "!assistant", "!助理"),
        "A": ("director", "head", "manager", "lead", "总监", "经理", "主管", "!assistant to", "!助理"),
        "B": ("senior", "specialist", "analyst", "engineer", "administrator", "key user", "专员", "工程师"),
    }  # fmt: skip
    silent_days: int = Field(60, gt=0)
    """An S or A person who used the product but not within this many days has gone silent (S3)."""


class TicketLimit(ConfigSection):
    """Hours within which a ticket must be answered and resolved (T1)."""

    first_response_hours: float = Field(gt=0)
    resolution_hours: float = Field(gt=0)


class Tickets(ConfigSection):
    """Time limits by severity, used if a ticket has no `due_at` (T1)."""

    limits: dict[Literal["low", "medium", "high"], TicketLimit] = {
        "low": TicketLimit(first_response_hours=48, resolution_hours=720),
        "medium": TicketLimit(first_response_hours=24, resolution_hours=240),
        "high": TicketLimit(first_response_hours=4, resolution_hours=48),
    }


class Journey(ConfigSection):
    """Lengths of the first and last stage of an account's journey (J1)."""

    onboarding_days: int = Field(60, gt=0)
    pre_renewal_days: int = Field(90, gt=0)


class QuietPeriod(ConfigSection):
    """Days on which the customers of the whole company rest, first and last included: less use then is no drop."""

    first: date
    last: date

    @model_validator(mode="after")
    def _check_order(self) -> "QuietPeriod":
        if self.last < self.first:
            raise ValueError(f"last ({self.last}) must not be before first ({self.first})")
        return self


class Alerts(ConfigSection):
    """Thresholds of the alerts, which do not depend on the model (U4, S3, J2, T1, T3)."""

    min_usage_drop: float = Field(0.50, gt=0, lt=1)
    """Smallest share by which use must be below the account's seasonal baseline for a usage-drop alert."""
    max_p_value: float = Field(0.003, gt=0, lt=0.5)
    """Largest probability that chance alone produces so little use, for a usage-drop alert."""
    min_expected_person_days: float = Field(10.0, ge=0)
    """Smallest number of active person-days expected in four weeks, for a usage-drop alert."""
    missed_visits: float = Field(6.0, gt=0)
    """A sponsor is silent if they missed this many visits by their own usual pace."""
    severities: tuple[Literal["low", "medium", "high"], ...] = ("high",)
    """Tickets of these severities raise an alert when a time limit passes."""
    recent_breach_days: int = Field(14, gt=0)
    """A limit that passed at most this many days ago raises an alert even if the ticket has been served since."""
    expire_days: int = Field(60, gt=0)
    """Days after its newest cause for which an alert stays on the list."""
    cooldown_days: int = Field(90, ge=0)
    """Days after an alert was reported as new in which the same cause is not reported as new again."""
    quiet_periods: tuple[QuietPeriod, ...] = ()
    """Days in these periods count neither as used nor as unused."""

    @property
    def quiet_ranges(self) -> list[tuple[date, date]]:
        """First and last day of each quiet period."""
        return [(period.first, period.last) for period in self.quiet_periods]


class Actions(ConfigSection):
    """Actions that our people log themselves: no model reads them (M5)."""

    touchpoint_kinds: tuple[ContactKind, ...] = CONTACT_KINDS
    """Kinds of contact that are an action of ours unless the customer initiated them."""


class Money(ConfigSection):
    """Reporting currency, and the size bands in it (R7)."""

    reporting_currency: str = "USD"
    size_bands: tuple[float, float] = (20_000.0, 100_000.0)


class ExpansionMonths(ConfigSection):
    """Months after the first signature in which an expansion is credited to sales, by size band (M6)."""

    small: int = Field(3, ge=0)
    medium: int = Field(6, ge=0)
    large: int = Field(12, ge=0)


class Scorecard(ConfigSection):
    """Periods of the scorecard, and who and what its measures count."""

    months: int = Field(24, gt=0)
    """Number of the newest months that are measured, with the years that end with each of them."""
    sales_expansion_months: ExpansionMonths = ExpansionMonths()
    """Months after an account's first contract was signed in which its up-sell and cross-sell are credited to sales,
    by its size band; later ones are credited to customer success (M6)."""
    unpreventable_reasons: tuple[str, ...] = ("insolvent", "merged", "closed")
    """Loss reasons, whatever their case, that nobody could have prevented (R13)."""

    @field_validator("unpreventable_reasons")
    @classmethod
    def _lower_reasons(cls, reasons: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(reason.strip().lower() for reason in reasons)


class Policy(ConfigSection):
    """All settings about the company that `features/` and the targets read."""

    grace: Grace = Grace()
    renewal: Renewal = Renewal()
    contracts: Contracts = Contracts()
    usage: Usage = Usage()
    stakeholders: Stakeholders = Stakeholders()
    tickets: Tickets = Tickets()
    journey: Journey = Journey()
    alerts: Alerts = Alerts()
    actions: Actions = Actions()
    money: Money = Money()
