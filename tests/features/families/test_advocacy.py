"""Referrals and trials, as known on 2026-03-01."""

from __future__ import annotations

import pytest

REFERRALS = """
    account | referred_at | converted_at
    acme    | 2025-04-01  | 2025-06-01
    acme    | 2025-05-01  | 2026-03-01
    acme    | 2024-02-01  | 2025-05-01
    quiet   | 2024-01-01  |
"""
"""The second converts on the as-of date, which is not known yet; the third was sent two years ago."""

TRIALS = """
    account | requested_at | started_at | finished_at
    acme    | 2026-02-01   | 2026-02-03 |
    acme    | 2025-10-01   | 2025-10-02 | 2025-12-01
    quiet   | 2025-01-01   |            |
"""


@pytest.fixture(scope="module")
def advocacy(company):
    return company(referrals=REFERRALS, trials=TRIALS)


def test_referrals(advocacy):
    columns = ["referrals_made_365d", "referrals_converted_365d"]
    assert advocacy("advocacy", *columns) == {"acme": [2, 2], "quiet": [0, 0]}


def test_trials(advocacy):
    columns = ["trials_requested_90d", "trials_requested_365d", "open_trials", "trials_finished_365d"]
    assert advocacy("advocacy", *columns) == {"acme": [1, 2, 1, 1], "quiet": [0, 0, 0, 0]}


def test_trial_features_do_not_need_referrals(company):
    features = company(trials=TRIALS, without=("referrals",))
    assert features("advocacy", "open_trials") == {"acme": 1, "quiet": 0}
