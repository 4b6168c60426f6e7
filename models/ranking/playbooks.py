"""The library of plays: what a manager may be told to do, which reasons it answers, what it takes and what it gives.

`playbooks.yaml` is read into these models by `pipelines/storage/playbook_library.py`. Light to import: no pandas here.
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
"""Stands for any intervention, whatever the playbook."""
ASSUMED_EFFECT_SD = 0.3
"""How far, in log-odds, an assumed effect may well be off: the standard deviation of the prior a measured one meets.

The shipped library assumes 0.2 to 0.5, so nought and twice the effect are both within two of it."""


class LocalizedText(ConfigSection):
    """A name, as it stands on the list."""

    en: str = Field(min_length=1)
    zh: str = Field(min_length=1)


class PlaybookSteps(ConfigSection):
    """What to do, in order."""

    en: tuple[str, ...] = Field(min_length=1)
    zh: tuple[str, ...] = Field(min_length=1)


class Playbook(ConfigSection):
    """One play: it answers reasons, or it grows the account."""

    name: LocalizedText
    themes: tuple[Theme, ...] = ()
    """The reasons it answers."""
    expansion: Literal["upsell", "cross_sell"] | None = None
    """The expansion it is for, where it answers no reasons."""
    expansion_arr_share: float | None = Field(None, gt=0)
    """What that expansion brings, as a share of ARR."""
    stages: tuple[Stage, ...] = Field(STAGES, min_length=1)
    size_bands: tuple[SizeBand, ...] = Field(SIZE_BANDS, min_length=1)
    owner: LocalizedText
    """Who runs it; one text where both languages say the same."""
    hours: float = Field(gt=0, allow_inf_nan=False)
    """What one account takes."""
    log_odds_effect: float = Field(gt=0, le=5)
    """What it is assumed to add to the log-odds of renewing, or of the expansion."""
    steps: PlaybookSteps

    @field_validator("owner", mode="before")
    @classmethod
    def _duplicate_text(cls, owner: Any) -> Any:
        return {"en": owner, "zh": owner} if isinstance(owner, str) else owner

    @model_validator(mode="after")
    def _validate_purpose(self) -> Playbook:
        if bool(self.themes) == bool(self.expansion):
            raise ValueError("give either `themes`, the reasons it answers, or `expansion`, the expansion it is for")
        if (self.expansion is None) != (self.expansion_arr_share is None):
            raise ValueError(
                "`expansion_arr_share`, what the expansion brings as a share of ARR, goes with `expansion` and only "
                "with it"
            )
        return self

    @model_validator(mode="after")
    def _validate_steps(self) -> Playbook:
        if len(self.steps.en) != len(self.steps.zh):
            raise ValueError(
                f"{len(self.steps.en)} steps in English, {len(self.steps.zh)} in Chinese: give as many in each"
            )
        return self

    def applies_to(self, stage: str, size_band: str | None) -> bool:
        """Whether it is for such an account; one of unknown size gets what is for every size."""
        known = size_band in self.size_bands if size_band else self.size_bands == SIZE_BANDS
        return stage in self.stages and known


class PlaybookLibrary(ConfigSection):
    """The plays of a company by id, the preferred first."""

    plays: dict[str, Playbook] = Field(min_length=1)

    @field_validator("plays")
    @classmethod
    def _validate_ids_and_names(cls, plays: dict[str, Playbook]) -> dict[str, Playbook]:
        if odd := [key for key in plays if not re.fullmatch(r"[a-z][a-z0-9_]*", key)]:
            raise ValueError(f"{odd[0]!r} is no id: use small letters, digits and _, a letter first")
        for language in ("en", "zh"):
            names = [getattr(play.name, language) for play in plays.values()]
            if twice := [name for name in names if names.count(name) > 1]:
                raise ValueError(f"two plays are called {twice[0]!r}")
        return plays


@dataclass(frozen=True)
class MeasuredEffect:
    """What `renewals effect` found of a play, in log-odds of renewing, with its standard error."""

    log_odds: float
    standard_error: float
    treated_rows: int
    """Observations it stands on."""


@dataclass(frozen=True)
class PlaybookEffect:
    """What a play is taken to add to the log-odds."""

    log_odds: float
    treated_rows: int = 0
    """Observations that spoke; 0 where it is assumed alone."""


def combine_effects(library: PlaybookLibrary, measured: Mapping[str, MeasuredEffect]) -> dict[str, PlaybookEffect]:
    """The effect of every play, by id: assumed, or between assumed and measured where it was measured.

    The two are weighted by how sure each is (the posterior mean of a normal effect with a normal prior). A play that
    does more harm than good is taken to add nothing. Growing is not measured: `renewals effect` knows renewals alone.
    """
    return {
        key: _shrink_effect(play.log_odds_effect, measured[key])
        if key in measured and not play.expansion
        else PlaybookEffect(play.log_odds_effect)
        for key, play in library.plays.items()
    }


def _shrink_effect(assumed: float, measured: MeasuredEffect) -> PlaybookEffect:
    trust = ASSUMED_EFFECT_SD**2 / (ASSUMED_EFFECT_SD**2 + measured.standard_error**2)
    return PlaybookEffect(max(0.0, assumed + trust * (measured.log_odds - assumed)), measured.treated_rows)
