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
from renewals.features.policy import Section

Stage = Literal["onboarding", "steady", "pre_renewal"]
SizeBand = Literal["small", "medium", "large"]
STAGES: tuple[Stage, ...] = get_args(Stage)
SIZE_BANDS: tuple[SizeBand, ...] = get_args(SizeBand)
ANY = "*"
"""Stands for any intervention, whatever the playbook."""
ASSUMED_SPREAD = 0.3
"""How far, in log-odds, an assumed effect may well be off: the standard deviation of the prior a measured one meets.

The shipped library assumes 0.2 to 0.5, so nought and twice the effect are both within two of it."""


class Named(Section):
    """A name, as it stands on the list."""

    en: str = Field(min_length=1)
    zh: str = Field(min_length=1)


class Steps(Section):
    """What to do, in order."""

    en: tuple[str, ...] = Field(min_length=1)
    zh: tuple[str, ...] = Field(min_length=1)


class Play(Section):
    """One play: it answers reasons, or it grows the account."""

    name: Named
    themes: tuple[Theme, ...] = ()
    """The reasons it answers."""
    grows: Literal["upsell", "cross_sell"] | None = None
    """The expansion it is for, where it answers no reasons."""
    adds: float | None = Field(None, gt=0)
    """What that expansion brings, as a share of ARR."""
    stages: tuple[Stage, ...] = Field(STAGES, min_length=1)
    size_bands: tuple[SizeBand, ...] = Field(SIZE_BANDS, min_length=1)
    owner: Named
    """Who runs it; one text where both languages say the same."""
    hours: float = Field(gt=0, allow_inf_nan=False)
    """What one account takes."""
    effect: float = Field(gt=0, le=5)
    """What it is assumed to add to the log-odds of renewing, or of the expansion."""
    steps: Steps

    @field_validator("owner", mode="before")
    @classmethod
    def _in_both(cls, owner: Any) -> Any:
        return {"en": owner, "zh": owner} if isinstance(owner, str) else owner

    @model_validator(mode="after")
    def _answers_or_grows(self) -> Play:
        if bool(self.themes) == bool(self.grows):
            raise ValueError("give either `themes`, the reasons it answers, or `grows`, the expansion it is for")
        if (self.grows is None) != (self.adds is None):
            raise ValueError("`adds`, what the expansion brings as a share of ARR, goes with `grows` and only with it")
        return self

    @model_validator(mode="after")
    def _says_the_same_in_both(self) -> Play:
        if len(self.steps.en) != len(self.steps.zh):
            raise ValueError(
                f"{len(self.steps.en)} steps in English, {len(self.steps.zh)} in Chinese: give as many in each"
            )
        return self

    def fits(self, stage: str, size_band: str | None) -> bool:
        """Whether it is for such an account; one of unknown size gets what is for every size."""
        known = size_band in self.size_bands if size_band else self.size_bands == SIZE_BANDS
        return stage in self.stages and known


class Library(Section):
    """The plays of a company by id, the preferred first."""

    plays: dict[str, Play] = Field(min_length=1)

    @field_validator("plays")
    @classmethod
    def _can_be_told_apart(cls, plays: dict[str, Play]) -> dict[str, Play]:
        if odd := [key for key in plays if not re.fullmatch(r"[a-z][a-z0-9_]*", key)]:
            raise ValueError(f"{odd[0]!r} is no id: use small letters, digits and _, a letter first")
        for language in ("en", "zh"):
            names = [getattr(play.name, language) for play in plays.values()]
            if twice := [name for name in names if names.count(name) > 1]:
                raise ValueError(f"two plays are called {twice[0]!r}")
        return plays


@dataclass(frozen=True)
class Measured:
    """What `renewals effect` found of a play, in log-odds of renewing, with its standard error."""

    log_odds: float
    error: float
    treated: int
    """Observations it stands on."""


@dataclass(frozen=True)
class Effect:
    """What a play is taken to add to the log-odds."""

    log_odds: float
    treated: int = 0
    """Observations that spoke; 0 where it is assumed alone."""


def in_force(library: Library, measured: Mapping[str, Measured]) -> dict[str, Effect]:
    """The effect of every play, by id: assumed, or between assumed and measured where it was measured.

    The two are weighted by how sure each is (the posterior mean of a normal effect with a normal prior). A play that
    does more harm than good is taken to add nothing. Growing is not measured: `renewals effect` knows renewals alone.
    """
    return {
        key: _shrunk(play.effect, measured[key]) if key in measured and not play.grows else Effect(play.effect)
        for key, play in library.plays.items()
    }


def _shrunk(assumed: float, found: Measured) -> Effect:
    trust = ASSUMED_SPREAD**2 / (ASSUMED_SPREAD**2 + found.error**2)
    return Effect(max(0.0, assumed + trust * (found.log_odds - assumed)), found.treated)
