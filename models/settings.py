"""What a person may set about learning, with the defaults and why they are so.

Light to import: no LightGBM, scikit-learn or pandas here.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from renewals.features.policy import ConfigSection

TreatedPolicy = Literal["keep", "exclude"]
"""What becomes of rows that an intervention worked on, when a renewal model learns."""


class LinearSettings(ConfigSection):
    """The linear part: a ridge logistic regression on curves of each feature."""

    inverse_penalties: tuple[float, ...] = Field((0.003, 0.01, 0.03), min_length=1)
    """Inverse ridge penalties tried on the temporal folds; small is strongly regularised."""
    knots: int = Field(33, ge=3, le=257)
    """Quantiles stored per feature; a value is placed by its rank among the training rows."""
    min_category_rows: int = Field(50, ge=1)
    """A category seen in fewer training rows gets no weight of its own."""
    near_term_days: float = Field(60.0, ge=0)
    """Within so many days of the renewal a figure may weigh more than before; 0: it never does.

    Decisions fall about then, and what is seen after one is no longer a cause but its trace."""
    max_iterations: int = Field(200, ge=10)
    """The solver stops after this many steps; the ridge makes it converge long before."""


class LightGBMSettings(ConfigSection):
    """The trees: shallow, slow and strongly regularised, for a company has hundreds of outcomes and not millions."""

    num_rounds: tuple[int, ...] = Field((100, 200, 400), min_length=1)
    """Numbers of trees tried on the temporal folds."""
    learning_rate: float = Field(0.05, gt=0, le=1)
    max_depth: int = Field(3, ge=1, le=12)
    min_data_in_leaf: int = Field(50, ge=1)
    min_sum_hessian_in_leaf: float = Field(1.0, ge=0)
    lambda_l2: float = Field(10.0, ge=0)
    feature_fraction: float = Field(0.5, gt=0, le=1)
    bagging_fraction: float = Field(0.7, gt=0, le=1)
    extra_trees: bool = True
    """One random threshold a feature and node: steadier where features say nearly the same."""
    monotone: bool = True
    """A feature declared risky when low (or high) may only be so, in the trees and in the linear part; renewal only."""
    tree_weights: tuple[float, ...] = Field((0.0, 0.1, 0.2, 0.5, 1.0), min_length=1)
    """Weights of the trees' margin tried on the temporal folds: 0 is the linear part alone, 1 the trees alone.

    Of each list of this kind the middle one is the usual choice, kept unless another is clearly better."""
    seed: int = 7
    parallel_fits: int = Field(2, ge=1)
    """Training days learned from side by side, each on one thread."""

    @model_validator(mode="after")
    def _validate_shares(self) -> LightGBMSettings:
        if not all(0 <= share <= 1 for share in self.tree_weights):
            raise ValueError(f"tree_weights {self.tree_weights} must lie between 0 and 1")
        return self


class CalibrationSettings(ConfigSection):
    """From margin to probability: a sigmoid fitted on forward predictions."""

    half_life_days: float = Field(730.0, gt=0)
    """What was said so long ago counts half: the level of renewals drifts over the years."""

    prior_renewals: float = Field(200.0, ge=0)
    """How strongly the sigmoid is held to leave the margin as it is, in renewals.

    The level by which past models were off is mostly their year's, and seldom comes again; a well-regularised margin
    needs little stretching. In back-tests inside the training periods of OpenStack and of four example companies the
    log loss fell up to about 200 and hardly moved beyond; 200 still follows a real fault of a few thousand renewals."""
    min_renewals: int = Field(40, ge=2)
    """With fewer forward renewals than this only the level is calibrated, not the slope and no segment."""
    segments: tuple[str, ...] = ("industry", "plan")
    """Features that are categories, whose values may each have a level of their own, as far as past words show it."""


class FoldSettings(ConfigSection):
    """Rolling origins: at each, a model learns what was final then and is tested on what came after."""

    origins: int = Field(5, ge=1)
    """Training days, spread evenly over the part of history that can hold them."""
    first_train_share: float = Field(0.5, gt=0, lt=1)
    """The first origin is the day on which those to learn from were this share of all that are learned from or tested.

    It only chooses among the days that leave enough for both, and refuses none."""
    embargo_days: int = Field(0, ge=0)
    """Days a final label needs to reach the training table, on top of its own maturity."""
    min_renewals: int = Field(60, ge=2)
    """The first origin needs this many renewals (or account terms) to learn from, and as many to test …"""
    min_events: int = Field(10, ge=1)
    """… and this many of the rarer outcome among each."""
    focus_lead_days: float = Field(90.0, ge=0)
    """Rows about so many days before the end teach a renewal model most, for there its word is wanted; 0: all alike."""
    treated_rows: TreatedPolicy = "exclude"
    """Rows of renewals that an intervention worked on: left out, or kept as if nothing had been done.

    Kept, they teach that what used to be risky is safe, for the list had it treated (`bench/feedback.py`). What had
    been done before the observation is known on it, and a feature like others (`features/families/care.py`)."""
    decided_days: int = Field(60, ge=0)
    """So long before the end decisions have fallen: an intervention that starts later has no hand in them."""


class GateSettings(ConfigSection):
    """What a trained model must show on the folds before it becomes champion."""

    lead_days: int = Field(90, gt=0)
    """The lead at which a renewal model is judged; expansion is judged on all observations."""
    min_renewals: int = Field(60, ge=2)
    """Tested renewals at that lead, at least …"""
    min_events: int = Field(15, ge=1)
    """… and this many of the rarer outcome among them."""
    slope_range: tuple[float, float] = (0.6, 1.6)
    """The calibration slope lies within, or its interval touches this range."""
    max_calibration_error: float = Field(0.10, gt=0, lt=1)
    """The mean distance between promised and observed share, less what chance alone would show."""
    bootstrap_samples: int = Field(400, ge=50)
    """Resamples of accounts behind every interval."""
    confidence: float = Field(0.90, gt=0.5, lt=1)
    base_rate_confidence: float = Field(0.98, gt=0.5, lt=1)
    """The same for the base rate, which must be beaten: of models that know nothing at all hardly one in a hundred may
    look as if it did."""
    segments: tuple[str, ...] = ("size_band", "industry", "plan")
    """Columns of the training table by whose values calibration and the champion are looked at again, wherever a
    value has the terms and outcomes asked for above."""
    promote: Literal["auto", "manual"] = "auto"
    """What passes serves at once, or waits as challenger until `renewals promote`."""

    @model_validator(mode="after")
    def _validate_slope(self) -> GateSettings:
        if not self.slope_range[0] < self.slope_range[1]:
            raise ValueError(f"slope_range {self.slope_range} must be a range, low before high")
        return self


class ForecastSettings(ConfigSection):
    """How the quarters ahead are drawn."""

    draws: int = Field(2000, ge=100)
    """Years drawn; the ends of an 80 % interval are then known to about a hundredth of its chance."""
    confidence: float = Field(0.80, gt=0, lt=1)
    """The share of draws that an interval holds."""
    quarter_effect_sd: float = Field(0.15, gt=0)
    """How far, in log-odds, the level of a quarter's renewals usually strays from what was said: the prior's scale.

    Where nine in ten renew, 0.15 is about a point and a half. Past quarters speak louder as they become many."""
    seed: int = 7


class DriftSettings(ConfigSection):
    """When a difference from what was usual is worth a warning: it must be large, and surely more than chance."""

    confidence: float = Field(0.99, gt=0.5, lt=1)
    """Of a hundred runs in which nothing drifts, so many are to pass without a warning, all looks of a run together."""
    psi_threshold: float = Field(0.25, gt=0)
    """A population stability index up to this is no matter; 0.25 is the usual mark of a major shift."""
    missing_threshold: float = Field(0.10, gt=0, lt=1)
    """Nor is a share of missing figures that moved by no more than this …"""
    calibration_threshold: float = Field(0.05, gt=0, lt=1)
    """… or a share of renewals that came out this close to what was promised."""
    min_renewals: int = Field(30, ge=10)
    """Lists of which fewer renewals have become final are not judged yet."""


class EffectSettings(ConfigSection):
    """Who is compared with whom when the effect of an intervention is asked for, and when no answer is given."""

    window_days: int = Field(31, gt=0)
    """An observation is treated if an intervention started within so many days from it on: between month starts none
    is lost, and one in the windows of two observations belongs to the later."""
    washout_days: int = Field(120, ge=0)
    """Neither side had an intervention in so many days before: it would still be at work."""
    min_lead_days: int = Field(120, ge=0)
    """The renewal is at least so far away. Decisions fall some two months before the end, and who has decided to leave
    is no longer treated: window and decision must both lie ahead."""
    untreated_per_renewal: int = Field(2, ge=1)
    """So many of a renewal's untreated observations are compared; more say nearly the same and cost time."""
    folds: int = Field(5, ge=2)
    """No account is judged by a model that has learned from it: accounts are dealt into so many parts."""
    min_treated: int = Field(50, ge=10)
    """No answer from fewer treated observations …"""
    min_events: int = Field(10, ge=2)
    """… or where, of treated or untreated, fewer than this came out in the rarer way …"""
    max_propensity: float = Field(0.9, gt=0, lt=1)
    """… or where too few of the treated had at most this chance of being treated, for above it nobody is left to
    compare them with; …"""
    min_overlap_share: float = Field(0.95, gt=0, le=1)
    """… at least this share must …"""
    min_effective_sample_size: float = Field(50.0, gt=0)
    """… or where the untreated, weighted to look like the treated, are worth fewer observations than this."""
    confidence: float = Field(0.90, gt=0.5, lt=1)
    seed: int = 7


TUNABLE_SECTIONS: dict[str, type[ConfigSection]] = {
    "lightgbm": LightGBMSettings,
    "linear": LinearSettings,
    "calibration": CalibrationSettings,
}
"""The sections whose numbers may be searched; `folds` is the yardstick, and lists are chosen for every model anyway."""
UNTUNED_KEYS = ("seed", "parallel_fits")

SearchSpace = dict[str, tuple[int | float, ...]]
"""The values tried of each setting, by its key."""


class TuneSettings(ConfigSection):
    """`renewals tune`: the settings of the learner that are searched, and how long."""

    trials: int = Field(40, ge=1)
    """So many settings are tried in a study, those of earlier runs counted …"""
    minutes: float = Field(60.0, gt=0)
    """… unless so many minutes of trying have passed first, those of earlier runs counted too."""
    holdout_share: float = Field(0.2, gt=0, lt=1)
    """The search stands on the newest day after which this share of the terms was observed: they judge its result."""
    search_space: SearchSpace = Field(
        {
            "lightgbm.max_depth": (1, 2, 3, 4, 5),
            "lightgbm.learning_rate": (0.02, 0.03, 0.05, 0.08, 0.12),
            "lightgbm.min_data_in_leaf": (10, 20, 50, 100, 200, 400),
            "lightgbm.lambda_l2": (0.3, 1.0, 3.0, 10.0, 30.0, 100.0),
            "lightgbm.feature_fraction": (0.1, 0.2, 0.35, 0.5, 0.7, 1.0),
            "lightgbm.bagging_fraction": (0.4, 0.55, 0.7, 0.85, 1.0),
        }
    )
    """The values tried of each setting, beside the one in force. A setting that is not named stays as it is.

    Trees alone: what a short past says of `linear.near_term_days` and `calibration.prior_renewals` did not hold later
    (ADR 16)."""
    seed: int = 7

    @field_validator("search_space")
    @classmethod
    def _validate_search_space(cls, search_space: SearchSpace) -> SearchSpace:
        if not search_space:
            raise ValueError("name at least one setting to search")
        return {
            key: tuple(sorted({_validate_value(key, value) for value in values}))
            for key, values in search_space.items()
        }


def _validate_value(key: str, value: float) -> int | float:
    """The value as its section keeps it. Raises ValueError where the section has no such number, or refuses it."""
    section, _, name = key.partition(".")
    field = TUNABLE_SECTIONS[section].model_fields.get(name) if section in TUNABLE_SECTIONS else None
    if field is None or field.annotation not in (int, float) or name in UNTUNED_KEYS:
        raise ValueError(f"{key} is no number of {', '.join(TUNABLE_SECTIONS)} that can be searched")
    try:
        found: int | float = getattr(TUNABLE_SECTIONS[section].model_validate({name: value}), name)
    except ValidationError as error:
        raise ValueError(f"{key} cannot be {value}: {error.errors()[0]['msg']}") from None
    return found


RENEWAL = "renewal"
