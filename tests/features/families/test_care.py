"""Playbooks started for the account, as known on 2026-03-01."""

from __future__ import annotations

import pytest

INTERVENTIONS = """
    account | playbook         | started_at | ended_at   | recorded_at
    acme    | executive_review | 2026-02-28 |            |
    acme    | adoption_push    | 2025-09-02 | 2025-10-01 |
    acme    | adoption_push    | 2024-01-02 |            |
    acme    | support_cleanup  | 2026-02-01 |            | 2026-03-01
    acme    | support_cleanup  | 2026-03-01 |            | 2026-02-01
"""
"""One started yesterday, one 180 days ago, one too long ago, one is recorded too late, and one is planned for today."""


@pytest.fixture(scope="module")
def care(company):
    return company(interventions=INTERVENTIONS)


def test_playbooks_started(care):
    assert care("care", "playbooks_started_90d", "playbooks_started_365d") == {"acme": [1, 2], "quiet": [0, 0]}


def test_the_weight_of_a_playbook_halves_in_half_a_year(care):
    """Yesterday's playbook has a weight of 0.996, that of 180 days ago one half."""
    assert care("care", "playbooks_decayed") == {"acme": 1020 / 1024 + 0.5, "quiet": 0}
