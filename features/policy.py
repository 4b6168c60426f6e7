"""What a company decides for itself: every threshold of the domain, with its default.

The numbers live in `params.yaml`; `pipelines/runtime/settings.py` reads that file into these models, which
refuse what they do not know. Nothing here opens a file.
"""

from datetime import date
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

from renewals.features.patterns import NamePatterns, WordPatterns

TIERS = ("S", "A", "B")
TICKET_KINDS = ("bug", "request", "question")
SEVERITIES = ("low", "medium", "high")
ContactKind = Literal["visit", "call", "training", "value_report", "review", "email"]
CONTACT_KINDS: tuple[ContactKind, ...] = get_args(ContactKind)


class ConfigSection(BaseModel):
    """A part of the configuration: closed to unknown keys, and not to be changed once read."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Grace(ConfigSection):
    """How far from the end of a term its follow-on may start and still be a renewal (R2)."""

    before_days: int = Field(90, ge=0)
    after_days: int = Field(60, ge=0)


class Renewal(ConfigSection):
    """What counts as a renewal, and what its change of price means (R1, R5)."""

    payment: Literal["auto", "required", "ignored"] = "auto"
    """`required`: an unpaid follow-on is not a renewal. `auto`: required where any payment date is given."""
    routine_uplift: float = Field(0.10, ge=0)
    """Where seats are not known, a rise up to this share a year is a price change, beyond it up-sell."""
    horizon_days: int = Field(365, gt=0)
    """An account is observed while its main renewal is at most this far away."""


class Usage(ConfigSection):
    """Which features of the product mean what (U1, U2, U3): patterns of whole names."""

    north_star: NamePatterns = ("*",)
    core_workflow: NamePatterns = ()
    levels: dict[Literal["view", "analyse", "act"], NamePatterns] = Field(default_factory=dict)
    steady_days: int = Field(4, gt=0)
    """Active on this many days in 28 is a steady user (J3)."""


class Stakeholders(ConfigSection):
    """How people are graded where `people.tier` is empty (S1): patterns of words in the title, then in the role."""

    tiers: dict[Literal["S", "A", "B"], WordPatterns] = {
        "S": ("chief", "ceo", "cfo", "coo", "cto", "president", "founder", "owner", "vp", "head of sales",
              "首席", "总裁", "总经理", "董事长", "!assistant", "!助理"),
        "A": ("director", "head", "manager", "lead", "总监", "经理", "主管", "!assistant to", "!助理"),
        "B": ("senior", "specialist", "analyst", "engineer", "administrator", "key user", "专员", "工程师"),
    }  # fmt: skip
    silent_days: int = Field(60, gt=0)
    """An S or A person active before and not seen for this long has gone silent (S3)."""


class TicketLimit(ConfigSection):
    """Hours within which a ticket must be answered and resolved (T1)."""

    first_response_hours: float = Field(gt=0)
    resolution_hours: float = Field(gt=0)


class Tickets(ConfigSection):
    """Time limits per severity, used where a ticket carries no `due_at` (T1)."""

    limits: dict[Literal["low", "medium", "high"], TicketLimit] = {
        "low": TicketLimit(first_response_hours=48, resolution_hours=720),
        "medium": TicketLimit(first_response_hours=24, resolution_hours=240),
        "high": TicketLimit(first_response_hours=4, resolution_hours=48),
    }


class Journey(ConfigSection):
    """Where one stage of an account ends and the next begins (J1)."""

    onboarding_days: int = Field(60, gt=0)
    pre_renewal_days: int = Field(90, gt=0)


class QuietPeriod(ConfigSection):
    """Days on which the whole company's customers rest, the first and the last among them: a drop then is none."""

    first: date
    last: date

    @model_validator(mode="after")
    def _check_order(self) -> "QuietPeriod":
        if self.last < self.first:
            raise ValueError(f"last ({self.last}) must not lie before first ({self.first})")
        return self


class Alerts(ConfigSection):
    """When a rule speaks, whatever the model says (U4, S3, J2, T1, T3)."""

    min_usage_drop: float = Field(0.50, gt=0, lt=1)
    """Use has dropped where it lies by at least this share below what own past and season lead to expect."""
    max_p_value: float = Field(0.003, gt=0, lt=0.5)
    """And where mere chance would show as little no more often than this."""
    min_expected_person_days: float = Field(10.0, ge=0)
    """And where at least so many active person-days were to be expected in four weeks."""
    missed_visits: float = Field(6.0, gt=0)
    """A sponsor is silent where, at their own pace, so many visits were missed."""
    severities: tuple[Literal["low", "medium", "high"], ...] = ("high",)
    """Tickets of these severities alert when a limit passes."""
    recent_breach_days: int = Field(14, gt=0)
    """A limit that passed so recently alerts though the ticket has been served since."""
    expire_days: int = Field(60, gt=0)
    """So long after its newest cause an alert stays on the list."""
    cooldown_days: int = Field(90, ge=0)
    """So long after it was told as new the same cause is not told as new again."""
    quiet_periods: tuple[QuietPeriod, ...] = ()
    """Their days count neither as used nor as unused."""

    @property
    def quiet_ranges(self) -> list[tuple[date, date]]:
        """First and last day of each quiet period."""
        return [(period.first, period.last) for period in self.quiet_periods]


class Actions(ConfigSection):
    """What our people log of what they do themselves: no model reads it (M5)."""

    touchpoint_kinds: tuple[ContactKind, ...] = CONTACT_KINDS
    """The kinds of contact that are an action of ours unless the customer began them."""


class Money(ConfigSection):
    """The reporting currency, and the size bands in it (R7)."""

    reporting_currency: str = "USD"
    size_bands: tuple[float, float] = (20_000.0, 100_000.0)


class Policy(ConfigSection):
    """All that `features/` and the targets may ask about the company."""

    grace: Grace = Grace()
    renewal: Renewal = Renewal()
    usage: Usage = Usage()
    stakeholders: Stakeholders = Stakeholders()
    tickets: Tickets = Tickets()
    journey: Journey = Journey()
    alerts: Alerts = Alerts()
    actions: Actions = Actions()
    money: Money = Money()
