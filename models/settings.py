"""Settings of training, evaluation, forecast and tuning, with their defaults and the reasons for them.

Importing this module is cheap: it does not import LightGBM, scikit-learn or pandas.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from renewals.features.policy import ConfigSection

TreatedPolicy = Literal["keep", "exclude"]
"""Use of treated rows (an intervention may have changed their outcome) in the training of a renewal model."""


class LinearSettings(ConfigSection):
    """Settings of the linear part: a ridge logistic regression on curves of each feature."""

    inverse_penalties: tuple[float, ...] = Field((0.003, 0.01, 0.03), min_length=1)
    """Inverse ridge penalties tried on the temporal folds; a small value means strong regularisation."""
    knots: int = Field(33, ge=3, le=257)
    """Quantiles stored per feature, which map a value to its rank among the training rows."""
    min_category_rows: int = Field(50, ge=1)
    """Categories in fewer training rows than this get no separate weight."""
    near_term_days: float = Field(60.0, ge=0)
    """Days before the renewal from which features may have additional near-term effects; 0 switches these off.

    Customers decide at about that time, and later behaviour is no longer a cause of the decision but its result."""
    max_iterations: int = Field(200, ge=10)
    """Maximum number of solver iterations; because of the ridge penalty it converges much earlier."""


class LightGBMSettings(ConfigSection):
    """Settings of the trees: shallow, slow and strongly regularised, as a company has only hundreds of outcomes."""

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
    """Try one random threshold per feature and node: more stable where features are highly correlated."""
    monotone: bool = True
    """Constrain features that are declared risky when low (or high) to that direction, in both parts; renewal only."""
    tree_weights: tuple[float, ...] = Field((0.0, 0.1, 0.2, 0.5, 1.0), min_length=1)
    """Weights of the trees' margin tried on the temporal folds: 0 is the linear part alone, 1 the trees alone.

    In each such list the middle value is the default, used unless another value is significantly better."""
    seed: int = 7
    parallel_fits: int = Field(2, ge=1)
    """Number of models trained in parallel, each on one thread."""

    @model_validator(mode="after")
    def _validate_shares(self) -> LightGBMSettings:
        if not all(0 <= share <= 1 for share in self.tree_weights):
            raise ValueError(f"tree_weights {self.tree_weights} must lie between 0 and 1")
        return self


class CalibrationSettings(ConfigSection):
    """Settings of the calibration from margin to probability: a sigmoid fitted on out-of-fold predictions."""

    half_life_days: float = Field(730.0, gt=0)
    """Half-life, in days, of past predictions in the fit, because the renewal rate drifts over the years."""

    prior_renewals: float = Field(200.0, ge=0)
    """Strength of the prior that leaves the margin unchanged (slope 1, intercept 0), as a number of renewals.

    The bias of past models is mostly specific to their year and seldom returns, and a well-regularised margin needs
    little scaling. In back-tests inside the training periods of OpenStack and of four example companies the log loss
    fell up to about 200 and hardly changed above; 200 still corrects a real bias seen in a few thousand renewals."""
    min_renewals: int = Field(40, ge=2)
    """With fewer out-of-fold renewals only the intercept is calibrated, not the slope and not the segments."""
    segments: tuple[str, ...] = ("industry", "plan")
    """Categorical features with a separate offset per value, as far as past predictions support it."""


class HealthIndicator(ConfigSection):
    """A feature as a part of health: no points at `poor` and beyond, all at `good` and beyond, linear between."""

    feature: str
    poor: float
    good: float

    @model_validator(mode="after")
    def _validate_ends(self) -> HealthIndicator:
        if self.poor == self.good:
            raise ValueError(f"{self.feature}: poor and good must differ")
        return self


class HealthPart(ConfigSection):
    """A part of health: the mean of its known indicators, with its weight."""

    weight: float = Field(gt=0)
    indicators: tuple[HealthIndicator, ...] = Field(min_length=1)


def _part(weight: float, **indicators: tuple[float, float]) -> HealthPart:
    return HealthPart(
        weight=weight,
        indicators=tuple(
            HealthIndicator(feature=name, poor=poor, good=good) for name, (poor, good) in indicators.items()
        ),
    )


class HealthSettings(ConfigSection):
    """Rules of the column `health` (S4), which also order a list without a model; a baseline of the back-test.

    Weights and limits are set by hand and not fitted, as customer-success tools ship them. No indicator is an action of
    the vendor (M5)."""

    good_from: float = Field(80.0, ge=0, le=100)
    """Points from which health is good."""
    poor_below: float = Field(70.0, ge=0, le=100)
    """Points below which health is poor; between the two it is fair."""
    parts: tuple[HealthPart, ...] = (
        _part(0.40, days_since_last_use=(60, 7), seat_activation_28d=(0, 0.6), active_people_change_90d=(-0.5, 0)),
        _part(0.20, days_since_use_s=(120, 14), days_since_customer_contact=(180, 30)),
        _part(0.15, sla_breaches_90d=(3, 0), backlog_of_high=(2, 0), first_response_hours_90d=(72, 8)),
        _part(0.15, latest_survey_score_nps=(0, 9), survey_response_rate=(0, 0.5)),
        _part(0.10, goals_reached_share=(0, 1)),
    )
    """Use, engagement of decision makers, support, opinion and value, with their weights."""

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the features of all parts."""
        return tuple(indicator.feature for part in self.parts for indicator in part.indicators)

    @model_validator(mode="after")
    def _validate_order(self) -> HealthSettings:
        if self.poor_below > self.good_from:
            raise ValueError(f"poor_below ({self.poor_below}) must not be above good_from ({self.good_from})")
        return self


class FoldSettings(ConfigSection):
    """Settings of the rolling origins: each model is trained on labels final at its origin and tested on later rows."""

    origins: int = Field(5, ge=1)
    """Number of origins (training days), spread evenly over the part of history that has enough outcomes."""
    first_train_share: float = Field(0.5, gt=0, lt=1)
    """Share of the training terms among all terms used for training or testing, reached at the first origin.

    It only selects among the days that leave enough terms for both; it excludes none of them."""
    embargo_days: int = Field(0, ge=0)
    """Additional days after a label is final until it is available for training."""
    min_renewals: int = Field(60, ge=2)
    """Minimum number of renewals (or account terms) to train on at the first origin, and as many to test …"""
    min_events: int = Field(10, ge=1)
    """… with at least this many of the rarer outcome in each of the two."""
    focus_lead_days: float = Field(90.0, ge=0)
    """Lead time, in days, that gets the largest weight in training, because it matters most; 0: equal weights."""
    treated_rows: TreatedPolicy = "exclude"
    """Rows of treated renewals are excluded from training, or kept as if there had been no intervention.

    If kept, the model learns that risky accounts are safe, because the list had them treated (`bench/feedback.py`).
    Interventions before the observation are ordinary features (`features/families/care.py`)."""
    decided_days: int = Field(60, ge=0)
    """Days before the end by which customers have decided: interventions that start later do not count as treatment."""


class GateSettings(ConfigSection):
    """Conditions that a trained model must meet in its back-test before it becomes champion."""

    lead_days: int = Field(90, gt=0)
    """Lead time, in days, at which a renewal model is evaluated; expansion is evaluated on all observations."""
    min_renewals: int = Field(60, ge=2)
    """Minimum number of tested renewals at that lead …"""
    min_events: int = Field(15, ge=1)
    """… with at least this many of the rarer outcome."""
    slope_range: tuple[float, float] = (0.6, 1.6)
    """Range that must contain the calibration slope or overlap its interval."""
    max_calibration_error: float = Field(0.10, gt=0, lt=1)
    """Maximum calibration error (predicted against observed share), less the part expected by chance."""
    bootstrap_samples: int = Field(400, ge=50)
    """Bootstrap resamples of accounts for each interval."""
    confidence: float = Field(0.90, gt=0.5, lt=1)
    base_rate_confidence: float = Field(0.98, gt=0.5, lt=1)
    """Confidence level for beating the base rate: of models without any information, hardly one in a hundred may
    pass."""
    segments: tuple[str, ...] = ("size_band", "industry", "plan")
    """Columns of the training table that define segments. Calibration and the comparison with the champion are
    repeated in every segment that has the minimum numbers above."""
    promote: Literal["auto", "manual"] = "auto"
    """auto: a model that passes becomes champion at once; manual: it stays challenger until `renewals promote`."""

    @model_validator(mode="after")
    def _validate_slope(self) -> GateSettings:
        if not self.slope_range[0] < self.slope_range[1]:
            raise ValueError(f"slope_range {self.slope_range} must be a range, low before high")
        return self


class ForecastSettings(ConfigSection):
    """Settings of the simulated revenue forecast."""

    draws: int = Field(2000, ge=100)
    """Simulated years; with 2000, the coverage of an 80 % interval is exact to about one percentage point."""
    confidence: float = Field(0.80, gt=0, lt=1)
    """Share of draws inside an interval."""
    quarter_effect_sd: float = Field(0.15, gt=0)
    """Prior scale, in log-odds, of the standard deviation of the quarter effect (observed against predicted level).

    At a renewal rate of 90 %, 0.15 is about 1.5 percentage points. The more past quarters, the weaker the prior."""
    seed: int = 7


class DriftSettings(ConfigSection):
    """Thresholds of the drift warnings: a difference must be both large and statistically significant."""

    confidence: float = Field(0.99, gt=0.5, lt=1)
    """Share of runs without any drift that should give no warning, over all comparisons of a run together."""
    psi_threshold: float = Field(0.25, gt=0)
    """Largest population stability index without a warning; above 0.25 is commonly called a major shift."""
    missing_threshold: float = Field(0.10, gt=0, lt=1)
    """Largest change of the share of missing values without a warning."""
    calibration_threshold: float = Field(0.05, gt=0, lt=1)
    """Largest distance between predicted and observed renewal rate without a warning."""
    min_renewals: int = Field(30, ge=10)
    """Lists with fewer final renewals are not evaluated yet."""


class EffectSettings(ConfigSection):
    """Settings of the treatment-effect estimate: the accounts compared, and the conditions for giving an estimate."""

    window_days: int = Field(31, gt=0)
    """An observation is treated if an intervention starts within this many days after it. 31 days leave no gap between
    month starts; an intervention in the windows of two observations counts for the later one."""
    washout_days: int = Field(120, ge=0)
    """Accounts with an intervention in this many days before are excluded: it may still have an effect."""
    min_lead_days: int = Field(120, ge=0)
    """Minimum days to the renewal. Customers decide about two months before the end, and accounts that have decided to
    leave are no longer treated: window and decision must both lie in the future."""
    untreated_per_renewal: int = Field(2, ge=1)
    """Maximum untreated observations per renewal; more would add little information and cost time."""
    folds: int = Field(5, ge=2)
    """Parts of the accounts for cross-fitting: no account is predicted by a model that was trained on it."""
    min_treated: int = Field(50, ge=10)
    """Minimum treated observations; with fewer no estimate is given …"""
    min_events: int = Field(10, ge=2)
    """… minimum of the rarer outcome among the treated and among the untreated observations …"""
    max_propensity: float = Field(0.9, gt=0, lt=1)
    """… treated observations with a higher propensity are dropped, because there are no comparable untreated ones …"""
    min_overlap_share: float = Field(0.95, gt=0, le=1)
    """… minimum share of the treated that remains after this …"""
    min_effective_sample_size: float = Field(50.0, gt=0)
    """… and minimum effective sample size of the untreated, weighted to resemble the treated."""
    confidence: float = Field(0.90, gt=0.5, lt=1)
    seed: int = 7


TUNABLE_SECTIONS: dict[str, type[ConfigSection]] = {
    "lightgbm": LightGBMSettings,
    "linear": LinearSettings,
    "calibration": CalibrationSettings,
}
"""Sections with numbers that can be tuned. `folds` defines the measure of success, and lists are tried in each fit."""
UNTUNED_KEYS = ("seed", "parallel_fits")

SearchSpace = dict[str, tuple[int | float, ...]]
"""Values to try for each setting, by its key (`section.name`)."""


class TuneSettings(ConfigSection):
    """Settings of `renewals tune`: the search space of the hyperparameters and the budget."""

    trials: int = Field(40, ge=1)
    """Maximum trials of a study, including those of earlier runs …"""
    minutes: float = Field(60.0, gt=0)
    """… and maximum minutes of its trials, including those of earlier runs; the search stops at the first limit."""
    holdout_share: float = Field(0.2, gt=0, lt=1)
    """Share of the terms, the most recently observed, that are held out of the search to evaluate its result."""
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
    """Values to try for each setting, in addition to the current one. Settings not listed are not changed.

    Only settings of the trees: for `linear.near_term_days` and `calibration.prior_renewals`, values tuned on a short
    history did not hold later (ADR 16)."""
    seed: int = 7

    @field_validator("search_space")
    @classmethod
    def _validate_search_space(cls, search_space: SearchSpace) -> SearchSpace:
        if not search_space:
            raise ValueError("search_space is empty: add at least one setting")
        return {
            key: tuple(sorted({_validate_value(key, value) for value in values}))
            for key, values in search_space.items()
        }


def _validate_value(key: str, value: float) -> int | float:
    """Validate one value of the search space by its section. Raises ValueError for an unknown key or invalid value."""
    section, _, name = key.partition(".")
    field = TUNABLE_SECTIONS[section].model_fields.get(name) if section in TUNABLE_SECTIONS else None
    if field is None or field.annotation not in (int, float) or name in UNTUNED_KEYS:
        raise ValueError(f"{key} cannot be tuned: use a number of {', '.join(TUNABLE_SECTIONS)}")
    try:
        validated: int | float = getattr(TUNABLE_SECTIONS[section].model_validate({name: value}), name)
    except ValidationError as error:
        raise ValueError(f"{key} cannot be {value}: {error.errors()[0]['msg']}") from None
    return validated


RENEWAL = "renewal"
