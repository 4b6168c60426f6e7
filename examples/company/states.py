"""The hidden states of an account: how they move, and what they mean for its renewal.

Five states move from month to month, all linearly, so that their future can be known exactly in mean
and variance (that is what makes the oracle computable):

value           what the deciders think of the product. Slow; hurt by support pain and by the loss of a
                sponsor, lifted by each goal reached.
adoption        how much the staff use it. Slow; only weakly tied to the deciders' view (domain S2).
support_pain    how badly support serves them. Quicker; an incident pushes it up at once.
sponsor_change  how much the account still feels the loss of a sponsor. Jumps by one, then fades.
lift            what interventions have left behind (domain M1). Fades as well.

Two never change: `fit` (domain C1), drawn with the customer, and `first_value`, whether the account
saw its first result in the first month (domain J2); it matters most for the first renewal.
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
"""What each state takes over of each state of the month before."""
STATE_NOISE_SD = np.array([0.13, 0.14, 0.13, 0.0, 0.0])
"""Standard deviation of a state's own monthly movement."""

SPONSOR_LOSS_RATE, SPONSOR_LOSS_EFFECT = 0.025, np.array([-0.35, 0.0, 0.0, 1.0, 0.0])
INCIDENT_RATE, INCIDENT_EFFECT = 0.02, np.array([0.0, 0.0, 0.7, 0.0, 0.0])
GOAL_RATE, GOAL_EFFECT = 0.09, np.array([0.22, 0.0, 0.0, 0.0, 0.0])
"""Three shocks: their monthly chance (of a goal, at an average account), and the push each gives."""

INTERVENTION_EFFECT = 0.7
"""What an intervention adds to the log-odds of renewing at its start: the truth a study of effect must find."""

INTERCEPT = 1.68
"""Log-odds of renewing of an average account."""
WEIGHTS = np.array([0.98, 0.75, -0.75, -1.45, 1.0])
"""What one unit of each moving state adds to the log-odds of renewing."""
FIT_WEIGHT = 0.68
FIRST_VALUE_WEIGHT = np.array([1.20, 0.15, 0.0])
"""What first value reached adds to the log-odds at the first, second and any later renewal."""
FIRST_VALUE_SHARE = 0.70
"""Accounts that reach first value; the others are lost a year before anyone is told."""
AUTO_RENEW_WEIGHT = 0.30

CAUSES = ("value", "adoption", "support_pain", "sponsor_change", "fit", "first_value")
"""The states that a loss can be put down to."""


@dataclass(frozen=True)
class AccountTraits:
    """What an account's states settle around; one entry (or row) per account."""

    first_value: Flags
    goal_chance: Floats
    """Chance of reaching a goal in a month."""
    bunched: Flags
    """Whether its manager calls mostly before the end of a term (J4)."""
    anchor: Floats
    """Accounts x states: added in every month, so that the states settle around the account's own level."""

    @cached_property
    def monthly_drift(self) -> Floats:
        """Accounts x states: what a month adds on average, shocks included."""
        goals = self.goal_chance[:, None] * GOAL_EFFECT
        return self.anchor + SPONSOR_LOSS_RATE * SPONSOR_LOSS_EFFECT + INCIDENT_RATE * INCIDENT_EFFECT + goals


def draw_traits(rng: np.random.Generator, fit: Floats) -> AccountTraits:
    """Draw what each account's states settle around."""
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
    anchor[:, SPONSOR] = 0.0  # a loss of a sponsor is felt or not: it does not settle around nothing
    return AccountTraits(first_value, goal_chance, bunched, anchor)


def initial_states(rng: np.random.Generator, traits: AccountTraits) -> Floats:
    """Accounts x states, some months after nobody remembers what: a draw from where the states settle."""
    now = np.zeros_like(traits.anchor)
    for _ in range(30):
        now = next_states(rng, now, traits, Shocks.draw(rng, traits))
    now[:, SPONSOR] = 0.0
    return now


@dataclass(frozen=True)
class Shocks:
    """What struck each account in one month."""

    sponsor_left: Flags
    incident: Flags
    goal_reached: Flags

    @classmethod
    def draw(cls, rng: np.random.Generator, traits: AccountTraits) -> Shocks:
        """Draw the shocks of one month."""
        chance = rng.random((3, len(traits.goal_chance)))
        return cls(chance[0] < SPONSOR_LOSS_RATE, chance[1] < INCIDENT_RATE, chance[2] < traits.goal_chance)


def next_states(rng: np.random.Generator, now: Floats, traits: AccountTraits, shocks: Shocks) -> Floats:
    """The states of the next month."""
    moved = now @ TRANSITION.T + traits.anchor + STATE_NOISE_SD * rng.standard_normal(now.shape)
    moved += shocks.sponsor_left[:, None] * SPONSOR_LOSS_EFFECT
    moved += shocks.incident[:, None] * INCIDENT_EFFECT
    moved += shocks.goal_reached[:, None] * GOAL_EFFECT
    return np.asarray(moved)


def first_value_weight(renewals_before: Ints) -> Floats:
    """How much first value matters at the account's next renewal."""
    return np.asarray(FIRST_VALUE_WEIGHT[np.minimum(renewals_before, len(FIRST_VALUE_WEIGHT) - 1)])


def fixed_log_odds(fit: Floats, first_value: Flags, renewals_before: Ints, auto_renew: Flags) -> Floats:
    """The part of the log-odds of renewing that does not move within a term."""
    onboarding = first_value_weight(renewals_before) * (first_value - FIRST_VALUE_SHARE)
    return np.asarray(INTERCEPT + FIT_WEIGHT * fit + onboarding + AUTO_RENEW_WEIGHT * (auto_renew - 0.6))


def cause_contributions(states: Floats, fit: Floats, first_value: Flags, renewals_before: Ints) -> Floats:
    """Accounts x `CAUSES`: what each state adds to the log-odds of renewing, beside an average account."""
    moving = (states * WEIGHTS)[:, : len(STATES) - 1]
    onboarding = first_value_weight(renewals_before) * (first_value - FIRST_VALUE_SHARE)
    return np.column_stack([moving, FIT_WEIGHT * fit, onboarding])


class LogOddsProjection:
    """The moving part of the log-odds some months ahead, as mean and variance given the states now.

    The states move linearly, so after k months they are `CARRY^k` times the states now plus the sum of
    what came in between; projected on `WEIGHTS` this needs one row vector per month.
    """

    def __init__(self, months: int) -> None:
        rows = [WEIGHTS]
        for _ in range(months):
            rows.append(rows[-1] @ TRANSITION)
        self.weights_ahead = np.array(rows)
        """reach[k]: what one unit of each state now adds to the log-odds k months later."""
        self.cumulative_weights = np.vstack([np.zeros(len(STATES)), np.cumsum(self.weights_ahead, axis=0)])
        """pushed[k]: the same of one unit added in every one of the k months between."""
        steps = (self.weights_ahead * STATE_NOISE_SD) ** 2
        self.noise_variance = np.concatenate([[0.0], np.cumsum(steps.sum(axis=1))])
        self.shock_variance = {name: self._cumulative_variance(push) for name, push in SHOCK_EFFECTS.items()}

    def _cumulative_variance(self, push: Floats) -> Floats:
        return np.concatenate([[0.0], np.cumsum((self.weights_ahead @ push) ** 2)])

    def mean(self, states: Floats, monthly_drift: Floats, months_ahead: Ints) -> Floats:
        """Expected moving part of the log-odds `months_ahead` months from now."""
        return np.asarray(
            (states * self.weights_ahead[months_ahead]).sum(axis=1)
            + (monthly_drift * self.cumulative_weights[months_ahead]).sum(axis=1)
        )

    def variance(self, goal_chance: Floats, months_ahead: Ints) -> Floats:
        """Its variance: the monthly movement, and the shocks that may or may not come."""
        goals = goal_chance * (1 - goal_chance) * self.shock_variance["goal"][months_ahead]
        sponsors = SPONSOR_LOSS_RATE * (1 - SPONSOR_LOSS_RATE) * self.shock_variance["sponsor"][months_ahead]
        incidents = INCIDENT_RATE * (1 - INCIDENT_RATE) * self.shock_variance["incident"][months_ahead]
        return np.asarray(self.noise_variance[months_ahead] + goals + sponsors + incidents)


SHOCK_EFFECTS = {"sponsor": SPONSOR_LOSS_EFFECT, "incident": INCIDENT_EFFECT, "goal": GOAL_EFFECT}


def expected_probability(mean: Floats, variance: Floats) -> Floats:
    """The expectation of sigmoid(x) for normal x, by the probit approximation (MacKay 1992)."""
    return sigmoid(mean / np.sqrt(1 + np.pi * variance / 8))


def sigmoid(x: Floats) -> Floats:
    """Probability of log-odds."""
    return np.asarray(1 / (1 + np.exp(-x)))
