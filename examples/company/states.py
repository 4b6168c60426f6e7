"""The hidden states of an account: their monthly changes and their effect on its renewal.

Five states change from month to month, all linearly, so that their future mean and variance can be computed
exactly (the oracle needs this):

value           the deciders' opinion of the product. Slow; lowered by support pain and by the loss of a
                sponsor, raised by each goal reached.
adoption        use by the staff. Slow; only weakly linked to the deciders' opinion (domain S2).
support_pain    problems with support. Quicker; an incident raises it at once.
sponsor_change  remaining effect of the loss of a sponsor. Jumps by one, then fades.
lift            remaining effect of interventions (domain M1). Fades as well.

Two never change: `fit` (domain C1), drawn with the customer, and `first_value`: the account had its
first result in the first month (domain J2). It matters most for the first renewal.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from renewals.examples.company.clock import Flags, Floats, Ints

STATES = ("value", "adoption", "support_pain", "sponsor_change", "lift")
VALUE, ADOPTION, PAIN, SPONSOR, LIFT = range(len(STATES))

TRANSITION = np.array(
    [
        #  value adoption pain sponsor lift   (of this month)
        [0.97, 0.00, -0.02, 0.00, 0.0],  # value next month
        [0.01, 0.95, 0.00, 0.00, 0.0],  # adoption
        [0.00, 0.00, 0.95, 0.00, 0.0],  # support_pain
        [0.00, 0.00, 0.00, 0.88, 0.0],  # sponsor_change
        [0.00, 0.00, 0.00, 0.00, 0.9],  # lift
    ]
)
"""Effect of each state of this month on each state of the next month."""
STATE_NOISE_SD = np.array([0.13, 0.14, 0.13, 0.0, 0.0])
"""Standard deviation of the random monthly change of each state."""

SPONSOR_LOSS_RATE, SPONSOR_LOSS_EFFECT = 0.025, np.array([-0.35, 0.0, 0.0, 1.0, 0.0])
INCIDENT_RATE, INCIDENT_EFFECT = 0.02, np.array([0.0, 0.0, 0.7, 0.0, 0.0])
GOAL_RATE, GOAL_EFFECT = 0.09, np.array([0.22, 0.0, 0.0, 0.0, 0.0])
"""Three shocks: monthly probability (of a goal: at an average account) and effect on the states."""

INTERVENTION_EFFECT = 0.7
"""Effect of an intervention on the log-odds of renewing, at its start: the truth that an effect study must find."""

INTERCEPT = 1.68
"""Log-odds of renewing of an average account."""
WEIGHTS = np.array([0.98, 0.75, -0.75, -1.45, 1.0])
"""Effect of one unit of each changing state on the log-odds of renewing."""
FIT_WEIGHT = 0.68
FIRST_VALUE_WEIGHT = np.array([1.20, 0.15, 0.0])
"""Effect of first value on the log-odds of the first, second and any later renewal."""
FIRST_VALUE_SHARE = 0.70
"""Share of accounts that reach first value; for the others the loss is likely from the start, a year ahead."""
AUTO_RENEW_WEIGHT = 0.30

CAUSES = ("value", "adoption", "support_pain", "sponsor_change", "fit", "first_value")
"""The states that can be the cause of a loss."""


@dataclass(frozen=True)
class AccountTraits:
    """Constant traits of the accounts, which set the levels of their states; one entry (or row) per account."""

    first_value: Flags
    goal_chance: Floats
    """Probability of reaching a goal in a month."""
    bunched: Flags
    """True if the manager makes most contacts before the end of a term (J4)."""
    anchor: Floats
    """Accounts x states: added every month, so that the states settle around the account's level."""

    @cached_property
    def monthly_drift(self) -> Floats:
        """Accounts x states: the mean monthly addition, shocks included."""
        goals = self.goal_chance[:, None] * GOAL_EFFECT
        return self.anchor + SPONSOR_LOSS_RATE * SPONSOR_LOSS_EFFECT + INCIDENT_RATE * INCIDENT_EFFECT + goals


def draw_traits(rng: np.random.Generator, fit: Floats) -> AccountTraits:
    """Draw the traits of each account from its fit."""
    accounts = len(fit)
    first_value = rng.random(accounts) < sigmoid(1.0 + 0.5 * fit)
    bunched = rng.random(accounts) < 0.3
    goal_chance = np.clip(GOAL_RATE * rng.lognormal(-0.15, 0.55, accounts), 0.01, 0.35)
    level = np.zeros((accounts, len(STATES)))
    level[:, VALUE] = 0.15 * fit - 0.3 * (bunched - 0.3) + rng.normal(0, 0.50, accounts)
    level[:, ADOPTION] = 0.10 * fit + 0.3 * (first_value - FIRST_VALUE_SHARE) + rng.normal(0, 0.60, accounts)
    level[:, PAIN] = rng.normal(0, 0.65, accounts)
    anchor = (
        level @ (np.eye(len(STATES)) - TRANSITION).T - GOAL_RATE * GOAL_EFFECT - SPONSOR_LOSS_RATE * SPONSOR_LOSS_EFFECT
    )
    anchor -= INCIDENT_RATE * INCIDENT_EFFECT
    anchor[:, SPONSOR] = 0.0  # the loss of a sponsor is an event: this state has no level of its own
    return AccountTraits(first_value, goal_chance, bunched, anchor)


def initial_states(rng: np.random.Generator, traits: AccountTraits) -> Floats:
    """Draw starting states from their stationary distribution, by simulating 30 months; accounts x states."""
    now = np.zeros_like(traits.anchor)
    for _ in range(30):
        now = next_states(rng, now, traits, Shocks.draw(rng, traits))
    now[:, SPONSOR] = 0.0
    return now


@dataclass(frozen=True)
class Shocks:
    """The shocks of each account in one month."""

    sponsor_left: Flags
    incident: Flags
    goal_reached: Flags

    @classmethod
    def draw(cls, rng: np.random.Generator, traits: AccountTraits) -> Shocks:
        """Draw the shocks of one month."""
        chance = rng.random((3, len(traits.goal_chance)))
        return cls(chance[0] < SPONSOR_LOSS_RATE, chance[1] < INCIDENT_RATE, chance[2] < traits.goal_chance)


def next_states(rng: np.random.Generator, now: Floats, traits: AccountTraits, shocks: Shocks) -> Floats:
    """States of the next month; accounts x states."""
    updated = now @ TRANSITION.T + traits.anchor + STATE_NOISE_SD * rng.standard_normal(now.shape)
    updated += shocks.sponsor_left[:, None] * SPONSOR_LOSS_EFFECT
    updated += shocks.incident[:, None] * INCIDENT_EFFECT
    updated += shocks.goal_reached[:, None] * GOAL_EFFECT
    return np.asarray(updated)


def first_value_weight(renewals_before: Ints) -> Floats:
    """Weight of first value at the account's next renewal."""
    return np.asarray(FIRST_VALUE_WEIGHT[np.minimum(renewals_before, len(FIRST_VALUE_WEIGHT) - 1)])


def fixed_log_odds(fit: Floats, first_value: Flags, renewals_before: Ints, auto_renew: Flags) -> Floats:
    """Part of the log-odds of renewing that is constant within a term."""
    onboarding = first_value_weight(renewals_before) * (first_value - FIRST_VALUE_SHARE)
    return np.asarray(INTERCEPT + FIT_WEIGHT * fit + onboarding + AUTO_RENEW_WEIGHT * (auto_renew - 0.6))


def cause_contributions(states: Floats, fit: Floats, first_value: Flags, renewals_before: Ints) -> Floats:
    """Accounts x `CAUSES`: contribution of each state to the log-odds of renewing, compared with an average account."""
    moving = (states * WEIGHTS)[:, : len(STATES) - 1]
    onboarding = first_value_weight(renewals_before) * (first_value - FIRST_VALUE_SHARE)
    return np.column_stack([moving, FIT_WEIGHT * fit, onboarding])


class LogOddsProjection:
    """Mean and variance of the changing part of the log-odds some months ahead, given the present states.

    The states change linearly, so after k months they are `TRANSITION^k` times the present states plus the sum of
    the additions since; projected on `WEIGHTS` this needs one row vector per month.
    """

    def __init__(self, months: int) -> None:
        rows = [WEIGHTS]
        for _ in range(months):
            rows.append(rows[-1] @ TRANSITION)
        self.weights_ahead = np.array(rows)
        """weights_ahead[k]: effect of one unit of each present state on the log-odds k months later."""
        self.cumulative_weights = np.vstack([np.zeros(len(STATES)), np.cumsum(self.weights_ahead, axis=0)])
        """cumulative_weights[k]: the same for one unit added in each of the k months between."""
        steps = (self.weights_ahead * STATE_NOISE_SD) ** 2
        self.noise_variance = np.concatenate([[0.0], np.cumsum(steps.sum(axis=1))])
        self.shock_variance = {name: self._cumulative_variance(push) for name, push in SHOCK_EFFECTS.items()}

    def _cumulative_variance(self, push: Floats) -> Floats:
        return np.concatenate([[0.0], np.cumsum((self.weights_ahead @ push) ** 2)])

    def mean(self, states: Floats, monthly_drift: Floats, months_ahead: Ints) -> Floats:
        """Expected changing part of the log-odds, `months_ahead` months from now."""
        return np.asarray(
            (states * self.weights_ahead[months_ahead]).sum(axis=1)
            + (monthly_drift * self.cumulative_weights[months_ahead]).sum(axis=1)
        )

    def variance(self, goal_chance: Floats, months_ahead: Ints) -> Floats:
        """Variance of the changing part of the log-odds: random monthly change and possible shocks."""
        goals = goal_chance * (1 - goal_chance) * self.shock_variance["goal"][months_ahead]
        sponsors = SPONSOR_LOSS_RATE * (1 - SPONSOR_LOSS_RATE) * self.shock_variance["sponsor"][months_ahead]
        incidents = INCIDENT_RATE * (1 - INCIDENT_RATE) * self.shock_variance["incident"][months_ahead]
        return np.asarray(self.noise_variance[months_ahead] + goals + sponsors + incidents)


SHOCK_EFFECTS = {"sponsor": SPONSOR_LOSS_EFFECT, "incident": INCIDENT_EFFECT, "goal": GOAL_EFFECT}


def expected_probability(mean: Floats, variance: Floats) -> Floats:
    """Expectation of sigmoid(x) for normal x, by the probit approximation (MacKay 1992)."""
    return sigmoid(mean / np.sqrt(1 + np.pi * variance / 8))


def sigmoid(x: Floats) -> Floats:
    """Probability from log-odds."""
    return np.asarray(1 / (1 + np.exp(-x)))
