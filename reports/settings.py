"""What a company decides about its list: bands, capacity, what is said and in which language."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from renewals.features.patterns import normalize_text
from renewals.features.policy import ConfigSection

Language = Literal["en", "zh"]
WHAT_IF_FEATURES = (
    "use_days_per_person_s_90d",
    "seat_activation_28d",
    "core_workflow_share_28d",
    "first_response_hours_90d",
    "goals_overdue",
)


class Bands(ConfigSection):
    """From which probability of *loss* on a renewal is called high or medium risk."""

    high: float = Field(default=0.40, gt=0, le=1)
    medium: float = Field(default=0.20, gt=0, le=1)

    @model_validator(mode="after")
    def _check_order(self) -> Bands:
        if self.medium > self.high:
            raise ValueError(f"medium ({self.medium}) must not lie above high ({self.high})")
        return self


class ManagerCapacity(ConfigSection):
    """How much one manager can carry: accounts, recurring revenue up for renewal, and hours (M2)."""

    accounts: int = Field(default=50, ge=0)
    arr: float = Field(default=5_000_000.0, ge=0)
    hours: float | None = Field(default=None, ge=0)
    """What the first playbooks of the accounts may take in all; empty: no limit."""


class Capacity(ManagerCapacity):
    """Everyone's capacity, and that of managers who differ."""

    managers: dict[str, ManagerCapacity] = Field(default_factory=dict)
    """By the manager's name as it stands in `accounts.csm`."""

    def for_manager(self, csm: str | None) -> ManagerCapacity:
        """The capacity of one manager."""
        name = normalize_text(csm) if csm is not None else None
        return next((own for manager, own in self.managers.items() if normalize_text(manager) == name), self)


class ListOptions(ConfigSection):
    """How the risk list is cut, ranked and worded."""

    language: Language = "en"
    hindsight: bool = False
    """A list may be made by models that learned after its day; it is marked, and never read as history."""
    min_history_days: int = Field(default=7, ge=0)
    """An account whose first contract began fewer days ago is listed but not scored."""
    max_out_of_range_share: float = Field(default=0.20, gt=0, le=1)
    """An account with a larger share of figures beyond what 99 in 100 training rows showed is listed but not scored."""
    confidence: float = Field(default=0.80, gt=0, lt=1)
    """How surely an account's own chance lies within the interval about its probability."""
    invalid_row_limit: float = Field(default=0.01, ge=0, le=1)
    """A row that breaks an invariant is listed without a score. If a larger share of the rows does, nothing is
    published; a single row never stops a list."""
    bands: Bands = Bands()
    expansion_threshold: float = Field(default=0.25, gt=0, le=1)
    """From which probability of expansion on an account is worth growing (J5)."""
    capacity: Capacity = Capacity()
    playbooks: str | None = None
    """The file of the library of plays; empty: the one that comes with the pipeline."""
    min_peers: int = Field(default=10, ge=1)
    """Peers are the accounts of the same size band and stage; with fewer than this, of the same band, then all."""
    min_reason_share: float = Field(default=0.03, ge=0, lt=1)
    """A reason or strength that makes up less than this share of all contributions is left out."""
    workbook_rows: int = Field(default=50_000, ge=1, le=1_000_000)
    """The workbook shows at most this many accounts; the Parquet and CSV files hold all."""
    workbook_managers: int = Field(default=60, ge=1, le=200)
    """So many managers have a sheet of their own, those with the most ARR first."""
    page_rows: int = Field(default=20_000, ge=1, le=100_000)
    """The page shows at most this many accounts, the first of the list."""
    what_if_features: tuple[str, ...] = WHAT_IF_FEATURES
    """The figures that can be tried on the page, by the names of their features: such as a manager can move. What the
    model does not read, such as an action that is logged, is left out."""
    keep_staging_hours: float = Field(default=24.0, gt=0)
    """What a killed run left behind is removed after this long."""

    @property
    def explanation_values(self) -> dict[str, float]:
        """The numbers that stand in the explanations of the columns."""
        return {
            "high": self.bands.high,
            "medium": self.bands.medium,
            "expansion": self.expansion_threshold,
            "accounts": self.capacity.accounts,
            "arr": self.capacity.arr,
        }
