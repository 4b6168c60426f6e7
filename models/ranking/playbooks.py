"""Playbook library: the playbooks of a company, with the reasons they address, their effort and their effect.

`pipelines/storage/playbook_library.py` reads `playbooks.yaml` into these models. Light to import: no pandas here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from pydantic import Field, field_validator, model_validator

from renewals.features.family import Theme
from renewals.features.policy import ConfigSection

Stage = Literal["onboarding", "steady", "pre_renewal"]
SizeBand = Literal["small", "medium", "large"]
STAGES: tuple[Stage, ...] = get_args(Stage)
SIZE_BANDS: tuple[SizeBand, ...] = get_args(SizeBand)
ANY_PLAYBOOK = "*"
"""Means any intervention, whatever its playbook."""
ASSUMED_EFFECT_SD = 0.3
"""Standard deviation, in log-odds, of an effect's prior around the assumed effect, for combination with a measured one.

The shipped library assumes 0.2 to 0.5, so zero and twice the effect both lie within two standard deviations."""


class LocalizedText(ConfigSection):
    """A text for the list, in both languages."""

    en: str = Field(min_length=1)
    zh: str = Field(min_length=1)


class PlaybookSteps(ConfigSection):
    """Steps of a playbook, in order."""

    en: tuple[str, ...] = Field(min_length=1)
    zh: tuple[str, ...] = Field(min_length=1)


class Playbook(ConfigSection):
    """One playbook: it addresses reasons or aims at an expansion."""

    name: LocalizedText
    themes: tuple[Theme, ...] = ()
    """Themes of the reasons that it addresses."""
    expansion: Literal["upsell", "cross_sell"] | None = None
    """The expansion that it aims at, if it addresses no reasons."""
    expansion_arr_share: float | None = Field(None, gt=0)
    """ARR of that expansion, as a share of the account's ARR."""
    stages: tuple[Stage, ...] = Field(STAGES, min_length=1)
    size_bands: tuple[SizeBand, ...] = Field(SIZE_BANDS, min_length=1)
    owner: LocalizedText
    """Role that runs it; a single text is used for both languages."""
    hours: float = Field(gt=0, allow_inf_nan=False)
    """Hours of work per account."""
    log_odds_effect: float = Field(gt=0, le=5)
    """Log-odds of renewing, or of the expansion, that it is assumed to add."""
    steps: PlaybookSteps

    @field_validator("owner", mode="before")
    @classmethod
    def _duplicate_text(cls, owner: Any) -> Any:
        return {"en": owner, "zh": owner} if isinstance(owner, str) else owner

    @model_validator(mode="after")
    def _validate_purpose(self) -> Playbook:
        if bool(self.themes) == bool(self.expansion):
            raise ValueError("give either `themes`, the reasons it addresses, or `expansion`, the expansion it aims at")
        if (self.expansion is None) != (self.expansion_arr_share is None):
            raise ValueError(
                "`expansion_arr_share`, the ARR of the expansion as a share of the account's, is required with "
                "`expansion` and not allowed without it"
            )
        return self

    @model_validator(mode="after")
    def _validate_steps(self) -> Playbook:
        if len(self.steps.en) != len(self.steps.zh):
            raise ValueError(
                f"{len(self.steps.en)} steps in English, {len(self.steps.zh)} in Chinese: give the same number in both"
            )
        return self

    def applies_to(self, stage: str, size_band: str | None) -> bool:
        """True if the playbook is for this stage and size; an account of unknown size gets those for every size."""
        known = size_band in self.size_bands if size_band else self.size_bands == SIZE_BANDS
        return stage in self.stages and known


class PlaybookLibrary(ConfigSection):
    """Playbooks of a company by id, in order of preference."""

    plays: dict[str, Playbook] = Field(min_length=1)

    @field_validator("plays")
    @classmethod
    def _validate_ids_and_names(cls, plays: dict[str, Playbook]) -> dict[str, Playbook]:
        if invalid := [key for key in plays if not re.fullmatch(r"[a-z][a-z0-9_]*", key)]:
            raise ValueError(
                f"{invalid[0]!r} is not a valid id: use lowercase letters, digits and _, starting with a letter"
            )
        for language in ("en", "zh"):
            names = [getattr(play.name, language) for play in plays.values()]
            if duplicates := [name for name in names if names.count(name) > 1]:
                raise ValueError(f"two playbooks have the name {duplicates[0]!r}")
        return plays


@dataclass(frozen=True)
class MeasuredEffect:
    """Effect of a playbook as `renewals effect` estimated it, in log-odds of renewing, with its standard error."""

    log_odds: float
    standard_error: float
    treated_rows: int
    """Number of treated observations behind the estimate."""


@dataclass(frozen=True)
class PlaybookEffect:
    """Log-odds that a playbook adds, as used for the ranking."""

    log_odds: float
    treated_rows: int = 0
    """Number of treated observations behind it; 0 if the effect is only assumed."""


def combine_effects(library: PlaybookLibrary, measured: Mapping[str, MeasuredEffect]) -> dict[str, PlaybookEffect]:
    """Effect of every playbook, by id: the assumed one, combined with the measured one where it exists.

    The two are weighted by their precision (the posterior mean of a normal effect with a normal prior). A playbook with
    a negative effect counts as zero. Expansion playbooks are not measured: `renewals effect` estimates renewals only.
    """
    return {
        key: _shrink_effect(play.log_odds_effect, measured[key])
        if key in measured and not play.expansion
        else PlaybookEffect(play.log_odds_effect)
        for key, play in library.plays.items()
    }


def _shrink_effect(assumed: float, measured: MeasuredEffect) -> PlaybookEffect:
    weight = ASSUMED_EFFECT_SD**2 / (ASSUMED_EFFECT_SD**2 + measured.standard_error**2)
    return PlaybookEffect(max(0.0, assumed + weight * (measured.log_odds - assumed)), measured.treated_rows)
