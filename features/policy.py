"""What a company decides for itself: every threshold of the domain, with its default.

The numbers live in `params.yaml`; `pipelines/settings.py` reads that file into these models, which
refuse what they do not know. Nothing here opens a file.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

TIERS = ("S", "A", "B")
KINDS = ("bug", "request", "question")
SEVERITIES = ("low", "medium", "high")


class Section(BaseModel):
    """A part of the configuration: closed to unknown keys, and not to be changed once read."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Grace(Section):
    """How far from the end of a term its follow-on may start and still be a renewal (R2)."""

    before_days: int = Field(90, ge=0)
    after_days: int = Field(60, ge=0)


class Renewal(Section):
    """What counts as a renewal, and what its change of price means (R1, R5)."""

    payment: Literal["auto", "required", "ignored"] = "auto"
    """`required`: an unpaid follow-on is not a renewal. `auto`: required where any payment date is given."""
    routine_uplift: float = Field(0.10, ge=0)
    """Where seats are not known, a rise up to this share a year is a price change, beyond it up-sell."""
    horizon_days: int = Field(365, gt=0)
    """An account is observed while its main renewal is at most this far away."""


class Usage(Section):
    """Which features of the product mean what (U1, U2, U3). A pattern may end in `*`; one begun by `!` is left out."""

    north_star: tuple[str, ...] = ("*",)
    core_workflow: tuple[str, ...] = ()
    levels: dict[Literal["view", "analyse", "act"], tuple[str, ...]] = Field(default_factory=dict)
    steady_days: int = Field(4, gt=0)
    """Active on this many days in 28 is a steady user (J3)."""


class Stakeholders(Section):
    """How people are graded where `people.tier` is empty (S1): words looked for in title, then role."""

    tiers: dict[Literal["S", "A", "B"], tuple[str, ...]] = {
        "S": ("chief", "ceo", "cfo", "coo", "cto", "president", "founder", "owner", "vp", "head of sales",
              "首席", "总裁", "总经理", "董事长"),
        "A": ("director", "head", "manager", "lead", "总监", "经理", "主管"),
        "B": ("senior", "specialist", "analyst", "engineer", "administrator", "key user", "专员", "工程师"),
    }  # fmt: skip
    silent_days: int = Field(60, gt=0)
    """An S or A person active before and not seen for this long has gone silent (S3)."""


class TicketLimit(Section):
    """Hours within which a ticket must be answered and resolved (T1)."""

    respond_hours: float = Field(gt=0)
    resolve_hours: float = Field(gt=0)


class Tickets(Section):
    """Time limits per severity, used where a ticket carries no `due_at` (T1)."""

    limits: dict[Literal["low", "medium", "high"], TicketLimit] = {
        "low": TicketLimit(respond_hours=48, resolve_hours=720),
        "medium": TicketLimit(respond_hours=24, resolve_hours=240),
        "high": TicketLimit(respond_hours=4, resolve_hours=48),
    }


class Journey(Section):
    """Where one stage of an account ends and the next begins (J1)."""

    onboarding_days: int = Field(60, gt=0)
    pre_renewal_days: int = Field(90, gt=0)


class Money(Section):
    """The reporting currency, and the size bands in it (R7)."""

    reporting_currency: str = "USD"
    size_bands: tuple[float, float] = (20_000.0, 100_000.0)


class Policy(Section):
    """All that `features/` and the targets may ask about the company."""

    grace: Grace = Grace()
    renewal: Renewal = Renewal()
    usage: Usage = Usage()
    stakeholders: Stakeholders = Stakeholders()
    tickets: Tickets = Tickets()
    journey: Journey = Journey()
    money: Money = Money()
