"""Settings of the risk list: risk bands, managers' capacity, language, and limits of the outputs."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from renewals.features.patterns import normalize_text
from renewals.features.policy import ConfigSection
from renewals.models.settings import HealthSettings

Language = Literal["en", "zh"]
WHAT_IF_FEATURES = (
    "use_days_per_person_s_90d",
    "seat_activation_28d",
    "core_workflow_share_28d",
    "first_response_hours_90d",
    "goals_overdue",
)


class Bands(ConfigSection):
    """Probabilities of *loss* from which a renewal is high or medium risk."""

    high: float = Field(default=0.40, gt=0, le=1)
    medium: float = Field(default=0.20, gt=0, le=1)

    @model_validator(mode="after")
    def _check_order(self) -> Bands:
        if self.medium > self.high:
            raise ValueError(f"medium ({self.medium}) must not be above high ({self.high})")
        return self


class ManagerCapacity(ConfigSection):
    """Capacity of one manager: number of accounts, recurring revenue up for renewal, and hours (M2)."""

    accounts: int = Field(default=50, ge=0)
    arr: float = Field(default=5_000_000.0, ge=0)
    hours: float | None = Field(default=None, ge=0)
    """Limit for the total hours of the accounts' first playbooks; empty: no limit."""


class Capacity(ManagerCapacity):
    """The default capacity, and that of managers who differ from it."""

    managers: dict[str, ManagerCapacity] = Field(default_factory=dict)
    """Capacity by the manager's name as in `accounts.csm`."""

    def for_manager(self, csm: str | None) -> ManagerCapacity:
        """Capacity of one manager; the default capacity for a manager without an entry."""
        name = normalize_text(csm) if csm is not None else None
        return next((capacity for manager, capacity in self.managers.items() if normalize_text(manager) == name), self)


class ListOptions(ConfigSection):
    """Options of the risk list: language, scoring limits, ranking, and sizes of the outputs."""

    language: Language = "en"
    hindsight: bool = False
    """Allow models that were trained on data from after the list's day. Such a list is marked, and never used as
    history."""
    min_history_days: int = Field(default=7, ge=0)
    """An account is listed but not scored if its first contract began fewer days ago."""
    max_out_of_range_share: float = Field(default=0.20, gt=0, le=1)
    """An account is listed but not scored if a larger share of its feature values lies outside the range of 99 % of the
    training rows."""
    confidence: float = Field(default=0.80, gt=0, lt=1)
    """Confidence level of the interval around an account's renewal probability."""
    invalid_row_limit: float = Field(default=0.01, ge=0, le=1)
    """A row that breaks an invariant is listed without a score. If a larger share of the rows does, nothing is
    published; a single row never stops a list."""
    bands: Bands = Bands()
    health: HealthSettings = HealthSettings()
    expansion_threshold: float = Field(default=0.25, gt=0, le=1)
    """Probability of expansion from which an account is worth expanding (J5)."""
    capacity: Capacity = Capacity()
    playbooks: str | None = None
    """File of the playbook library; empty: the library that comes with the pipeline."""
    min_peers: int = Field(default=10, ge=1)
    """Peers are the accounts of the same size band and stage. If there are fewer than this, peers are the accounts of
    the same size band, then all accounts."""
    min_reason_share: float = Field(default=0.03, ge=0, lt=1)
    """A reason or strength with a smaller share of all contributions is left out."""
    workbook_rows: int = Field(default=50_000, ge=1, le=1_000_000)
    """The workbook shows at most this many accounts; the Parquet and CSV files hold all."""
    workbook_managers: int = Field(default=60, ge=1, le=200)
    """At most this many managers get their own sheet, those with the most ARR first."""
    page_rows: int = Field(default=20_000, ge=1, le=100_000)
    """The page shows at most this many accounts, from the top of the list."""
    what_if_features: tuple[str, ...] = WHAT_IF_FEATURES
    """Features that the page can change to other values (what-if): those that a manager can influence. Features that
    the model does not use, such as logged actions, are left out."""
    keep_staging_hours: float = Field(default=24.0, gt=0)
    """Files left by a killed run are removed after this many hours."""

    @property
    def explanation_values(self) -> dict[str, float]:
        """Numbers that are inserted into the explanations of the columns."""
        return {
            "high": self.bands.high,
            "medium": self.bands.medium,
            "expansion": self.expansion_threshold,
            "accounts": self.capacity.accounts,
            "arr": self.capacity.arr,
        }
